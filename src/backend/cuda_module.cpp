// The CUDA backend is a module of its own, loaded when asked for: one program runs on machines with CUDA's libraries and on
// machines without.
#include <filesystem>

#include <dlfcn.h>

#include <fmt/format.h>

#include "backend/cuda_module.h"
#include "core/without_gpu.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr const char* kModule = "libwarploom_cuda_backend.so";

// Where this code lies: the program, or the shared library.
std::filesystem::path own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || !info.dli_fname) return {};
  std::error_code error;
  const auto file = std::filesystem::canonical(info.dli_fname, error);
  return error ? std::filesystem::path() : file.parent_path();
}

// Never closed: what it made may live as long as the program.
void* open_module(std::string& missing) {
  const std::filesystem::path folder = own_folder();
  for (const auto& path :
       {folder / kModule, folder.parent_path() / WARPLOOM_LIBDIR / kModule, std::filesystem::path(kModule)}) {
    std::error_code error;
    if (path.has_parent_path() && !std::filesystem::exists(path, error)) continue;
    if (void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return module;
    missing = fmt::format("the CUDA module {} cannot be loaded: {}", kModule, dlerror());
    if (path.has_parent_path()) return nullptr;
    missing += fmt::format("; nor is it in {}: builds have it if they find nvcc of CUDA 13", folder.string());
  }
  return nullptr;
}

}  // namespace

bool has_cuda_driver() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver) dlclose(driver);
  return driver != nullptr;
}

std::string misfit_of(const CudaModule& module) {
  const CudaModule own;
  if (module.major == own.major && module.minor == own.minor && module.patch == own.patch && module.abi == own.abi)
    return {};
  return fmt::format(
      "{} is of release {}.{}.{} with backend interface {}, this library of release {}.{}.{} with backend interface {}: "
      "build "
      "or install both together",
      kModule, module.major, module.minor, module.patch, module.abi, own.major, own.minor, own.patch, own.abi);
}

std::unique_ptr<Backend> create_cuda_backend(const DeviceOptions& options, std::string& missing) {
  void* library = open_module(missing);
  if (!library) {
    missing += fmt::format(". {}", kWithoutGpu);
    return nullptr;
  }
  const auto* module = static_cast<const CudaModule*>(dlsym(library, kCudaModule));
  missing = module
                ? misfit_of(*module)
                : fmt::format("{} is of another release than this library, {}: it lacks {}; build or install both together",
                              kModule, version().text, kCudaModule);
  if (!missing.empty()) return nullptr;
  return std::unique_ptr<Backend>(module->create(options, missing));
}

}  // namespace warploom
