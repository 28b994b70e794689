// Multiplies packed weights by the activations of a few tokens. Decoding spends most of its time here.
//
// Shapes:   weight [rows, cols]; x [tokens, cols] of f16 or bf16; results as epilogue.h says.
// Layout:   packed.h. A block computes 16 rows of 8 tokens. Its warps split the inputs: warp w takes chunk w (sum_order.h),
//           and the sums of all warps are added in shared memory.
// Bytes:    every packed byte once for each 8 tokens; x once for each block, from L1 or L2; out once.
// Launch:   grid (tile rows, groups of 8 tokens); 1 to 8 warps, depending only on cols.
// Limits:   kMaxSegments formats in a launch. More than 2^18 tokens take several launches.
// Capture:  yes.
// Numerics: a weight is rounded once to the type of x; scales and mins that are products in the file (K-quants) are
//           rounded to f16 before. Sums are f32, first along the inputs of each warp, then over the warps by sum_order.h, so a
//           token's bits do not depend on the number of tokens. Inputs beyond cols count as zero and are not read.
// Source:   Frantar et al., MARLIN, 2024 (fragments in memory order); Kim et al., Who Says Elephants Can't Run, 2022
//           (codes to f16 by bit operations).
// History:  instructions per weight of Q4_1 at 4,096 inputs and one token: 3.6 with a prefetch ring and branches, 2.7 with
//           groups of predicated loads. Runs of 16 inputs a lane request every sector of x twice; two runs of 8 request it
//           once and cost 0.1 more. For 16 to 64 tokens it read x once for every 16 rows: packed_matmul_batch.cu
//           and packed_matmul_chunks.cu share it.
#include <algorithm>
#include <utility>

#include "core/divide.h"
#include "cuda/backend/matmul/epilogue.cuh"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/sum_order.h"
#include "cuda/backend/matmul/tile.cuh"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxWarps = kMaxChunks;
constexpr int kMaxTokens = 1 << 18;   // of a launch; a grid dimension counts groups of 8
constexpr int kSums = 4 * 32;         // of a warp
constexpr int kPrefetchBytes = 4096;  // of a warp: the H100's DRAM takes 4 us for all that run at once

template <typename T>
struct Inputs {
  const T* x;  // input 8 t of the block's first token
  int cols;
  int tokens;  // from the block's first token on
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
// The same, but inputs from `left` on are zero and are not read.
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

// Adds the products of `count` tiles to the sums, starting at tile `begin` of the tile row at `tiles`. kWhole: inputs are
// read 16 bytes at a time.
template <bool kWhole, typename Reader, typename T>
__device__ inline void add_tiles(const Reader& reader, const std::byte* tiles, int begin, int count, const Inputs<T>& inputs,
                                 float (&sum)[4]) {
  constexpr int kCodeBits = 16;  // loads in flight: 2 KiB of codes a warp
  constexpr int kAtOnce = kWhole && Reader::kTileBits < kCodeBits ? kCodeBits / Reader::kTileBits : 1;
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  tiles += begin * Reader::kTileBytes;
  const std::byte *codes = reader.codes(tiles), *scales = reader.scales(tiles);
  // Lanes beyond the last token read the last one; their columns of the product are never stored.
  const T* x = inputs.x + (min(g, inputs.tokens - 1) * inputs.cols + begin * kTileInputs);
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
      const T* from = x + i * kTileInputs;
      const InputPairs in = kWhole ? load_whole(from) : load_some(from, left);
#pragma unroll
      for (int s = 0; s < 4; ++s) mma<T>(sum, a[s], in.pair[2 * s], in.pair[2 * s + 1]);
    }
    codes += kAtOnce * Reader::kTileBytes;
    scales += kAtOnce * Reader::kTileBytes;
    x += kAtOnce * kTileInputs;
    if (!kWhole) left -= kTileInputs;
  }
}

struct Launch {
  int tokens;
  int warps;       // of a block
  int half_warps;  // of the first half of its spans
  int tiles_per_warp;
  int whole_tiles;  // of a tile row: those whose inputs can be read 16 bytes at a time
};

