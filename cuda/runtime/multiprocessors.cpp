#include "cuda/runtime/multiprocessors.h"

#include <cuda.h>

#include "cuda/runtime/check.h"

namespace warploom::cuda {

namespace {

constexpr unsigned kDriverVersion = 13000;  // whose signatures are used

// A function of the driver, found through the runtime, so that nothing links the driver; null if there is none of that name.
template <typename Function>
Function* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  if (cudaGetDriverEntryPointByVersion(name, &found, kDriverVersion, cudaEnableDefault, &result) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  return result == cudaDriverEntryPointSuccess ? reinterpret_cast<Function*>(found) : nullptr;
}

}  // namespace

int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

// cudaDevAttrMultiProcessorCount tells of the whole GPU, in a green context too.
int multiprocessors(cudaStream_t stream) {
  const auto context_of = driver_function<decltype(cuStreamGetGreenCtx)>("cuStreamGetGreenCtx");
  const auto resource_of =
      context_of ? driver_function<decltype(cuGreenCtxGetDevResource)>("cuGreenCtxGetDevResource") : nullptr;
  CUgreenCtx context = nullptr;
  CUdevResource resource{};
  if (!resource_of || context_of(stream, &context) != CUDA_SUCCESS || context == nullptr ||
      resource_of(context, &resource, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS || resource.sm.smCount == 0)
    return multiprocessors();
  return static_cast<int>(resource.sm.smCount);
}

}  // namespace warploom::cuda
