// The device that programs see: attributes, properties, occupancy; versions, error names.
#include <cstring>

#include "memory.h"
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
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrStreamPrioritiesSupported: return 1;
    default: return 0;
  }
}

}  // namespace

// Registers are not known without ptxas: 32 never limit.
int blocks_per_processor(const Code& code, int block_size, size_t dynamic_shared) {
  return occupancy(device_model(), 32, code.static_shared + dynamic_shared, block_size).blocks;
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

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define WARPLOOM_NAME(e) \
  case e: return #e;
    WARPLOOM_NAME(cudaSuccess)
    WARPLOOM_NAME(cudaErrorInvalidValue)
    WARPLOOM_NAME(cudaErrorMemoryAllocation)
    WARPLOOM_NAME(cudaErrorInvalidConfiguration)
    WARPLOOM_NAME(cudaErrorInvalidPitchValue)
    WARPLOOM_NAME(cudaErrorInvalidSymbol)
    WARPLOOM_NAME(cudaErrorMissingConfiguration)
    WARPLOOM_NAME(cudaErrorInvalidDeviceFunction)
    WARPLOOM_NAME(cudaErrorInvalidDevice)
    WARPLOOM_NAME(cudaErrorInvalidResourceHandle)
    WARPLOOM_NAME(cudaErrorNotReady)
    WARPLOOM_NAME(cudaErrorIllegalAddress)
    WARPLOOM_NAME(cudaErrorAssert)
    WARPLOOM_NAME(cudaErrorIllegalInstruction)
    WARPLOOM_NAME(cudaErrorMisalignedAddress)
    WARPLOOM_NAME(cudaErrorLaunchFailure)
    WARPLOOM_NAME(cudaErrorCooperativeLaunchTooLarge)
    WARPLOOM_NAME(cudaErrorNotSupported)
    WARPLOOM_NAME(cudaErrorIllegalState)
    WARPLOOM_NAME(cudaErrorStreamCaptureUnsupported)
    WARPLOOM_NAME(cudaErrorStreamCaptureInvalidated)
    WARPLOOM_NAME(cudaErrorStreamCaptureMerge)
    WARPLOOM_NAME(cudaErrorStreamCaptureUnmatched)
    WARPLOOM_NAME(cudaErrorStreamCaptureUnjoined)
    WARPLOOM_NAME(cudaErrorStreamCaptureIsolation)
    WARPLOOM_NAME(cudaErrorCapturedEvent)
    WARPLOOM_NAME(cudaErrorLaunchTimeout)
    WARPLOOM_NAME(cudaErrorLaunchOutOfResources)
    WARPLOOM_NAME(cudaErrorHostMemoryNotRegistered)
    WARPLOOM_NAME(cudaErrorGraphExecUpdateFailure)
    WARPLOOM_NAME(cudaErrorUnsupportedPtxVersion)
#undef WARPLOOM_NAME
    default: return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : cudaGetErrorName(error); }

}  // extern "C"
