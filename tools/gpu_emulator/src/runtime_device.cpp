// The device that programs see: attributes, properties, occupancy; versions, error names.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "memory.h"
#include "resources.h"
#include "runtime.h"

namespace emulator {
namespace {

int attribute(cudaDeviceAttr which) {
  const DeviceModel& m = device_model();
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY: return 1024;
    case cudaDevAttrMaxBlockDimZ: return 64;
    case cudaDevAttrMaxGridDimX: return 0x7fffffff;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: return 65535;
    case cudaDevAttrMaxSharedMemoryPerBlock: return 48 << 10;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return m.shared_per_block_optin;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return m.shared_per_processor;
    case cudaDevAttrReservedSharedMemoryPerBlock: return kReservedShared;
    case cudaDevAttrTotalConstantMemory: return 64 << 10;
    case cudaDevAttrWarpSize: return 32;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: return m.registers;
    case cudaDevAttrClockRate: return m.clock_khz;
    case cudaDevAttrMemoryClockRate: return m.memory_clock_khz;
    case cudaDevAttrGlobalMemoryBusWidth: return m.bus_bits;
    case cudaDevAttrL2CacheSize: return m.l2_bytes;
    case cudaDevAttrMultiProcessorCount: return m.processors;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return m.threads_per_processor;
    case cudaDevAttrMaxBlocksPerMultiprocessor: return m.blocks_per_processor;
    case cudaDevAttrComputeCapabilityMajor: return m.major;
    case cudaDevAttrComputeCapabilityMinor: return m.minor;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrAsyncEngineCount:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrStreamPrioritiesSupported: return 1;
    default: return 0;
  }
}

}  // namespace

int blocks_per_processor(const Code& code, int block_size, size_t dynamic_shared) {
  return resident_blocks(code, device_model(), code.static_shared + dynamic_shared, block_size);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  WARPLOOM_ENTRY;
  return *count = 1, cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  WARPLOOM_ENTRY;
  return *device = 0, cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  WARPLOOM_ENTRY;
  return device == 0 ? cudaSuccess : result(cudaErrorInvalidDevice);
}
cudaError_t cudaSetDeviceFlags(unsigned) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}
cudaError_t cudaDeviceReset() {
  WARPLOOM_ENTRY;
  return cudaDeviceSynchronize();
}
cudaError_t cudaDriverGetVersion(int* version) {
  WARPLOOM_ENTRY;
  return *version = CUDART_VERSION, cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  WARPLOOM_ENTRY;
  return *version = CUDART_VERSION, cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  *value = attribute(which);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  const DeviceModel& m = device_model();
  std::memset(p, 0, sizeof *p);
  std::strncpy(p->name, m.name, sizeof p->name - 1);
  p->totalGlobalMem = memory().heap->limit();
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = static_cast<size_t>(m.shared_per_block_optin);
  p->sharedMemPerMultiprocessor = static_cast<size_t>(m.shared_per_processor);
  p->reservedSharedMemPerBlock = kReservedShared;
  p->regsPerBlock = p->regsPerMultiprocessor = m.registers;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalConstMem = 64 << 10;
  p->major = m.major;
  p->minor = m.minor;
  p->multiProcessorCount = m.processors;
  p->maxThreadsPerMultiProcessor = m.threads_per_processor;
  p->maxBlocksPerMultiProcessor = m.blocks_per_processor;
  p->memoryBusWidth = m.bus_bits;
  p->l2CacheSize = m.l2_bytes;
  p->managedMemory = p->canMapHostMemory = p->asyncEngineCount = 1;
  p->unifiedAddressing = p->cooperativeLaunch = p->memoryPoolsSupported = p->concurrentKernels = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  WARPLOOM_ENTRY;
  return *least = 0, *greatest = -5, cudaSuccess;
}
cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit which) {
  WARPLOOM_ENTRY;
  *value = which == cudaLimitStackSize ? 1024 : which == cudaLimitPrintfFifoSize ? 1 << 20 : 8 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  WARPLOOM_ENTRY;
  return cudaSuccess;
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  WARPLOOM_ENTRY;
  return device == 0 ? cudaSuccess : result(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  WARPLOOM_ENTRY;
  return *flags = cudaDeviceMapHost, cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  WARPLOOM_ENTRY;
  if (device != 0) return result(cudaErrorInvalidDevice);
  std::snprintf(id, static_cast<size_t>(length), "0000:00:00.0");
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {  // there is no peer
  WARPLOOM_ENTRY;
  return *can = 0, cudaSuccess;
}
cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }
cudaError_t cudaCtxResetPersistingL2Cache() { return cudaSuccess; }

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, const void* function, int blocks, int size) {
  WARPLOOM_ENTRY;
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  if (blocks <= 0 || size <= 0) return result(cudaErrorInvalidValue);
  try {
    const Code& code = *kernel_code(*kernel);
    const DeviceModel& m = device_model();
    constexpr int kUnit = 128;  // in which shared memory is handed out
    const int fixed = static_cast<int>(code.static_shared), reserved = static_cast<int>(kReservedShared);
    const int each = m.shared_per_processor / blocks / kUnit * kUnit - reserved - fixed;
    *bytes = static_cast<size_t>(std::clamp(each, 0, m.shared_per_block_optin - fixed));
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return result(device_error());
  }
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int size,
                                                                   size_t shared, unsigned) {
  WARPLOOM_ENTRY;
  Kernel* kernel = find_kernel(function);
  if (kernel == nullptr) return result(cudaErrorInvalidDeviceFunction);
  try {
    *blocks = blocks_per_processor(*kernel_code(*kernel), size, shared);
  } catch (const std::exception& e) {
    set_device_error(cudaErrorUnsupportedPtxVersion, e.what());
    return result(device_error());
  }
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int size, size_t shared) {
  WARPLOOM_ENTRY;
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, size, shared, 0);
}

}  // extern "C"
