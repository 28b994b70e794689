// The gate of a feed-forward layer: silu(gate) times up (Shazeer 2020, arXiv:2002.05202).
//
// Shapes:   gate_up f32 [tokens, 2 ffn]; out activations [tokens, ffn].
// Layout:   a thread takes 4 neighbouring elements of a row, or 1 where ffn is no multiple of 4.
// Bytes:    gate_up once in, out once out.
// Launch:   256 threads; x over a row, y over tokens.
// Limits:   none but the grid's: tokens beyond 65,535 go round.
// Capture:  yes.
// Numerics: f32, the exact division; far out the sigmoid is 0 or 1.
// Source:   the CPU's swiglu_row.
// History:  none.
#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/runtime/check.h"

#include <algorithm>

namespace warploom::cuda {
namespace {

constexpr int kThreads = 256;

template <int kWidth>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(const __grid_constant__ SwigluArgs a, const DType type) {
  const long long at = (static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x) * kWidth;
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

void launch_swiglu(const SwigluArgs& args, DType out, cudaStream_t stream) {
  if (args.tokens == 0 || args.intermediate_size == 0) return;
  const int width = args.intermediate_size % 4 == 0 ? 4 : 1;
  const std::int64_t blocks = (args.intermediate_size / width + kThreads - 1) / kThreads;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<std::int64_t>(args.tokens, 65535)));
  const void* kernel =
      width == 4 ? reinterpret_cast<const void*>(&swiglu_kernel<4>) : reinterpret_cast<const void*>(&swiglu_kernel<1>);
  void* arguments[] = {const_cast<SwigluArgs*>(&args), &out};
  check(cudaLaunchKernel(kernel, grid, dim3(kThreads), arguments, 0, stream), "swiglu");
}

}  // namespace warploom::cuda
