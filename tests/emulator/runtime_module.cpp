// Registration of fat binaries, kernels and variables; launches.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <unordered_map>

#include "executor.h"
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

struct CallConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<CallConfiguration> call_configurations;

Program& program_of(Module& module) {
  if (!module.program) module.program = load_program(extract_ptx(module.fatbin));
  return *module.program;
}

uint64_t next_grid_id = 1;
uint64_t lane_instructions = 0;  // of all kernels so far

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream,
                   bool cooperative) {
  WARPLOOM_RUNTIME_LOCK;
  if (device_error() != cudaSuccess) return result(device_error());
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  if (!known_stream(stream)) return result(cudaErrorInvalidResourceHandle);
  const Code* code = kernel_code(*kernel);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint32_t* most = code->ast->max_threads;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || threads > 1024 || block.z > 64 || grid.y > 65535 ||
      grid.z > 65535 || grid.x > 0x7fffffff || (most[0] > 0 && threads > uint64_t{most[0]} * most[1] * most[2]))
    return result(cudaErrorInvalidConfiguration);
  if (code->static_shared + shared > static_cast<size_t>(std::max(kernel->dynamic_shared_limit, 48 << 10)))
    return result(cudaErrorInvalidValue);
  if (cooperative && uint64_t{grid.x} * grid.y * grid.z >
                         static_cast<uint64_t>(blocks_per_processor(*code, static_cast<int>(threads), shared)) *
                             static_cast<uint64_t>(device_model().processors))
    return result(cudaErrorCooperativeLaunchTooLarge);
  std::vector<uint8_t> params(code->param_bytes + 1);
  for (size_t i = 0; i < code->ast->params.size(); ++i)
    std::memcpy(&params[code->param_offsets[i]], args[i], code->ast->params[i].size);
  const uint64_t id = next_grid_id++;
  enqueue(stream, [=, name = kernel->name, params = std::move(params)] {
    Launch l;
    l.code = code;
    l.name = name;
    l.grid[0] = grid.x, l.grid[1] = grid.y, l.grid[2] = grid.z;
    l.block[0] = block.x, l.block[1] = block.y, l.block[2] = block.z;
    l.dynamic_shared = static_cast<uint32_t>(shared);
    l.grid_id = id;
    l.cooperative = cooperative;
    l.params = memory().constants->allocate(params.size(), 256, kInitialised);
    std::memcpy(reinterpret_cast<void*>(l.params), params.data(), params.size());
    std::optional<Failure> failure;
    if (const cudaError_t error = injected("kernel"); error != cudaSuccess)
      failure = Failure{error, "injected fault in " + demangle(name)};
    else
      failure = run_grid(l);
    memory().constants->release(l.params);
    lane_instructions += l.lanes_issued;
    if (failure) set_device_error(failure->error, failure->report);
  });
  return cudaSuccess;
}

// What stops a launch before it starts, such as an unknown instruction, is told at once: it is a fault of the emulator's.
cudaError_t guarded_launch(const void* function, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream,
                           bool cooperative) {
  try {
    return launch(function, grid, block, args, shared, stream, cooperative);
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return result(device_error());
  }
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

unsigned long long warploom_emulator_lane_instructions() { return lane_instructions; }

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

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  call_configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (call_configurations.empty()) return result(cudaErrorMissingConfiguration);
  const CallConfiguration c = call_configurations.back();
  call_configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  std::memcpy(stream, &c.stream, sizeof c.stream);
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel,
                            const void* function) {  // called once a kernel by nvcc's stubs: no entry point
  WARPLOOM_RUNTIME_LOCK;
  *kernel = reinterpret_cast<cudaKernel_t>(find_kernel(function));
  return *kernel != nullptr ? cudaSuccess : result(cudaErrorInvalidDeviceFunction);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return guarded_launch(kernel, grid, block, args, shared, stream, false);
}
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** args, size_t shared,
                                    cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return guarded_launch(kernel, grid, block, args, shared, stream == nullptr ? cudaStreamPerThread : stream, false);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** args, size_t shared, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return guarded_launch(function, grid, block, args, shared, stream, false);
}
cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** args, size_t shared,
                                        cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return guarded_launch(function, grid, block, args, shared, stream, true);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** args) {
  WARPLOOM_ENTRY;
  bool cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == cudaLaunchAttributeCooperative) cooperative = config->attrs[i].val.cooperative != 0;
    if (config->attrs[i].id == cudaLaunchAttributeClusterDimension) {
      const auto& c = config->attrs[i].val.clusterDim;
      if (c.x * c.y * c.z != 1) return result(cudaErrorNotSupported);
    }
  }
  return guarded_launch(function, config->gridDim, config->blockDim, args, config->dynamicSmemBytes, config->stream,
                        cooperative);
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
    attributes->ptxVersion = device_model().major * 10 + device_model().minor;
    attributes->binaryVersion = attributes->ptxVersion;
    attributes->maxDynamicSharedSizeBytes = kernel->dynamic_shared_limit;
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
    if (value < 0 || value > device_model().shared_per_block_optin) return result(cudaErrorInvalidValue);
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
