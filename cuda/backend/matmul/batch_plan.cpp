#include "cuda/backend/matmul/batch_plan.h"

#include <algorithm>
#include <limits>

#include "core/divide.h"

namespace warploom::cuda {

namespace {

// Of one multiprocessor, roughly, on GPUs from A100 to H100: they rank plans.
constexpr double kProductsPerClock = 0.5;            // mma.sync of m16n8k16
constexpr double kMemoryBytesPerClock = 13;          // its share of DRAM
constexpr double kL2BytesPerClock = 32;              // its share of L2
constexpr double kBlockClocks = 1000;                // until the first stage has come, partly behind other blocks
constexpr int kTokenTileCounts[] = {2, 4, 5, 6, 8};  // for which there are kernels

int widest_tile(const PackedView& weight) {
  int widest = 0;
  for (int s = 0; s < weight.segment_count; ++s) widest = std::max(widest, tile_bytes(weight.segments[s].format));
  return widest;
}

void place_segments(const PackedView& weight, BatchPlan& plan) {
  plan.row_blocks = 0;
  for (int s = 0; s < weight.segment_count; ++s) {
    plan.first_block[s] = plan.row_blocks;
    plan.row_blocks += ceil_div(ceil_div(weight.segments[s].rows, kTileRows), block_row_tiles(plan.row_warps));
  }
}

std::size_t partial_bytes(const BatchPlan& plan) {
  const auto block =
      static_cast<std::size_t>(kept_bytes(plan.token_tiles)) * static_cast<std::size_t>(kWarpGroups * plan.row_warps);
  return block * static_cast<std::size_t>(plan.order.spans) * static_cast<std::size_t>(plan.row_blocks) *
         static_cast<std::size_t>(plan.token_groups);
}

bool fits(const BatchPlan& plan, const BatchRoom& room) {
  if (plan.stages < 2) return false;
  if (plan.splits == 1) return true;
  return partial_bytes(plan) <= room.partial_bytes &&
         static_cast<std::size_t>(plan.row_blocks) * static_cast<std::size_t>(plan.token_groups) <= room.counters;
}

// Clocks of the busiest multiprocessor.
double clocks_of(const BatchPlan& plan, int tile, int processors) {
  const double steps = static_cast<double>(plan.order.chunk_tiles) * plan.order.spans / plan.splits;
  const double tiles = steps * kWarpGroups * block_row_tiles(plan.row_warps);
  const double inputs = steps * kWarpGroups * plan.token_tiles * kTokenTile * kTileInputs * 2;
  // If the inputs are split, each block writes its sums, and one reads those of all.
  const double sums = plan.splits > 1 ? 2.0 * kept_bytes(plan.token_tiles) * kWarpGroups * plan.row_warps : 0.0;
  const double products = tiles * 4 * plan.token_tiles / kProductsPerClock;
  const double memory = (tiles * tile / plan.token_groups + sums) / kMemoryBytesPerClock;
  const double l2 = (tiles * tile + inputs + sums) / kL2BytesPerClock;
  const auto blocks = std::int64_t{plan.row_blocks} * plan.token_groups * plan.splits;
  return static_cast<double>(ceil_div(blocks, processors)) * (kBlockClocks + std::max({products, memory, l2}));
}

}  // namespace

BatchPlan plan_batch(const PackedView& weight, int tokens, const BatchRoom& room) {
  BatchPlan plan;
  plan.order = sum_order(weight.col_tiles);
  plan.token_groups = ceil_div(tokens, kMaxBatchTokens);
  const int token_tiles = ceil_div(ceil_div(tokens, kTokenTile), plan.token_groups);
  plan.token_tiles = *std::find_if(std::begin(kTokenTileCounts), std::end(kTokenTileCounts),
                                   [&](int count) { return count >= token_tiles; });
  plan.token_groups = ceil_div(tokens, plan.token_tiles * kTokenTile);
  const int tile = widest_tile(weight);
  BatchPlan best;
  double least = std::numeric_limits<double>::infinity();
  for (plan.row_warps = kMaxRowWarps; plan.row_warps >= 1; plan.row_warps /= 2) {
    place_segments(weight, plan);
    const int exchange = kWarpGroups * plan.row_warps * kept_bytes(plan.token_tiles);
    const int stage = kWarpGroups * group_stage_bytes(plan.token_tiles, plan.row_warps, tile);
    plan.stages = std::min(kMaxStages, (room.shared_bytes - exchange) / stage);
    plan.shared_bytes = exchange + plan.stages * stage;
    for (plan.splits = 1;; plan.splits = plan.order.spans) {
      if (fits(plan, room))
        if (const double clocks = clocks_of(plan, tile, room.processors); clocks < least) least = clocks, best = plan;
      if (plan.splits == plan.order.spans) break;
    }
  }
  return best;
}

}  // namespace warploom::cuda
