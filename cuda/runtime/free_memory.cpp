#include "cuda/runtime/free_memory.h"

#include <cuda_runtime_api.h>

#include <cstddef>

#include <fmt/format.h>

namespace warploom::cuda {

std::string free_memory() {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // taken back from the runtime
    return {};
  }
  constexpr double kMiB = 1 << 20;
  return fmt::format("; {:.1f} of {:.1f} MiB are free", static_cast<double>(free) / kMiB, static_cast<double>(total) / kMiB);
}

}  // namespace warploom::cuda
