// Unpacks tile rows to rows of 16-bit floats, for cuBLASLt.
//
// Shapes:   weight [rows, cols] packed; out [rows of the tile rows, stride] of f16 or bf16.
// Layout:   packed.h; a warp takes a tile, a lane writes two runs of 8 inputs for each of its two rows.
// Bytes:    the packed tiles once, out once.
// Launch:   grid (tile rows, groups of 8 tiles along the inputs); 8 warps.
// Limits:   stride a multiple of 8; out on a 16-byte boundary.
// Capture:  yes.
// Numerics: the same weights as packed_matmul_kernel, bit for bit.
// Source:   packed.h.
// History:  none yet.
#include "core/divide.h"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/tile.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kWarps = 8;

template <typename T, typename Reader>
__device__ inline void unpack_tile(const Reader& reader, const std::byte* tile, int rows, int inputs, std::int64_t stride,
                                   T* out) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  std::uint32_t a[4][4];
  reader.decode(reader.template load_if<0>(1, reader.codes(tile), reader.scales(tile)), a);
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    if (g + 8 * row >= rows) continue;
    T* to = out + (g + 8 * row) * stride + 8 * t;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (32 * half + 8 * t >= inputs) continue;
      const int s = 2 * half;
      *reinterpret_cast<uint4*>(to + 32 * half) = make_uint4(a[s][row], a[s][2 + row], a[s + 1][row], a[s + 1][2 + row]);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(32 * kWarps)
    unpack_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ int begin,
                  const __grid_constant__ int first_row, const __grid_constant__ std::int64_t stride,
                  T* const __grid_constant__ out) {
  const int row_tile = begin + static_cast<int>(blockIdx.x),
            col_tile = static_cast<int>(blockIdx.y * kWarps + threadIdx.x / 32);
  if (col_tile >= weight.col_tiles) return;
  const TileSegment& segment = segment_of(weight, row_tile);
  const int within = row_tile - segment.first_tile;
  const std::byte* tile =
      segment.tiles + std::int64_t{within} * segment.tile_row_bytes + col_tile * tile_bytes(segment.format);
  const int rows = segment.rows - within * kTileRows;
  const int inputs = static_cast<int>(stride) - col_tile * kTileInputs;
  T* to = out + (segment.first_row + within * kTileRows - first_row) * stride + col_tile * kTileInputs;
  with_reader<T>(segment.format, [&](const auto& reader) { unpack_tile(reader, tile, rows, inputs, stride, to); });
}

}  // namespace

void launch_unpack(const PackedView& weight, DType type, int begin, int end, std::int64_t stride, void* out,
                   cudaStream_t stream) {
  if (begin == end) return;
  const int first_row = first_row_of(weight, begin);
  const dim3 grid(static_cast<unsigned>(end - begin), static_cast<unsigned>(ceil_div(weight.col_tiles, kWarps)));
  if (type == DType::f16)
    launch(unpack_kernel<__half>, "launching unpack_kernel", grid, 32 * kWarps, 0, stream, weight, begin, first_row, stride,
           static_cast<__half*>(out));
  else
    launch(unpack_kernel<__nv_bfloat16>, "launching unpack_kernel", grid, 32 * kWarps, 0, stream, weight, begin, first_row,
           stride, static_cast<__nv_bfloat16*>(out));
}

}  // namespace warploom::cuda