template <typename T>
__global__ void __launch_bounds__(32 * kMaxWarps, 3)
    packed_matmul_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ Launch shape,
                         const T* const __grid_constant__ x, const __grid_constant__ Epilogue to) {
  __shared__ float partial[kMaxWarps * kSums];  // [warps, 4, 32 lanes]
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first_token = static_cast<int>(blockIdx.y) * kTokenTile;
  const TileSegment& segment = segment_of(weight, blockIdx.x);
  const int within = static_cast<int>(blockIdx.x) - segment.first_tile;
  const std::byte* tiles = segment.tiles + std::int64_t{within} * segment.tile_row_bytes;
  const Inputs<T> inputs{x + (std::int64_t{first_token} * weight.cols + 8 * (lane % 4)), weight.cols,
                         shape.tokens - first_token};
  const int begin = static_cast<int>(warp) * shape.tiles_per_warp, end = min(begin + shape.tiles_per_warp, weight.col_tiles);
  if (lane == 0) {
    const int bytes = tile_bytes(segment.format);
    prefetch_to_l2(tiles + begin * bytes, static_cast<std::size_t>(min(max(end - begin, 0) * bytes, kPrefetchBytes)));
  }
  wait_for_launch_ahead();
  allow_next_launch();
  float sum[4] = {};
  with_reader<T>(segment.format, [&](const auto& reader) {
    const int whole = min(end, shape.whole_tiles);
    add_tiles<true>(reader, tiles, begin, whole - begin, inputs, sum);
    if (shape.whole_tiles < end) add_tiles<false>(reader, tiles, max(begin, whole), end - max(begin, whole), inputs, sum);
  });
#pragma unroll
  for (int i = 0; i < 4; ++i) partial[warp * kSums + i * 32 + lane] = sum[i];
  __syncthreads();
  // Sum i of a lane's four belongs to row g (i < 2) or g + 8 and to token 2 t + i % 2.
  const unsigned g = lane / 4, t = lane % 4;
  const auto total_of = [&](unsigned i) {
    const float* of_warp = partial + (i * 32 + lane);
    float total = 0.0f, first_half = 0.0f;
    for (int w = 0; w < shape.warps; w += kChunksPerSpan) {
      if (w == shape.half_warps) first_half = total, total = 0.0f;
      total += of_warp[w * kSums] + (w + 1 < shape.warps ? of_warp[(w + 1) * kSums] : 0.0f);
    }
    return first_half + total;
  };
  for (unsigned i = warp; i < (to.gated ? 2 : 4); i += shape.warps) {
    const int row = static_cast<int>(kTileRows * within + g + 4 * (i & 2)), token = static_cast<int>(2 * t + (i & 1));
    const float total = total_of(i), up = to.gated ? total_of(i + 2) : 0.0f;
    if (row >= segment.rows || token >= inputs.tokens) continue;
    const std::int64_t at = (first_token + token) * to.stride;
    if (to.gated)
      store_gated<T>(to, at, static_cast<int>(kTileRows / 2 * within + g), weight.rows, total, up);
    else
      store_sum(to, at, segment.first_row + row, total);
  }
}

template <typename T>
void launch_for(const PackedView& weight, const Launch& shape, const void* x, const Epilogue& to,
                const LaunchStream& stream) {
  const dim3 grid(static_cast<unsigned>(weight.row_tiles), static_cast<unsigned>(ceil_div(shape.tokens, kTokenTile)));
  launch(packed_matmul_kernel<T>, "launching packed_matmul_kernel", grid, 32 * static_cast<unsigned>(shape.warps), 0, stream,
         weight, shape, static_cast<const T*>(x), to);
}

}  // namespace

void launch_packed_matmul(const PackedView& weight, DType type, const void* x, std::int64_t tokens, const Epilogue& to,
                          const LaunchStream& stream) {
  if (weight.row_tiles == 0) return;
  const SumOrder order = sum_order(weight.col_tiles);
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && weight.cols % 8 == 0;
  Launch shape{0, order.chunks, order.half_spans * kChunksPerSpan, order.chunk_tiles,
               aligned ? weight.cols / kTileInputs : 0};
  for (std::int64_t first = 0; first < tokens; first += kMaxTokens) {
    shape.tokens = static_cast<int>(std::min<std::int64_t>(tokens - first, kMaxTokens));
    const void* from = static_cast<const std::byte*>(x) + first * weight.cols * bytes_of(type);
    const Epilogue now = to.from_token(first, type);
    type == DType::f16 ? launch_for<__half>(weight, shape, from, now, stream)
                       : launch_for<__nv_bfloat16>(weight, shape, from, now, stream);
  }
}

}  // namespace warploom::cuda
