// The gate of a feed-forward layer: out = silu(gate) * up (Shazeer 2020, arXiv:2002.05202).
//
// Shapes:   gate_up f32 [tokens, 2 intermediate_size]; bias f32 [2 intermediate_size] or null; out [tokens, intermediate_size].
// Layout:   a thread takes 4 neighbouring elements of a row, or 1 if intermediate_size is not a multiple of 4. Gate and up are a row's halves,
//           or alternate by 8 (gated weights, cuda/backend/matmul/packed.h).
// Bytes:    gate_up read once, out written once.
// Launch:   256 threads; grid x covers a row, grid y the tokens.
// Limits:   none. Beyond 65,535 tokens, a block computes several.
// Capture:  yes.
// Numerics: cuda/device/swiglu.cuh, in f32.
// Source:   the CPU's swiglu_row.
// History:  packed products of gated weights do this themselves (cuda/backend/matmul/epilogue.cuh): one launch a layer less.
#include <algorithm>

#include "core/divide.h"
#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/device/swiglu.cuh"

namespace warploom::cuda {
namespace {

constexpr int kSwigluThreads = 256;

template <int kWidth, bool kAlternating>
__global__ void __launch_bounds__(kSwigluThreads)
    swiglu_kernel(const __grid_constant__ SwigluArgs a, const float* const __grid_constant__ bias,
                  const __grid_constant__ DType type) {
  device::wait_for_launch_ahead();
  device::allow_next_launch();
  const long long at = (static_cast<long long>(blockIdx.x) * kSwigluThreads + threadIdx.x) * kWidth;
  if (at >= a.intermediate_size) return;
  for (long long token = blockIdx.y; token < a.tokens; token += gridDim.y) {
    float gate[kWidth], up[kWidth];
    const long long row = 2 * token * a.intermediate_size;
    device::load_some<kWidth>(a.gate_up, row + (kAlternating ? at / 8 * 16 + at % 8 : at), gate);
    device::load_some<kWidth>(a.gate_up, row + (kAlternating ? at / 8 * 16 + 8 + at % 8 : a.intermediate_size + at), up);
    if (kAlternating && bias) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) gate[j] += bias[at + j], up[j] += bias[a.intermediate_size + at + j];
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) up[j] = device::swiglu(gate[j], up[j]);
    device::store_some<kWidth>(a.out, type, token * a.intermediate_size + at, up);
  }
}

void launch_by(const void* kernel, int width, const SwigluArgs& args, const float* bias, DType out,
               const LaunchStream& stream) {
  if (args.tokens == 0 || args.intermediate_size == 0) return;
  const std::int64_t blocks = ceil_div(args.intermediate_size / width, kSwigluThreads);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<std::int64_t>(args.tokens, 65535)));
  void* arguments[] = {const_cast<SwigluArgs*>(&args), &bias, &out};
  launch_kernel(kernel, "swiglu", grid, kSwigluThreads, arguments, 0, stream);
}

}  // namespace

void launch_swiglu(const SwigluArgs& args, DType out, const LaunchStream& stream) {
  if (args.intermediate_size % 4 == 0)
    launch_by(reinterpret_cast<const void*>(&swiglu_kernel<4, false>), 4, args, nullptr, out, stream);
  else
    launch_by(reinterpret_cast<const void*>(&swiglu_kernel<1, false>), 1, args, nullptr, out, stream);
}

void launch_alternating_swiglu(const SwigluArgs& args, const float* bias, DType out, const LaunchStream& stream) {
  launch_by(reinterpret_cast<const void*>(&swiglu_kernel<4, true>), 4, args, bias, out, stream);
}

}  // namespace warploom::cuda
