// Adds what a layer computed to the residual stream, and normalises (Zhang and Sennrich 2019, arXiv:1910.07467).
//
// Shapes:   residual and delta f32 [*, dim], weight f32 [dim]; out activations [tokens, dim]; rows [tokens] or null.
// Layout:   a block takes one row and keeps it in registers; a thread has 4 neighbouring elements at a time, or 1 where dim is no
//           multiple of 4.
// Bytes:    residual and delta once in, residual and out once out (bytes_moved, with out in its own type).
// Launch:   tokens blocks of 256 threads, or 1,024 where dim is above 8,192.
// Limits:   dim at most 32,768.
// Capture:  yes.
// Numerics: squares are summed in f32 in an order that follows from dim alone, so a row does not know its neighbours.
// Source:   the CPU's rms_norm_row.
// History:  none.
#include <cstdint>
#include <string>

#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {
namespace {

constexpr int kHeld = 32;  // elements a thread keeps

__device__ float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

template <int kThreads, int kWidth>
__global__ void __launch_bounds__(kThreads) rms_norm_kernel(const __grid_constant__ RmsNormArgs a, const DType type) {
  __shared__ float sums[kThreads / 32];
  const long long token = blockIdx.x, row = a.rows ? a.rows[token] : token;
  const int dim = static_cast<int>(a.hidden_size);
  float held[kHeld / kWidth][kWidth];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kHeld / kWidth; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
    if (at >= dim) break;
    device::load_some<kWidth>(a.residual, row * dim + at, held[i]);
    if (a.delta) {
      float delta[kWidth];
      device::load_some<kWidth>(a.delta, row * dim + at, delta);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) held[i][j] += delta[j];
      device::store_some<kWidth>(a.residual, DType::f32, row * dim + at, held[i]);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) squares = fmaf(held[i][j], held[i][j], squares);
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();  // every warp's sum is there
  float total = threadIdx.x % 32 < kThreads / 32 ? sums[threadIdx.x % 32] : 0.0f;
  total = warp_sum(total);
  const float inverse = 1.0f / sqrtf(total / static_cast<float>(dim) + a.epsilon);
#pragma unroll
  for (int i = 0; i < kHeld / kWidth; ++i) {
    const int at = (i * kThreads + static_cast<int>(threadIdx.x)) * kWidth;
    if (at >= dim) break;
    float weight[kWidth];
    device::load_some<kWidth>(a.weight, at, weight);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) held[i][j] = held[i][j] * inverse * weight[j];
    device::store_some<kWidth>(a.out, type, token * dim + at, held[i]);
  }
}

}  // namespace

void launch_rms_norm(const RmsNormArgs& args, DType out, cudaStream_t stream) {
  if (args.hidden_size < 1 || args.hidden_size > 1024 * kHeld)
    throw InvalidArgument("rms_norm: dim is " + std::to_string(args.hidden_size) + "; it must be in [1, " +
                          std::to_string(1024 * kHeld) + "]");
  if (args.tokens == 0) return;
  const bool wide = args.hidden_size > 256 * kHeld, vector = args.hidden_size % 4 == 0;
  const void* kernel = wide     ? vector ? reinterpret_cast<const void*>(&rms_norm_kernel<1024, 4>)
                                         : reinterpret_cast<const void*>(&rms_norm_kernel<1024, 1>)
                           : vector ? reinterpret_cast<const void*>(&rms_norm_kernel<256, 4>)
                                : reinterpret_cast<const void*>(&rms_norm_kernel<256, 1>);
  void* arguments[] = {const_cast<RmsNormArgs*>(&args), &out};
  check(cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(args.tokens)), dim3(wide ? 1024 : 256), arguments, 0, stream),
        "rms_norm");
}

}  // namespace warploom::cuda
