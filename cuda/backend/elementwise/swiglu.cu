// The gate of a feed-forward layer: out = silu(gate) * up (Shazeer 2020, arXiv:2002.05202).
//
// Shapes:   gate_up f32 [tokens, 2 intermediate_size]; out [tokens, intermediate_size].
// Layout:   a thread takes 4 neighbouring elements of a row, or 1 if intermediate_size is not a multiple of 4.
// Bytes:    gate_up read once, out written once.
// Launch:   256 threads; grid x covers a row, grid y the tokens.
// Limits:   none. Beyond 65,535 tokens, a block computes several.
// Capture:  yes.
// Numerics: f32 with exact division. For large |gate| the sigmoid is 0 or 1.
// Source:   the CPU's swiglu_row.
// History:  none.
#include <algorithm>

#include "core/divide.h"
#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/device/dependent_launch.cuh"

namespace warploom::cuda {
namespace {

constexpr int kSwigluThreads = 256;

template <int kWidth>
__global__ void __launch_bounds__(kSwigluThreads) swiglu_kernel(const __grid_constant__ SwigluArgs a, const DType type) {
  device::wait_for_launch_ahead();
  device::allow_next_launch();
  const long long at = (static_cast<long long>(blockIdx.x) * kSwigluThreads + threadIdx.x) * kWidth;
  if (at >= a.intermediate_size) return;
  for (long long token = blockIdx.y; token < a.tokens; token += gridDim.y) {
    float gate[kWidth], up[kWidth];
    device::load_some<kWidth>(a.gate_up, 2 * token * a.intermediate_size + at, gate);
    device::load_some<kWidth>(a.gate_up, (2 * token + 1) * a.intermediate_size + at, up);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) up[j] = gate[j] / (1.0f + expf(-gate[j])) * up[j];
    device::store_some<kWidth>(a.out, type, token * a.intermediate_size + at, up);
  }
}

}  // namespace

void launch_swiglu(const SwigluArgs& args, DType out, const LaunchStream& stream) {
  if (args.tokens == 0 || args.intermediate_size == 0) return;
  const int width = args.intermediate_size % 4 == 0 ? 4 : 1;
  const std::int64_t blocks = ceil_div(args.intermediate_size / width, kSwigluThreads);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<std::int64_t>(args.tokens, 65535)));
  const void* kernel =
      width == 4 ? reinterpret_cast<const void*>(&swiglu_kernel<4>) : reinterpret_cast<const void*>(&swiglu_kernel<1>);
  void* arguments[] = {const_cast<SwigluArgs*>(&args), &out};
  launch_kernel(kernel, "swiglu", grid, kSwigluThreads, arguments, 0, stream);
}

}  // namespace warploom::cuda
