#include "bench/gpu/read.h"
#include "cuda/runtime/launch.cuh"

namespace warploom::bench {

namespace {

constexpr unsigned kThreads = 512, kBlocks = 2048;

__global__ void read_kernel(const uint4* data, std::size_t count, std::uint32_t* sink) {
  std::uint32_t all = 0;
#pragma unroll 4
  for (std::size_t i = blockIdx.x * std::size_t{kThreads} + threadIdx.x; i < count; i += std::size_t{kThreads} * gridDim.x) {
    const uint4 v = data[i];
    all |= v.x | v.y | v.z | v.w;
  }
  if (all == 0x9e3779b9u) *sink = all;
}

}  // namespace

void read_all(const void* data, std::size_t bytes, std::uint32_t* sink, cudaStream_t stream) {
  const std::size_t count = bytes / sizeof(uint4), blocks = (count + kThreads - 1) / kThreads;
  if (count == 0) return;
  cuda::launch(read_kernel, "read_all", dim3(static_cast<unsigned>(blocks < kBlocks ? blocks : kBlocks)), kThreads, 0,
               stream, static_cast<const uint4*>(data), count, sink);
}

}  // namespace warploom::bench
