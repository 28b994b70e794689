#include "cuda/runtime/check.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cuda {

void check(cudaError_t error, const char* what) {
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // the device is fine, so work can continue
    throw OutOfMemory(fmt::format("{}: out of device memory", what));
  }
  if (error != cudaSuccess)
    throw BackendError(fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

}  // namespace warploom::cuda
