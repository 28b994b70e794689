#include "cuda/runtime/check.h"

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cuda {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw BackendError(fmt::format("{}: {} ({})", what, cudaGetErrorName(error), cudaGetErrorString(error)));
}

}  // namespace warploom::cuda
