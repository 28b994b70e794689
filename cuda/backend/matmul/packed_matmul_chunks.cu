// Multiplies packed weights by the activations of more than a few tokens, where a weight has too few rows to fill the GPU otherwise.
//
// Shapes:   as batch_packed_matmul_kernel (packed_matmul_batch.cu).
// Layout:   packed.h. A block computes 32 rows of up to 64 tokens. Each of its warps takes one chunk of the inputs (sum_order.h), which it
//           copies to stages of its own in shared memory, so that no warp waits for another one before all have their sums. These go to
//           shared memory, where the block adds them.
// Bytes:    every packed byte and every x once from DRAM, if what neighbouring blocks share stays in L2; from L2 the weights once for
//           each 16 to 64 tokens, x once for each 32 rows.
// Launch:   two dimensions: token groups, side by side for they share weights, and row blocks; batch_plan.h.
// Limits:   kMaxSegments formats in a launch; cols a multiple of 8, x on a 16-byte boundary; 65,535 row blocks.
// Capture:  yes.
// Numerics: as packed_matmul_kernel, bit for bit.
// History:  while warps of a block shared stages, the emulator's model of dependences gave 13.7 us for 4,096 rows and inputs of 4 bits and 16
//           tokens on an H100, now 8.4: no barrier a step, and three fifths of the code.
// Source:   Frantar et al., MARLIN, 2024 (stages of x and weights in shared memory, warps along the inputs).
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/epilogue.cuh"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/stage.cuh"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

struct ChunkLaunch {
  int first_block[kMaxSegments];  // row blocks
  int chunk_tiles, spans, half_spans, stages, tokens;
};

// What a block computes.
struct ChunkBlock {
  TileSegment segment;
  int first_tile;  // of the segment
  int first_token, tokens;

  // Most weights have one segment. To index parameters takes a round trip to L2.
  __device__ ChunkBlock(const PackedView& weight, const ChunkLaunch& shape, int block_tokens) : segment(weight.segments[0]) {
    int row_block = static_cast<int>(blockIdx.y);
    if (weight.segment_count > 1) {
      int s = 0;
      while (s + 1 < weight.segment_count && row_block >= shape.first_block[s + 1]) ++s;
      segment = weight.segments[s];
      row_block -= shape.first_block[s];
    }
    first_tile = row_block * kWarpRowTiles;
    first_token = static_cast<int>(blockIdx.x) * block_tokens;
    tokens = shape.tokens - first_token;
  }
  __device__ int row_tiles() const { return (segment.rows + kTileRows - 1) / kTileRows - first_tile; }
};

// A warp's copies of its chunk, tile by tile. A stage is that of add_stage().
template <typename Reader, typename T, int kTokenTiles>
class ChunkCopies {
 public:
  __device__ ChunkCopies(const ChunkBlock& block, const T* x, int cols, int tile) {
    const int lane = static_cast<int>(threadIdx.x % 32), token = lane / 8, input = 8 * (lane % 8);
    x_ = x + (std::int64_t{block.first_token + token} * cols + (tile * kTileInputs + input));
    token_step_ = std::int64_t{kTokenStep} * cols;
    tokens_ = block.tokens - token;
    inputs_ = cols - (tile * kTileInputs + input);
    to_x_ = static_cast<std::uint32_t>(token * kTokenBytes + (2 * input ^ (token % 2 * (kTokenBytes / 2))));
    to_tiles_ = static_cast<std::uint32_t>(kTokenTiles * kTokenTile * kTokenBytes + 16 * lane);
    row_bytes_ = block.segment.tile_row_bytes;
    tiles_ = block.segment.tiles + (std::int64_t{block.first_tile} * row_bytes_ + (tile * Reader::kTileBytes + 16 * lane));
    second_row_ = block.row_tiles() > 1;
    last_piece_ = 16 * lane < Reader::kTileBytes % 512;
  }

  // Copies a tile and goes on to the next. What is beyond the matrices becomes zero.
  __device__ void start(std::uint32_t stage) {
    const int tokens = inputs_ > 0 ? tokens_ : 0;
    const T* from = x_;
#pragma unroll
    for (int i = 0; i < kTokenTiles * kTokenTile / kTokenStep; ++i) {
      copy_async_16(stage + to_x_ + i * kTokenStep * kTokenBytes, from, i * kTokenStep < tokens);
      from += token_step_;
    }
    x_ += kTileInputs;
    inputs_ -= kTileInputs;
#pragma unroll
    for (int at = 0; at < Reader::kTileBytes; at += 512) {
      if (at + 512 > Reader::kTileBytes && !last_piece_) break;
      copy_async_16(stage + to_tiles_ + at, tiles_ + at, true);
      copy_async_16(stage + to_tiles_ + Reader::kTileBytes + at, tiles_ + (row_bytes_ + at), second_row_);
    }
    tiles_ += Reader::kTileBytes;
  }

