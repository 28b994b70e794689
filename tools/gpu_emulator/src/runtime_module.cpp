// Registration of fat binaries, kernels and variables; attributes of kernels.
#include <map>
#include <unordered_map>

#include "fatbin.h"
#include "memory.h"
#include "runtime.h"

namespace emulator {
namespace {

struct Symbol {
  Module* module;
  std::string name;
  size_t size;
};
struct Registry {
  std::vector<std::unique_ptr<Module>> modules;
  std::unordered_map<const void*, std::unique_ptr<Kernel>> kernels;
  std::unordered_map<const void*, Symbol> symbols;
};
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

uint32_t capability() { return static_cast<uint32_t>(device_model().major * 10 + device_model().minor); }

// 80 of ".target sm_80".
int target_of(const Program& program) {
  constexpr std::string_view kBefore = ".target sm_";
  const size_t at = program.module->text.find(kBefore);
  return at == std::string::npos ? 0 : std::atoi(program.module->text.c_str() + at + kBefore.size());
}

Program& program_of(Module& module) {
  if (!module.program) module.program = load_program(extract_ptx(module.fatbin, capability()));
  return *module.program;
}

}  // namespace

Kernel* find_kernel(const void* function) {
  Registry& r = registry();
  if (const auto found = r.kernels.find(function); found != r.kernels.end()) return found->second.get();
  for (const auto& [host, kernel] : r.kernels)
    if (kernel.get() == function) return kernel.get();
  return nullptr;
}

const Code* kernel_code(Kernel& kernel) {
  if (kernel.code == nullptr) kernel.code = decode(program_of(*kernel.module), kernel.name);
  return kernel.code;
}

bool find_symbol(const void* host, uint64_t& address, size_t& size) {
  const auto found = registry().symbols.find(host);
  if (found == registry().symbols.end()) return false;
  Program& program = program_of(*found->second.module);
  const auto variable = program.addresses.find(found->second.name);
  if (variable == program.addresses.end()) return false;
  address = variable->second;
  size = found->second.size;
  return true;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void** __cudaRegisterFatBinary(void* fatbin) {
  WARPLOOM_RUNTIME_LOCK;
  registry().modules.push_back(std::make_unique<Module>());
  registry().modules.back()->fatbin = fatbin;
  return reinterpret_cast<void**>(registry().modules.back().get());
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }

void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  WARPLOOM_RUNTIME_LOCK;
  auto kernel = std::make_unique<Kernel>();
  kernel->name = name;
  kernel->module = reinterpret_cast<Module*>(handle);
  registry().kernels[host] = std::move(kernel);
}
void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t size, int, int) {
  WARPLOOM_RUNTIME_LOCK;
  registry().symbols[host] = Symbol{reinterpret_cast<Module*>(handle), name, size};
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel,
                            const void* function) {  // called once a kernel by nvcc's stubs: no entry point
  WARPLOOM_RUNTIME_LOCK;
  *kernel = reinterpret_cast<cudaKernel_t>(find_kernel(function));
  return *kernel != nullptr ? cudaSuccess : result(cudaErrorInvalidDeviceFunction);
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  WARPLOOM_ENTRY;
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  try {
    const Code& code = *kernel_code(*kernel);
    *attributes = {};
    attributes->sharedSizeBytes = code.static_shared;
    attributes->localSizeBytes = code.local_bytes;
    attributes->maxThreadsPerBlock =
        code.ast->max_threads[0] > 0
            ? static_cast<int>(code.ast->max_threads[0] * code.ast->max_threads[1] * code.ast->max_threads[2])
            : 1024;
    attributes->numRegs = 32;  // not known without ptxas
    attributes->ptxVersion = target_of(*kernel->module->program);
    attributes->binaryVersion = static_cast<int>(capability());
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(dynamic_shared_limit(*kernel, code));
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return result(device_error());
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  WARPLOOM_ENTRY;
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    try {
      const auto fixed = static_cast<int>(kernel_code(*kernel)->static_shared);
      if (value < 0 || value > device_model().shared_per_block_optin - fixed) return result(cudaErrorInvalidValue);
    } catch (const std::exception& e) {
      set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
      return result(device_error());
    }
    kernel->dynamic_shared_limit = value;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetCacheConfig(const void*, cudaFuncCache) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void* function) {
  WARPLOOM_ENTRY;
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  *name = kernel->name.c_str();
  return cudaSuccess;
}

}  // extern "C"
