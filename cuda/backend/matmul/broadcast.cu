// Writes a bias to every token's row, for cuBLASLt to add to.
//
// Shapes:   bias [rows] of f32; out [tokens, rows], tokens out_stride elements apart.
// Layout:   a thread takes a row, a block 256 of them and some of the tokens.
// Bytes:    the bias once a block, out once.
// Launch:   grid (groups of 256 rows, at most 65535 tokens at a time).
// Limits:   none: neither array need be aligned to more than its elements.
// Capture:  yes.
// Numerics: copies.
// Source:   own.
// History:  none yet.
#include <algorithm>

#include "core/divide.h"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxGridTokens = 65535;

__global__ void __launch_bounds__(kThreads)
    broadcast_kernel(const float* const __grid_constant__ bias, const __grid_constant__ std::int64_t rows,
                     const __grid_constant__ std::int64_t tokens, const __grid_constant__ std::int64_t out_stride,
                     float* const __grid_constant__ out) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  const float value = bias[row];
  for (std::int64_t token = blockIdx.y; token < tokens; token += gridDim.y) out[token * out_stride + row] = value;
}

}  // namespace

void launch_broadcast(const float* bias, std::int64_t rows, std::int64_t tokens, std::int64_t out_stride, float* out,
                      cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(rows, std::int64_t{kThreads})),
                  static_cast<unsigned>(std::min(tokens, kMaxGridTokens)));
  launch(broadcast_kernel, "launching broadcast_kernel", grid, kThreads, 0, stream, bias, rows, tokens, out_stride, out);
}

}  // namespace warploom::cuda
