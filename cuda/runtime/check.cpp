#include "cuda/runtime/check.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cuda {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // taken back from the runtime, which would report it to the application again
  if (error == cudaErrorMemoryAllocation) throw OutOfMemory(fmt::format("{}: out of device memory", what));
  throw BackendError(fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

}  // namespace warploom::cuda
