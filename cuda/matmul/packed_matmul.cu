// Products of packed weights with the activations of a few tokens: what decoding spends its time on.
//
// Shapes:   weight [rows, cols]; x [tokens, cols] of f16 or bf16; bias [rows] f32 or none; out [tokens, rows] f32.
// Layout:   packed.h. A block owns 16 rows, its warps share the inputs: warp w takes the w-th run of tiles. Their sums meet in
//           shared memory.
// Bytes:    every packed byte once for 64 tokens; x once a block (from L1 or L2); out once.
// Launch:   grid (rows of tiles, groups of 64 tokens); 1 to 8 warps by cols alone; tokens in tiles of 8, of which a kernel is
//           compiled for 1, 2, 4 and 8.
// Limits:   at most kMaxSegments formats a launch; tokens below 64 * 65536.
// Capture:  yes.
// Numerics: a weight is rounded once to the type of x (its scale and minimum to f16 where the file's own are products, as in
//           K-quants); sums are f32, along a warp's inputs in order, then across warps in order: a token's result has the same
//           bits whatever the number of tokens. Inputs beyond cols count as zero, whatever lies there is not read.
// Source:   Frantar et al., MARLIN, 2024 (fragments in the order of memory); Kim et al., Who Says Elephants Can't Run, 2022 (codes
//           to f16 by bits).
// History:  none yet.
#include <algorithm>

#include "cuda/matmul/kernels.h"
#include "cuda/matmul/tile.cuh"
#include "cuda/runtime/check.h"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxWarps = 8;
constexpr int kTokenTile = 8;
constexpr int kMaxTokenTiles = 8;
constexpr int kTilesOfWarp = 4;  // at least, where there are so many: what a warp keeps on its way from memory

template <typename T>
struct Inputs {
  const T* x;    // of the block's first token
  int cols;
  int tokens;    // from that token on
  bool aligned;  // 16-byte loads are possible
};

// 16 inputs of one token, pairs. Those from `left` on are zero.
struct InputPairs {
  std::uint32_t pair[8];
};
template <typename T>
__device__ inline InputPairs load_inputs(const T* from, bool whole, int left) {
  InputPairs in;
  if (whole) {
    const uint4 a = *reinterpret_cast<const uint4*>(from), b = *reinterpret_cast<const uint4*>(from + 8);
    in.pair[0] = a.x, in.pair[1] = a.y, in.pair[2] = a.z, in.pair[3] = a.w;
    in.pair[4] = b.x, in.pair[5] = b.y, in.pair[6] = b.z, in.pair[7] = b.w;
  } else {
    const auto* bits = reinterpret_cast<const unsigned short*>(from);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t low = 2 * i < left ? bits[2 * i] : 0u, high = 2 * i + 1 < left ? bits[2 * i + 1] : 0u;
      in.pair[i] = low | high << 16;
    }
  }
  return in;
}

// Adds this warp's tiles, `begin` to `end` of the row of tiles at `tiles`, to the sums.
template <typename T, int kBits, int kTokenTiles>
__device__ inline void add_tiles(const PackedSegment& segment, const std::byte* tiles, int begin, int end, const Inputs<T>& inputs,
                                 float (&sum)[kTokenTiles][4]) {
  // In flight at once; fewer where sums of many tokens take the registers.
  constexpr int kAhead = kBits == 16 ? 2 : kTokenTiles <= 2 ? 4 : 2;
  const int lane = threadIdx.x % 32, t = lane % 4;
  const TileReader<kBits> reader(segment.format.scales, lane);
  const int step = tile_bytes({kBits, segment.format.scales});
  const std::byte* at = tiles + std::int64_t{begin} * step + 16 * lane;
  const std::byte* next = at;
  RawTile<kBits> ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (begin + i < end) ahead[i] = reader.load(next);
    next += step;
  }
  // Lanes beyond the last token read that one: their columns of the product are never stored.
  int token_at[kTokenTiles];
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) token_at[j] = min(j * kTokenTile + lane / 4, inputs.tokens - 1) * inputs.cols;
  int col = begin * kTileInputs + 16 * t;
  for (int tile = begin; tile < end; tile += kAhead) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (i > 0 && tile + i >= end) break;
      std::uint32_t a[4][4];
      reader.template decode<T>(ahead[i], a);
      if (tile + i + kAhead < end) ahead[i] = reader.load(next);
      next += step;
      const bool whole = inputs.aligned && (tile + i + 1) * kTileInputs <= inputs.cols;
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        if (kTokenTiles > 2 && j > kTokenTiles / 2 && j * kTokenTile >= inputs.tokens) break;
        const InputPairs in = load_inputs(inputs.x + token_at[j] + col, whole, inputs.cols - col);
#pragma unroll
        for (int s = 0; s < 4; ++s) mma<T>(sum[j], a[s], in.pair[2 * s], in.pair[2 * s + 1]);
      }
      col += kTileInputs;
    }
  }
}