 private:
  static constexpr int kTokenStep = 4;  // that a warp copies at once
  const T* x_;
  std::int64_t token_step_;
  const std::byte* tiles_;
  int tokens_, inputs_, row_bytes_;
  std::uint32_t to_x_, to_tiles_;
  bool second_row_, last_piece_;
};

// The sums of the warp's chunk. ring: the warp's stages.
template <typename T, int kTokenTiles, typename Reader>
__device__ inline void add_chunk(const Reader& reader, const PackedView& weight, const ChunkLaunch& shape,
                                 const ChunkBlock& block, const T* x, std::byte* ring, Sums<kTokenTiles>& sum) {
  constexpr int kStageBytes = group_stage_bytes(kTokenTiles, 1, Reader::kTileBytes);
  const int warp = static_cast<int>(threadIdx.x / 32), ring_bytes = shape.stages * kStageBytes;
  ring += warp * ring_bytes;
  const int tile = warp * shape.chunk_tiles, tiles = min(shape.chunk_tiles, weight.col_tiles - tile);
  ChunkCopies<Reader, T, kTokenTiles> copies(block, x, weight.cols, tile);
  int left_to_copy = tiles, copy_at = 0, add_at = 0;
  // One loop for the first copies and the products: less code to fetch.
#pragma unroll 1
  for (int step = 1 - shape.stages; step < tiles; ++step) {
    if (step >= 0) {
      wait_for_stage(shape.stages);
      __syncwarp();  // all lanes' copies have arrived, all lanes have read the stage before
    }
    if (left_to_copy-- > 0) {
      copies.start(shared_address(ring) + copy_at);
      copy_at = copy_at + kStageBytes < ring_bytes ? copy_at + kStageBytes : 0;
    }
    end_copy_group();
    if (step < 0) continue;
    add_stage<T, kTokenTiles>(reader, ring + add_at, 0, sum);
    add_at = add_at + kStageBytes < ring_bytes ? add_at + kStageBytes : 0;
  }
}

// Adds the sums of all chunks in order and writes them. exchange: [warps][token tiles][row tiles][lanes].
template <typename T, int kTokenTiles>
__device__ inline void store_sums(const ChunkLaunch& shape, const ChunkBlock& block, const Epilogue& to, int rows,
                                  float4* exchange, const Sums<kTokenTiles>& sum) {
  constexpr int kPieces = kTokenTiles * kWarpRowTiles;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int g = lane / 4, t = lane % 4;
  float4* own = exchange + (warp * kPieces * 32 + lane);
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const float(&s)[4] = sum[r][j];
      own[(j * kWarpRowTiles + r) * 32] = make_float4(s[0], s[1], s[2], s[3]);
    }
  __syncthreads();
#pragma unroll 1
  for (int piece = warp; piece < kPieces; piece += kChunksPerSpan * shape.spans) {
    const float4* from = exchange + (piece * 32 + lane);
    float first_half[4] = {}, total[4] = {};
#pragma unroll 1
    for (int span = 0; span < shape.spans; ++span) {
      if (span == shape.half_spans)
#pragma unroll
        for (int i = 0; i < 4; ++i) first_half[i] = total[i], total[i] = 0.0f;
      const float4 a = from[0], b = from[kPieces * 32];
      total[0] += a.x + b.x, total[1] += a.y + b.y, total[2] += a.z + b.z, total[3] += a.w + b.w;
      from += kChunksPerSpan * kPieces * 32;
    }
    // Value i is of row g or, from 2 on, g + 8, and of token 2 t + i % 2 of the token tile.
    const int row = (block.first_tile + piece % kWarpRowTiles) * kTileRows + g;
    const int token = piece / kWarpRowTiles * kTokenTile + 2 * t;
    const std::int64_t at = (block.first_token + token) * to.stride;
#pragma unroll
    for (int i = 0; i < 4; ++i) total[i] = first_half[i] + total[i];
    if (to.gated) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if (row < block.segment.rows && token + i < block.tokens)
          store_gated<T>(to, at + i * to.stride, (block.first_tile + piece % kWarpRowTiles) * (kTileRows / 2) + g, rows,
                         total[i], total[2 + i]);
      continue;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (row + i / 2 * 8 >= block.segment.rows || token + i % 2 >= block.tokens) continue;
      store_sum(to, at + i % 2 * to.stride, block.segment.first_row + row + i / 2 * 8, total[i]);
    }
  }
}

