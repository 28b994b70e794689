#include "core/sampling_math.h"
#include "cuda/runtime/check.h"
#include "tests/cuda/weights.h"

namespace warploom::test {

namespace {

__global__ void weights_kernel(std::uint32_t first, std::uint32_t stride, std::uint32_t count, std::uint64_t* weights,
                               float* relative) {
  const std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float t = __uint_as_float(first + i * stride);  // a difference of t to the largest logit, at a scale of 1
  weights[i] = sampling::weight(t, 0.0f, 1.0f);
  relative[i] = sampling::relative_probability(t, 0.0f, 1.0f);
}

}  // namespace

void weights_on_device(std::uint32_t first, std::uint32_t stride, std::uint32_t count, std::uint64_t* weights,
                       float* relative) {
  weights_kernel<<<(count + 255) / 256, 256>>>(first, stride, count, weights, relative);
  cuda::check(cudaGetLastError(), "launching weights_kernel");
}

}  // namespace warploom::test
