// A share of the device's multiprocessors, as a green context has it: what may run at once, and how the driver tells.
#include <cuda.h>

#include <algorithm>
#include <string_view>

#include "runtime.h"

namespace emulator {
namespace {

int partition = 0;  // 0: the whole device

CUresult stream_green_context(CUstream, CUgreenCtx* context) {
  WARPLOOM_RUNTIME_LOCK;
  *context = partition > 0 ? reinterpret_cast<CUgreenCtx>(&partition) : nullptr;
  return CUDA_SUCCESS;
}
CUresult green_context_resource(CUgreenCtx context, CUdevResource* resource, CUdevResourceType type) {
  WARPLOOM_RUNTIME_LOCK;
  if (context != reinterpret_cast<CUgreenCtx>(&partition)) return CUDA_ERROR_INVALID_CONTEXT;
  if (type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
  *resource = {};
  resource->type = type;
  resource->sm.smCount = static_cast<unsigned>(processors_at_hand());
  return CUDA_SUCCESS;
}

void* driver_function(std::string_view name) {
  if (name == "cuStreamGetGreenCtx") return reinterpret_cast<void*>(&stream_green_context);
  if (name == "cuGreenCtxGetDevResource") return reinterpret_cast<void*>(&green_context_resource);
  return nullptr;
}

}  // namespace

int processors_at_hand() {
  const int all = device_model().processors;
  return partition > 0 ? std::min(partition, all) : all;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void warploom_emulator_partition(int processors) {
  WARPLOOM_RUNTIME_LOCK;
  partition = processors;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  WARPLOOM_ENTRY;
  *function = driver_function(name);
  if (status != nullptr) *status = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return *function != nullptr ? cudaSuccess : result(cudaErrorSymbolNotFound);
}

}  // extern "C"
