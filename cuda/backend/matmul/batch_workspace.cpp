#include "cuda/backend/matmul/batch_workspace.h"

#include "cuda/runtime/check.h"
#include "cuda/runtime/multiprocessors.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kPartialBytes = std::size_t{32} << 20;
constexpr std::size_t kCounters = 4096;
constexpr int kStaticSharedBytes = 128;  // of the kernels, more than enough

int shared_bytes_of_block() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
  return bytes;
}

}  // namespace

void allow_shared_memory(const void* kernel, const MatmulWorkspace& workspace, bool& allowed) {
  if (allowed) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, workspace.room.shared_bytes),
        "cudaFuncSetAttribute");
  allowed = true;
}

BatchWorkspace::BatchWorkspace(cudaStream_t stream)
    : room_{multiprocessors(stream), shared_bytes_of_block() - kStaticSharedBytes, kPartialBytes, kCounters},
      plans_(room_),
      partials_(kPartialBytes, "partial sums of products"),
      counters_(kCounters * sizeof(unsigned), "counters of products") {
  check(cudaMemsetAsync(counters_.data(), 0, counters_.bytes(), stream), "clearing the counters of products");
}

MatmulWorkspace BatchWorkspace::workspace() {
  return {room_, &plans_, &allowed_, static_cast<float4*>(partials_.data()), static_cast<unsigned*>(counters_.data())};
}

}  // namespace warploom::cuda
