#include "cuda/backend/matmul/batch_plan.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "core/divide.h"

namespace warploom::cuda {

namespace {

// Of one multiprocessor, roughly, on GPUs from A100 to H100: they rank plans.
constexpr double kProductsPerClock = 0.5;      // mma.sync of m16n8k16
constexpr double kInstructionsPerClock = 4;    // of warps
constexpr double kDecodeInstructions = 115;    // of a tile, and for each token tile
constexpr double kTokenTileInstructions = 11;  //   that it is multiplied with; by the emulator
constexpr double kMemoryBytesPerClock = 12;    // its share of DRAM; twice that if others draw less
constexpr double kL2BytesPerClock = 5120;      // of all together: A100's whitepaper
constexpr double kL2PortBytesPerClock = 64;    // what one can draw
constexpr double kBlockClocks = 1000;          // until the first stage has come, partly behind other blocks
// What dependences take, by the emulator's model of them, in clocks: a block, and each of its steps, with two token tiles and for each
// more. And half of what fetching its code takes, since some launches of a step find it in a cache: with no token tile, for each, and for
// each if blocks exchange sums.
struct Chain {
  double block, block_tile, step, step_tile, code, code_tile, code_exchange;
};
constexpr Chain kSharedChain{5000, 600, 450, 33, 4000, 800, 400};  // warps share stages
constexpr Chain kChunkChain{2500, 0, 330, 65, 3100, 190, 0};       // each has its own
constexpr double kTwoKindsClocks = 3000;                           // of blocks in a launch
constexpr double kCopyClocks = 630;                                // until a stage has come
constexpr int kResidentRegisters = 1 << 16;                        // of a multiprocessor
constexpr double kMostReads = 1.15;                                // of the weight's bytes, unless that takes
constexpr double kMostSlowdown = 1.15;                             //   longer by more than this factor
constexpr int kTokenTileCounts[] = {8, 6, 5, 4, 2};                // for which there are kernels

int widest_tile(const PackedView& weight) {
  int widest = 0;
  for (int s = 0; s < weight.segment_count; ++s) widest = std::max(widest, tile_bytes(weight.segments[s].format));
  return widest;
}

std::int64_t weight_bytes(const PackedView& weight) {
  std::int64_t bytes = 0;
  for (int s = 0; s < weight.segment_count; ++s)
    bytes += std::int64_t{ceil_div(weight.segments[s].rows, kTileRows)} * weight.col_tiles *
             tile_bytes(weight.segments[s].format);
  return bytes;
}

// Gives a share of each segment's tile rows to split row blocks, the rest to whole ones.
void place_segments(const PackedView& weight, double share, BatchPlan& plan) {
  plan.split.row_blocks = plan.whole.row_blocks = 0;
  for (int s = 0; s < weight.segment_count; ++s) {
    const int tiles = ceil_div(weight.segments[s].rows, kTileRows), height = block_row_tiles(plan.split.row_warps);
    const int split = share < 1 ? static_cast<int>(share * tiles / height) : ceil_div(tiles, height);
    plan.split.first_block[s] = plan.split.row_blocks;
    plan.whole.first_block[s] = plan.whole.row_blocks;
    plan.split.first_tile[s] = 0;
    plan.whole.first_tile[s] = std::min(split * height, tiles);
    plan.split.row_blocks += split;
    if (share < 1)
      plan.whole.row_blocks += ceil_div(tiles - plan.whole.first_tile[s], block_row_tiles(plan.whole.row_warps));
  }
}

// Shared memory for what warps exchange and for as many stages as there is room for.
void place_stages(const BatchRoom& room, int tile, BatchPlan& plan) {
  plan.stages = kMaxStages;
  int exchange[2] = {}, stage[2] = {};
  for (const bool whole : {false, true}) {
    const RowBlocks& rows = whole ? plan.whole : plan.split;
    if (rows.row_blocks == 0) continue;
    const int groups = kWarpGroups * (whole ? 2 : 1);
    exchange[whole] = groups * rows.row_warps * kept_bytes(plan.token_tiles);
    stage[whole] = groups * group_stage_bytes(plan.token_tiles, rows.row_warps, tile);
    plan.stages = std::min(plan.stages, (room.shared_bytes - exchange[whole]) / stage[whole]);
  }
  plan.shared_bytes = std::max(exchange[0] + plan.stages * stage[0], exchange[1] + plan.stages * stage[1]);
}

// The same for warps with a chunk each, whose sums take the stages' place.
void place_chunk_stages(const BatchRoom& room, int tile, int most, BatchPlan& plan) {
  const int warps = warps_of(plan), stage = warps * group_stage_bytes(plan.token_tiles, 1, tile);
  const int sums = warps * plan.token_tiles * kWarpRowTiles * 4 * 32 * static_cast<int>(sizeof(float));
  plan.stages = std::min(most, room.shared_bytes / stage);
  plan.shared_bytes = std::max(plan.stages * stage, sums);
}

std::int64_t split_units(const BatchPlan& plan) {
  return plan.splits > 1 ? std::int64_t{plan.split.row_blocks} * plan.token_groups : 0;
}

bool fits(const BatchPlan& plan, const BatchRoom& room) {
  // Each block of a unit has a place for its sums, though one needs none.
  const std::int64_t sums = plan.splits > 1 ? exchanged_bytes(plan) / (plan.splits - 1) * plan.splits : 0;
  return plan.stages >= 2 && static_cast<std::size_t>(sums) <= room.partial_bytes &&
         static_cast<std::size_t>(split_units(plan)) <= room.counters;
}

// Steps of the longest block.
int steps_of(const BatchPlan& plan) {
  if (plan.by_chunks) return plan.order.chunk_tiles;
  int spans = plan.whole.row_blocks > 0 ? plan.order.half_spans : 0;
  if (plan.split.row_blocks > 0)
    spans = std::max(spans, plan.splits == 1 ? plan.order.spans : plan.splits == 2 ? plan.order.half_spans : 1);
  return plan.order.chunk_tiles * spans;
}

// The clocks of the longest block if it waits for nothing but its own instructions and memory, and of the code.
double chain_of(const BatchPlan& plan) {
  const Chain& chain = plan.by_chunks ? kChunkChain : kSharedChain;
  const double more = plan.token_tiles - 2;
  return chain.block + chain.block_tile * more +
         steps_of(plan) * std::max(chain.step + chain.step_tile * more, kCopyClocks / (plan.stages - 1)) +
         (plan.split.row_blocks > 0 && plan.whole.row_blocks > 0 ? kTwoKindsClocks : 0);
}
double code_of(const BatchPlan& plan) {
  const Chain& chain = plan.by_chunks ? kChunkChain : kSharedChain;
  return chain.code + (chain.code_tile + (exchanged_bytes(plan) > 0 ? chain.code_exchange : 0)) * plan.token_tiles;
}

// Blocks that a multiprocessor has room for at a time. Kernels of few token tiles have 128 registers a thread, others at most 255.
int resident_blocks(const BatchPlan& plan, const BatchRoom& room) {
  constexpr int kReserved = 1024;  // of each block's shared memory, by the device
  const int registers = (plan.token_tiles <= (plan.by_chunks ? 4 : 2) ? 128 : 255) * 32 * warps_of(plan);
  return std::max(
      1, std::min((room.shared_bytes + kReserved) / (plan.shared_bytes + kReserved), kResidentRegisters / registers));
}

// What a plan moves and how long it takes, in clocks of the busiest multiprocessor.
struct Cost {
  double read, clocks;  // by memory and units alone
  double with_chain;    // and by dependences
};
Cost cost_of(const PackedView& weight, double weights, const BatchPlan& plan, int tokens, const BatchRoom& room) {
  const int processors = room.processors;
  const double col_tiles = static_cast<double>(plan.order.chunk_tiles) * plan.order.spans * kWarpGroups;
  const double tile_clocks =
      std::max(4 * plan.token_tiles / kProductsPerClock,
               (kDecodeInstructions + kTokenTileInstructions * plan.token_tiles) / kInstructionsPerClock);
  const double inputs = col_tiles * kTileInputs * 2 * plan.token_tiles * kTokenTile;  // of a block with all spans
  const auto sums = static_cast<double>(exchanged_bytes(plan));
  const double out = 4.0 * tokens * weight.rows;
  double busiest_tiles = 0, asked = weights * plan.token_groups + 2 * sums + out;
  if (plan.split.row_blocks > 0) {
    busiest_tiles = col_tiles * block_row_tiles(plan.split.row_warps) / plan.splits;
    asked += inputs * plan.split.row_blocks * plan.token_groups;
  }
  if (plan.whole.row_blocks > 0) {
    busiest_tiles = std::max(busiest_tiles, col_tiles * block_row_tiles(plan.whole.row_warps));
    asked += inputs * plan.whole.row_blocks * plan.token_groups;
  }
  Cost cost;
  cost.read = weights + 2.0 * tokens * weight.cols + sums;
  const double moved = cost.read + sums + out;
  const auto blocks = static_cast<double>(blocks_of(plan));
  const double waves = std::ceil(blocks / processors), busiest = waves / blocks;
  const double rounds = std::ceil(blocks / (processors * resident_blocks(plan, room)));
  cost.clocks = (plan.by_chunks ? rounds : waves) * kBlockClocks +
                std::max({waves * busiest_tiles * tile_clocks, moved / (kMemoryBytesPerClock * processors),
                          moved * busiest / (2 * kMemoryBytesPerClock), asked / kL2BytesPerClock,
                          asked * busiest / kL2PortBytesPerClock});
  cost.with_chain = std::max(cost.clocks, rounds * chain_of(plan) + code_of(plan));
  return cost;
}

}  // namespace

BatchPlan plan_batch(const PackedView& weight, int tokens, const BatchRoom& room) {
  BatchPlan plan;
  plan.order = sum_order(weight.col_tiles);
  const int tile = widest_tile(weight);
  const int widest = *std::find_if(std::rbegin(kTokenTileCounts), std::rend(kTokenTileCounts) - 1,
                                   [&](int count) { return count * kTokenTile >= tokens; });
  const auto weights = static_cast<double>(weight_bytes(weight));
  const double most_read = kMostReads * weights;
  constexpr double kNone = std::numeric_limits<double>::infinity();
  BatchPlan best[2], best_chunks;  // of all whose warps share stages; of those that read at most that much
  double least[2] = {kNone, kNone}, least_chunks = kNone;
  const auto cost = [&](const BatchPlan& of) { return cost_of(weight, weights, of, tokens, room); };
  const auto consider = [&](double share) {
    place_segments(weight, share, plan);
    place_stages(room, tile, plan);
    if (!fits(plan, room)) return;
    const auto [read, clocks, with_chain] = cost(plan);
    if (clocks < least[0]) least[0] = clocks, best[0] = plan;
    if (read <= most_read && clocks < least[1]) least[1] = clocks, best[1] = plan;
  };
  const auto consider_chunks = [&] {
    constexpr int kMaxRowBlocks = 65535;  // of a grid's second dimension
    plan.by_chunks = true;
    plan.splits = plan.split.row_warps = plan.whole.row_warps = 1;
    place_segments(weight, 0, plan);
    // With fewer stages another block may fit beside.
    for (int most_stages = plan.whole.row_blocks <= kMaxRowBlocks ? kMaxStages : 0; most_stages >= 2; --most_stages) {
      place_chunk_stages(room, tile, most_stages, plan);
      if (!fits(plan, room)) continue;
      const double clocks = cost(plan).with_chain;
      if (clocks < least_chunks) least_chunks = clocks, best_chunks = plan;
    }
    plan.by_chunks = false;
  };
  for (const int token_tiles : kTokenTileCounts) {
    if (token_tiles > widest) continue;
    plan.token_tiles = token_tiles;
    plan.token_groups = ceil_div(tokens, token_tiles * kTokenTile);
    if (token_tiles != 5) consider_chunks();  // for which there is no kernel
    for (plan.split.row_warps = kMaxRowWarps; plan.split.row_warps >= 1; --plan.split.row_warps) {
      for (const int splits : {1, 2, plan.order.spans}) {
        plan.splits = splits;
        if (splits <= plan.order.spans) consider(1);
      }
      if (plan.order.spans == 1) continue;
      plan.splits = 2;
      // Some row blocks in whole: as many as fit into as many waves, or so many that the exchange stays within the limit.
      for (plan.whole.row_warps = 1; plan.whole.row_warps <= kMaxRowWarps / 2; ++plan.whole.row_warps) {
        place_segments(weight, 1, plan);
        const auto all_split = static_cast<double>(blocks_of(plan)), sums = static_cast<double>(exchanged_bytes(plan));
        place_segments(weight, 0, plan);
        const auto all_whole = static_cast<double>(blocks_of(plan));
        const double slots = std::ceil(all_split / room.processors) * room.processors;
        consider(0);
        if (all_whole > slots && slots > all_split) consider((all_whole - slots) / (all_whole - all_split));
        const double within = (most_read - weights - 2.0 * tokens * weight.cols) / sums;
        if (within > 0 && within < 1) consider(within);
      }
    }
  }
  const int chosen = least[1] <= kMostSlowdown * least[0] ? 1 : 0;
  return least[chosen] == kNone || least_chunks < cost(best[chosen]).with_chain ? best_chunks : best[chosen];
}

const BatchPlan& BatchPlans::find(const PackedView& weight, int tokens) {
  constexpr std::size_t kMost = 1024;  // a model has a few kinds of weights, a server a few hundred sizes of steps
  std::array<int, 2 + 3 * kMaxSegments> key = {tokens, weight.cols};
  for (int s = 0; s < weight.segment_count; ++s) {
    const TileSegment& segment = weight.segments[s];
    int* of_segment = &key[2 + 3 * static_cast<std::size_t>(s)];
    of_segment[0] = segment.rows, of_segment[1] = segment.format.bits,
    of_segment[2] = static_cast<int>(segment.format.scales);
  }
  if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
  if (plans_.size() == kMost) plans_.clear();
  return plans_.emplace(key, plan_batch(weight, tokens, room_)).first->second;
}

}  // namespace warploom::cuda
