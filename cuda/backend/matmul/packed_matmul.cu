// Products of packed weights with the activations of a few tokens: what decoding spends its time on.
//
// Shapes:   weight [rows, cols]; x [tokens, cols] of f16 or bf16; bias [rows] f32 or none; out [tokens, rows] f32.
// Layout:   packed.h. A block owns 16 rows, its warps share the inputs: warp w takes the w-th run of tiles. Their sums
//           meet in shared memory.
// Bytes:    every packed byte once for 64 tokens (for 16 where cols is no multiple of 64, or x not on a 16-byte
//           boundary); x once a block, from L1 or L2; out once.
// Launch:   grid (rows of tiles, groups of 64 tokens); 1 to 8 warps by cols alone; tokens in tiles of 8, of which a
//           kernel is compiled for 1, 2, 4 and 8.
// Limits:   at most kMaxSegments formats a launch. More than 2^19 tokens take several launches.
// Capture:  yes.
// Numerics: a weight is rounded once to the type of x (its scale and minimum to f16 where the file's own are products,
//           as in K-quants); sums are f32, along a warp's inputs in order, then across warps in order: a token's result
//           has the same bits whatever the number of tokens. Inputs beyond cols count as zero, whatever lies there is
//           not read.
// Source:   Frantar et al., MARLIN, 2024 (fragments in the order of memory); Kim et al., Who Says Elephants Can't Run,
//           2022 (codes to f16 by bits).
// History:  in instructions a weight of Q4_1, 4,096 inputs, a token: prefetch in a ring with branches 3.6, loads by
//           predicates in groups 2.7; runs of 16 inputs a lane ask for every sector of x twice, two runs of 8 once, for
//           0.1 more. Four tiles of tokens and more are bound by the inputs, which each block reads from L2 again.
#include <algorithm>
#include <utility>

#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/tile.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxWarps = 8;
constexpr int kTokenTile = 8;
constexpr int kMaxRaggedTokenTiles = 2;  // where inputs cannot be read 16 bytes at a time: no model does that
constexpr int kTilesOfWarp = 4;          // at least, where there are so many
constexpr int kMaxTokens = 1 << 19;      // of a launch: groups of 16 are a dimension of the grid

template <typename T>
struct Inputs {
  const T* x;  // of the block's first token, input 8 t
  int cols;
  int tokens;  // from that token on
};

// A lane's two runs of 8 inputs of a token, as pairs.
struct InputPairs {
  std::uint32_t pair[8];
};
template <typename T>
__device__ inline InputPairs load_whole(const T* from) {
  const uint4 a = *reinterpret_cast<const uint4*>(from), b = *reinterpret_cast<const uint4*>(from + 32);
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
// Those from `left` on are zero, and not read.
template <typename T>
__device__ inline InputPairs load_some(const T* from, int left) {
  InputPairs in;
  const auto* bits = reinterpret_cast<const unsigned short*>(from);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int at = i < 4 ? 2 * i : 32 + 2 * (i - 4);
    const std::uint32_t low = at < left ? bits[at] : 0u, high = at + 1 < left ? bits[at + 1] : 0u;
    in.pair[i] = low | high << 16;
  }
  return in;
}

// Adds `count` tiles to the sums, from tile `begin` of the row of tiles at `tiles` on. kWhole: their inputs are read 16
// bytes at a time.
template <bool kWhole, int kTokenTiles, typename Reader, typename T>
__device__ inline void add_tiles(const Reader& reader, const std::byte* tiles, int begin, int count, const Inputs<T>& inputs,
                                 float (&sum)[kTokenTiles][4]) {
  // Tiles on their way from memory: 2 KiB of codes a warp, less where sums take the registers.
  constexpr int kCodeBits = kTokenTiles <= 2 ? 16 : kTokenTiles <= 4 ? 8 : 4;
  constexpr int kAtOnce = kWhole && Reader::kTileBits < kCodeBits ? kCodeBits / Reader::kTileBits : 1;
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  tiles += begin * Reader::kTileBytes;
  const std::byte *codes = reader.codes(tiles), *scales = reader.scales(tiles);
  // Lanes beyond the last token read that one: their columns of the product are never stored.
  int token_at[kTokenTiles];
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) token_at[j] = min(j * kTokenTile + g, inputs.tokens - 1) * inputs.cols;
  const T* x = inputs.x + (begin * kTileInputs + (kTokenTiles == 1 ? token_at[0] : 0));
  int left = inputs.cols - begin * kTileInputs - 8 * t;
  for (; count > 0; count -= kAtOnce) {
    typename Reader::Raw raw[kAtOnce];
    [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
      ((raw[kIndex] = reader.template load_if<kIndex>(count, codes, scales)), ...);
    }
    (std::make_integer_sequence<int, kAtOnce>());
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (i > 0 && i >= count) break;
      std::uint32_t a[4][4];
      reader.decode(raw[i], a);
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        if (kTokenTiles > 2 && j > kTokenTiles / 2 && j * kTokenTile >= inputs.tokens) break;
        const T* from = x + i * kTileInputs + (kTokenTiles == 1 ? 0 : token_at[j]);
        const InputPairs in = kWhole ? load_whole(from) : load_some(from, left);
#pragma unroll
        for (int s = 0; s < 4; ++s) mma<T>(sum[j], a[s], in.pair[2 * s], in.pair[2 * s + 1]);
      }
    }
    codes += kAtOnce * Reader::kTileBytes;
    scales += kAtOnce * Reader::kTileBytes;
    x += kAtOnce * kTileInputs;
    if (!kWhole) left -= kTileInputs;
  }
}

