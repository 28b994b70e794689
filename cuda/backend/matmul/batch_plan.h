// How a product of packed weights with many tokens is cut into blocks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

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

/// Row blocks of one height. Of each segment, some tile rows are in blocks of one kind and the rest in blocks of another.
struct RowBlocks {
  int row_warps = 0;   // of a group; 32 rows each
  int row_blocks = 0;  // of all segments
  int first_block[kMaxSegments] = {};
  int first_tile[kMaxSegments] = {};  // of the segment
};

struct BatchPlan {
  SumOrder order;
  int token_tiles = 0;   // of a block: 2, 4, 5, 6 or 8
  int token_groups = 0;  // blocks side by side along the tokens
  int splits = 1;        // blocks that share the spans of a row block of `split`: 1; 2, a half each; or one for each span
  int stages = 0;        // 2 to kMaxStages
  int shared_bytes = 0;
  RowBlocks split;         // 1 to 4 row warps; with several splits, blocks exchange their sums through device memory
  RowBlocks whole;         // 1 or 2 row warps; both halves of the spans are added side by side in each block
  bool by_chunks = false;  // all in `whole`, of 1 row warp for each chunk of the inputs: packed_matmul_chunks.cu
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

/// What a launch has.
constexpr std::int64_t blocks_of(const BatchPlan& plan) {
  return (std::int64_t{plan.split.row_blocks} * plan.splits + plan.whole.row_blocks) * plan.token_groups;
}
constexpr int warps_of(const BatchPlan& plan) {
  if (plan.by_chunks) return kChunksPerSpan * plan.order.spans;
  const int split = plan.split.row_blocks > 0 ? plan.split.row_warps : 0;
  const int whole = plan.whole.row_blocks > 0 ? 2 * plan.whole.row_warps : 0;
  return kWarpGroups * (split > whole ? split : whole);
}
/// Bytes of sums that blocks hand over to others, through device memory.
constexpr std::int64_t exchanged_bytes(const BatchPlan& plan) {
  return std::int64_t{plan.split.row_blocks} * plan.token_groups * (plan.splits - 1) * kWarpGroups * plan.split.row_warps *
         kept_bytes(plan.token_tiles);
}

/// For tokens >= 1 and a weight with rows. Of the plans whose warps share stages and that read at most 1.15 times the weight's bytes,
/// exchanged sums included, the one that should take the shortest time by memory and units; of all of these if that is much shorter.
/// In its place the best plan by chunks if that should be sooner, dependences included. A plan never changes a bit of the result.
BatchPlan plan_batch(const PackedView& weight, int tokens, const BatchRoom& room);

/// Keeps plans, because making one takes tens of microseconds of the host's time. Not thread-safe.
class BatchPlans {
 public:
  explicit BatchPlans(const BatchRoom& room) : room_(room) {}
  /// plan_batch(), valid until the next call.
  const BatchPlan& find(const PackedView& weight, int tokens);

 private:
  BatchRoom room_;
  std::map<std::array<int, 2 + 3 * kMaxSegments>, BatchPlan> plans_;  // what a plan follows from
};

}  // namespace warploom::cuda