// Each warp brings what it reads first of its rows to L2.
__device__ inline void prefetch_weights(const ChunkBlock& block, const ChunkLaunch& shape, int col_tiles) {
  constexpr int kPrefetchBytes = 2048;  // of a tile row
  const int row = static_cast<int>(threadIdx.x % 32), tile = static_cast<int>(threadIdx.x / 32) * shape.chunk_tiles;
  if (row >= min(kWarpRowTiles, block.row_tiles()) || tile >= col_tiles) return;
  const int bytes = tile_bytes(block.segment.format);
  prefetch_to_l2(block.segment.tiles + (std::int64_t{block.first_tile + row} * block.segment.tile_row_bytes + tile * bytes),
                 static_cast<std::size_t>(min(min(shape.chunk_tiles, col_tiles - tile) * bytes, kPrefetchBytes)));
}

template <typename T, int kTokenTiles>
__global__ void __launch_bounds__(32 * kMaxChunks, kTokenTiles <= 4 ? 2 : 1)
    chunk_packed_matmul_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ ChunkLaunch shape,
                               const T* const __grid_constant__ x, const __grid_constant__ Epilogue to) {
  extern __shared__ float4 shared[];  // the warps' stages, then their sums
  const ChunkBlock block(weight, shape, kTokenTiles * kTokenTile);
  prefetch_weights(block, shape, weight.col_tiles);
  wait_for_launch_ahead();
  allow_next_launch();
  Sums<kTokenTiles> sum = {};
  with_reader<T>(block.segment.format, [&](const auto& reader) {
    add_chunk<T, kTokenTiles>(reader, weight, shape, block, x, reinterpret_cast<std::byte*>(shared), sum);
  });
  __syncthreads();  // all warps have read their stages
  store_sums<T, kTokenTiles>(shape, block, to, weight.rows, shared, sum);
}

template <typename T, int kTokenTiles>
void launch_tiles(const PackedView& weight, const BatchPlan& plan, const ChunkLaunch& shape, const void* x,
                  const Epilogue& to, const MatmulWorkspace& workspace, const LaunchStream& stream) {
  const auto kernel = chunk_packed_matmul_kernel<T, kTokenTiles>;
  allow_shared_memory(reinterpret_cast<const void*>(kernel), workspace,
                      workspace.allowed->of_chunks[std::is_same_v<T, __half> ? 0 : 1][kTokenTiles]);
  launch(kernel, "launching chunk_packed_matmul_kernel",
         dim3(static_cast<unsigned>(plan.token_groups), static_cast<unsigned>(plan.whole.row_blocks)),
         32u * static_cast<unsigned>(warps_of(plan)), static_cast<std::size_t>(plan.shared_bytes), stream, weight, shape,
         static_cast<const T*>(x), to);
}

template <typename T>
void launch_for(const PackedView& weight, const BatchPlan& plan, const ChunkLaunch& shape, const void* x, const Epilogue& to,
                const MatmulWorkspace& workspace, const LaunchStream& stream) {
  switch (plan.token_tiles) {
    case 2: return launch_tiles<T, 2>(weight, plan, shape, x, to, workspace, stream);
    case 4: return launch_tiles<T, 4>(weight, plan, shape, x, to, workspace, stream);
    case 6: return launch_tiles<T, 6>(weight, plan, shape, x, to, workspace, stream);
    default: return launch_tiles<T, 8>(weight, plan, shape, x, to, workspace, stream);
  }
}

}  // namespace

void launch_packed_matmul_chunks(const PackedView& weight, const BatchPlan& plan, DType type, const void* x, int tokens,
                                 const Epilogue& to, const MatmulWorkspace& workspace, const LaunchStream& stream) {
  ChunkLaunch shape{{}, plan.order.chunk_tiles, plan.order.spans, plan.order.half_spans, plan.stages, tokens};
  std::copy(std::begin(plan.whole.first_block), std::end(plan.whole.first_block), shape.first_block);
  type == DType::f16 ? launch_for<__half>(weight, plan, shape, x, to, workspace, stream)
                     : launch_for<__nv_bfloat16>(weight, plan, shape, x, to, workspace, stream);
}

}  // namespace warploom::cuda