template <typename T, int kTokenTiles>
__global__ void __launch_bounds__(32 * kMaxWarps)
    packed_matmul_kernel(const __grid_constant__ PackedView weight, const T* const __grid_constant__ x,
                         const float* const __grid_constant__ bias, float* const __grid_constant__ out,
                         const __grid_constant__ int tokens, const __grid_constant__ std::int64_t out_stride,
                         const __grid_constant__ int tiles_of_warp, const __grid_constant__ bool aligned) {
  extern __shared__ float partial[];  // [warps, kTokenTiles, 4, 32 lanes]
  constexpr int kSums = kTokenTiles * 4 * 32;
  const int row_tile = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first_token = blockIdx.y * kTokenTile * kTokenTiles;
  const PackedSegment& segment = segment_of(weight, row_tile);
  const int within = row_tile - segment.first_tile;
  const std::byte* tiles = segment.tiles + std::int64_t{within} * weight.col_tiles * tile_bytes(segment.format);
  const Inputs<T> inputs{x + std::int64_t{first_token} * weight.cols, weight.cols, tokens - first_token, aligned};
  const int begin = warp * tiles_of_warp, end = min(begin + tiles_of_warp, weight.col_tiles);
  float sum[kTokenTiles][4] = {};
  switch (segment.format.bits) {
    case 4: add_tiles<T, 4>(segment, tiles, begin, end, inputs, sum); break;
    case 8: add_tiles<T, 8>(segment, tiles, begin, end, inputs, sum); break;
    default: add_tiles<T, 16>(segment, tiles, begin, end, inputs, sum); break;
  }
  float* mine = partial + warp * kSums + lane;
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) mine[(4 * j + i) * 32] = sum[j][i];
  __syncthreads();
  const int warps = blockDim.x / 32;
  for (int v = warp; v < 4 * kTokenTiles; v += warps) {
    // Sum i of a lane: row g (+ 8 where i >= 2), token 2 t + i % 2 of its tile.
    const int row = 16 * within + lane / 4 + 8 * (v % 4 / 2), token = v / 4 * kTokenTile + 2 * (lane % 4) + v % 2;
    float total = partial[v * 32 + lane];
    for (int w = 1; w < warps; ++w) total += partial[w * kSums + v * 32 + lane];
    if (row >= segment.rows || token >= inputs.tokens) continue;
    const int r = segment.first_row + row;
    out[(first_token + token) * out_stride + r] = bias ? total + bias[r] : total;
  }
}

template <typename T, int kTokenTiles>
void launch(const PackedView& weight, const void* x, const float* bias, std::int64_t tokens, std::int64_t out_stride, float* out,
            cudaStream_t stream) {
  const int warps = std::clamp(weight.col_tiles / kTilesOfWarp, 1, kMaxWarps);
  const int tiles_of_warp = (weight.col_tiles + warps - 1) / warps;
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && weight.cols % 8 == 0;
  const dim3 grid(static_cast<unsigned>(weight.row_tiles),
                  static_cast<unsigned>((tokens + kTokenTile * kTokenTiles - 1) / (kTokenTile * kTokenTiles)));
  const auto shared = static_cast<std::size_t>(warps * kTokenTiles * 4 * 32) * sizeof(float);
  packed_matmul_kernel<T, kTokenTiles><<<grid, 32 * warps, shared, stream>>>(
      weight, static_cast<const T*>(x), bias, out, static_cast<int>(tokens), out_stride, tiles_of_warp, aligned);
  check(cudaGetLastError(), "launching packed_matmul_kernel");
}

template <typename T>
void launch_for(const PackedView& weight, const void* x, const float* bias, std::int64_t tokens, std::int64_t out_stride,
                float* out, cudaStream_t stream) {
  const auto with = [&](auto tiles) { launch<T, decltype(tiles)::value>(weight, x, bias, tokens, out_stride, out, stream); };
  if (tokens <= 1 * kTokenTile) return with(std::integral_constant<int, 1>());
  if (tokens <= 2 * kTokenTile) return with(std::integral_constant<int, 2>());
  if (tokens <= 4 * kTokenTile) return with(std::integral_constant<int, 4>());
  with(std::integral_constant<int, kMaxTokenTiles>());
}

}  // namespace

void launch_packed_matmul(const PackedView& weight, FloatType type, const void* x, const float* bias, std::int64_t tokens,
                          std::int64_t out_stride, float* out, cudaStream_t stream) {
  if (tokens == 0 || weight.row_tiles == 0) return;
  type == FloatType::f16 ? launch_for<__half>(weight, x, bias, tokens, out_stride, out, stream)
                         : launch_for<__nv_bfloat16>(weight, x, bias, tokens, out_stride, out, stream);
}

}  // namespace warploom::cuda
