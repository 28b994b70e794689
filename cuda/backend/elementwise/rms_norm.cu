// Adds a layer's output to the residual stream and normalises it (Zhang and Sennrich 2019, arXiv:1910.07467).
//
// Shapes:   residual and delta f32 [tokens, hidden_size], weight f32 [hidden_size]; out [tokens, hidden_size].
// Layout:   a block keeps one row in registers. A thread takes 4 neighbouring elements at a time, or 1 if hidden_size is not
//           a multiple of 4.
// Bytes:    residual and delta read once, residual and out written once: bytes_moved().
// Launch:   one block for each token, of 256 threads, or 1,024 if hidden_size > 8,192.
// Limits:   hidden_size <= 32,768.
// Capture:  yes.
// Numerics: squares are summed in f32 in an order that depends only on hidden_size, so a row does not depend on the others.
// Source:   the CPU's rms_norm_row.
// History:  none.
#include <cstdint>
#include <string>

#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/device/dependent_launch.cuh"
#include "warploom/error.h"

namespace warploom::cuda {
namespace {

constexpr int kElementsPerThread = 32;  // kept in registers

__device__ float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

template <int kThreads, int kWidth>
__global__ void __launch_bounds__(kThreads) rms_norm_kernel(const __grid_constant__ RmsNormArgs a, const DType type) {
  __shared__ float sums[kThreads / 32];
  if (threadIdx.x == 0) device::prefetch_to_l2(a.weight, static_cast<std::size_t>(a.hidden_size) * sizeof(float));
  device::wait_for_launch_ahead();
  device::allow_next_launch();
  const long long token = blockIdx.x;
  const int dim = static_cast<int>(a.hidden_size);
  float x[kElementsPerThread / kWidth][kWidth];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kElementsPerThread / kWidth; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
    if (at >= dim) break;
    device::load_some<kWidth>(a.residual, token * dim + at, x[i]);
    if (a.delta) {
      float delta[kWidth];
      device::load_some<kWidth>(a.delta, token * dim + at, delta);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) x[i][j] += delta[j];
      device::store_some<kWidth>(a.residual, DType::f32, token * dim + at, x[i]);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) squares = fmaf(x[i][j], x[i][j], squares);
  }
  squares = warp_sum(squares);
  // Every lane has the sum. For lane 0 the address would need no mask, and cuxray would count bank conflicts that there are not.
  if (threadIdx.x % 32 == 31) sums[threadIdx.x / 32] = squares;
  __syncthreads();  // all warps have stored their sums
  float total = threadIdx.x % 32 < kThreads / 32 ? sums[threadIdx.x % 32] : 0.0f;
  total = warp_sum(total);
  const float inverse = 1.0f / sqrtf(total / static_cast<float>(dim) + a.epsilon);
#pragma unroll
  for (int i = 0; i < kElementsPerThread / kWidth; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
    if (at >= dim) break;
    float weight[kWidth];
    device::load_some<kWidth>(a.weight, at, weight);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) x[i][j] = x[i][j] * inverse * weight[j];
    device::store_some<kWidth>(a.out, type, token * dim + at, x[i]);
  }
}

}  // namespace

const void* rms_norm_code() { return reinterpret_cast<const void*>(&rms_norm_kernel<256, 4>); }

void launch_rms_norm(const RmsNormArgs& args, DType out, const LaunchStream& stream) {
  if (args.hidden_size < 1 || args.hidden_size > 1024 * kElementsPerThread)
    throw InvalidArgument("rms_norm: hidden_size is " + std::to_string(args.hidden_size) + "; it must be in [1, " +
                          std::to_string(1024 * kElementsPerThread) + "]");
  if (args.tokens == 0) return;
  const bool wide = args.hidden_size > 256 * kElementsPerThread, vector = args.hidden_size % 4 == 0;
  const void* kernel = wide     ? vector ? reinterpret_cast<const void*>(&rms_norm_kernel<1024, 4>)
                                         : reinterpret_cast<const void*>(&rms_norm_kernel<1024, 1>)
                           : vector ? reinterpret_cast<const void*>(&rms_norm_kernel<256, 4>)
                                : reinterpret_cast<const void*>(&rms_norm_kernel<256, 1>);
  void* arguments[] = {const_cast<RmsNormArgs*>(&args), &out};
  launch_kernel(kernel, "rms_norm", dim3(static_cast<unsigned>(args.tokens)), wide ? 1024 : 256, arguments, 0, stream);
}

}  // namespace warploom::cuda