struct Launch {
  int tokens;
  int warps;  // of a block
  int tiles_of_warp;
  int whole_tiles;  // of a row of tiles, whose inputs can be read 16 bytes at a time
  std::int64_t out_stride;
};

template <typename T, int kTokenTiles>
__global__ void __launch_bounds__(32 * kMaxWarps, kTokenTiles <= 1 ? 3 : 2)
    packed_matmul_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ Launch shape,
                         const T* const __grid_constant__ x, const float* const __grid_constant__ bias,
                         float* const __grid_constant__ out) {
  extern __shared__ float partial[];  // [warps, kTokenTiles, 4, 32 lanes]
  constexpr int kSums = kTokenTiles * 4 * 32;
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first_token = static_cast<int>(blockIdx.y) * kTokenTile * kTokenTiles;
  const PackedSegment& segment = segment_of(weight, blockIdx.x);
  const int within = static_cast<int>(blockIdx.x) - segment.first_tile;
  const std::byte* tiles = segment.tiles + std::int64_t{within} * segment.tile_row_bytes;
  const Inputs<T> inputs{x + (std::int64_t{first_token} * weight.cols + 8 * (lane % 4)), weight.cols,
                         shape.tokens - first_token};
  const int begin = static_cast<int>(warp) * shape.tiles_of_warp, end = min(begin + shape.tiles_of_warp, weight.col_tiles);
  float sum[kTokenTiles][4] = {};
  with_reader<T>(segment.format, [&](const auto& reader) {
    const int whole = min(end, shape.whole_tiles);
    add_tiles<true>(reader, tiles, begin, whole - begin, inputs, sum);
    if (kTokenTiles <= kMaxRaggedTokenTiles && shape.whole_tiles < end)
      add_tiles<false>(reader, tiles, max(begin, whole), end - max(begin, whole), inputs, sum);
  });
  float* mine = partial + warp * kSums + lane;
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) mine[(4 * j + i) * 32] = sum[j][i];
  __syncthreads();
  // Sum i of a lane's four: row g (+ 8 where i >= 2), token 2 t + i % 2 of the tile of tokens.
  const unsigned g = lane / 4, t = lane % 4;
  for (unsigned v = warp; v < 4 * kTokenTiles; v += shape.warps) {
    const float* of_warp = partial + (v * 32 + lane);
    float total = of_warp[0];
    for (int w = 1; w < shape.warps; ++w) total += of_warp[w * kSums];
    const int row = static_cast<int>(kTileRows * within + g + 4 * (v & 2)),
              token = static_cast<int>(v / 4 * kTokenTile + 2 * t + (v & 1));
    if (row >= segment.rows || token >= inputs.tokens) continue;
    const int r = segment.first_row + row;
    out[(first_token + token) * shape.out_stride + r] = bias ? total + bias[r] : total;
  }
}

template <typename T, int kTokenTiles>
void launch_tiles(const PackedView& weight, const Launch& shape, const void* x, const float* bias, float* out,
                  cudaStream_t stream) {
  constexpr int kTokens = kTokenTile * kTokenTiles;
  const dim3 grid(static_cast<unsigned>(weight.row_tiles), static_cast<unsigned>((shape.tokens + kTokens - 1) / kTokens));
  const auto shared = static_cast<std::size_t>(shape.warps * kTokenTiles * 4 * 32) * sizeof(float);
  launch(packed_matmul_kernel<T, kTokenTiles>, "launching packed_matmul_kernel", grid,
         32 * static_cast<unsigned>(shape.warps), shared, stream, weight, shape, static_cast<const T*>(x), bias, out);
}

template <typename T>
void launch_for(const PackedView& weight, const Launch& shape, const void* x, const float* bias, float* out,
                cudaStream_t stream) {
  const bool ragged = shape.whole_tiles < weight.col_tiles;
  if (shape.tokens <= kTokenTile) return launch_tiles<T, 1>(weight, shape, x, bias, out, stream);
  if (shape.tokens <= 2 * kTokenTile || ragged)
    return launch_tiles<T, kMaxRaggedTokenTiles>(weight, shape, x, bias, out, stream);
  if (shape.tokens <= 4 * kTokenTile) return launch_tiles<T, 4>(weight, shape, x, bias, out, stream);
  launch_tiles<T, 8>(weight, shape, x, bias, out, stream);
}

}  // namespace

void launch_packed_matmul(const PackedView& weight, DType type, const void* x, const float* bias, std::int64_t tokens,
                          std::int64_t out_stride, float* out, cudaStream_t stream) {
  if (weight.row_tiles == 0) return;
  const int warps = std::clamp(weight.col_tiles / kTilesOfWarp, 1, kMaxWarps);
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && weight.cols % 8 == 0;
  Launch shape{0, warps, (weight.col_tiles + warps - 1) / warps, aligned ? weight.cols / kTileInputs : 0, out_stride};
  for (std::int64_t first = 0; first < tokens; first += kMaxTokens) {
    shape.tokens = static_cast<int>(std::min<std::int64_t>(tokens - first, kMaxTokens));
    const void* from = static_cast<const std::byte*>(x) + first * weight.cols * bytes_of(type);
    float* to = out + first * out_stride;
    type == DType::f16 ? launch_for<__half>(weight, shape, from, bias, to, stream)
                       : launch_for<__nv_bfloat16>(weight, shape, from, bias, to, stream);
  }
}

}  // namespace warploom::cuda
