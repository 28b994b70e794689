// How a product of packed weights with many tokens is cut into blocks.
#pragma once

#include <cstddef>

#include "cuda/backend/matmul/packed.h"
#include "cuda/backend/matmul/sum_order.h"

namespace warploom::cuda {

inline constexpr int kWarpRowTiles = 2;
inline constexpr int kWarpGroups = kChunksPerSpan;  // of a block; each takes one chunk of a span
inline constexpr int kMaxRowWarps = 4;
inline constexpr int kMaxBatchTokens = 64;  // of a block
inline constexpr int kMaxStages = 4;

/// What there is on the device.
struct BatchRoom {
  int processors = 1;
  int shared_bytes = 0;           // that a block may have
  std::size_t partial_bytes = 0;  // of the workspace
  std::size_t counters = 0;
};

struct BatchPlan {
  SumOrder order;
  int token_tiles = 0;   // of a block: 2, 4, 5, 6 or 8
  int token_groups = 0;  // blocks side by side along the tokens
  int row_warps = 0;     // of a group: 1, 2 or 4
  int splits = 1;        // blocks along the inputs: 1, or one for each span
  int stages = 0;        // 2 to kMaxStages
  int shared_bytes = 0;
  int row_blocks = 0;                  // of all segments
  int first_block[kMaxSegments] = {};  // of each segment
};

/// Row tiles of a block.
WARPLOOM_HOST_DEVICE constexpr int block_row_tiles(int row_warps) { return kWarpRowTiles * row_warps; }
/// Token tiles of which a group of warps adds up the spans; the other group has the rest.
WARPLOOM_HOST_DEVICE constexpr int kept_tiles(int token_tiles) { return (token_tiles + 1) / 2; }
/// A warp's sums of these: what it hands to its partner, and a block's partial sums.
WARPLOOM_HOST_DEVICE constexpr int kept_bytes(int token_tiles) {
  return kept_tiles(token_tiles) * kWarpRowTiles * 4 * 32 * static_cast<int>(sizeof(float));
}
/// One step of a group: 64 inputs of the block's tokens and of its rows.
WARPLOOM_HOST_DEVICE constexpr int group_stage_bytes(int token_tiles, int row_warps, int tile_bytes) {
  return token_tiles * kTokenTile * kTileInputs * 2 + block_row_tiles(row_warps) * tile_bytes;
}

/// For tokens >= 1 and a weight with rows. Of the plans, the one that should take the shortest time; it never changes a bit of
/// the result.
BatchPlan plan_batch(const PackedView& weight, int tokens, const BatchRoom& room);

}  // namespace warploom::cuda
