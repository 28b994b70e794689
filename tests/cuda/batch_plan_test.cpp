// How products are cut into blocks: plans that the device has room for, whatever it is.
#include "cuda/backend/matmul/batch_plan.h"

#include <gtest/gtest.h>

#include "core/divide.h"

namespace warploom::cuda {
namespace {

PackedView view_of(std::initializer_list<std::pair<WeightType, int>> parts, int cols) {
  PackedView view;
  view.cols = cols;
  view.col_tiles = ceil_div(cols, kTileInputs);
  for (const auto& [type, rows] : parts) {
    TileSegment& segment = view.segments[view.segment_count++];
    segment.format = tile_format(type);
    segment.first_row = view.rows;
    segment.first_tile = view.row_tiles;
    segment.rows = rows;
    view.rows += rows;
    view.row_tiles += ceil_div(rows, kTileRows);
  }
  return view;
}

// The row blocks of both kinds cover the tile rows of each segment without a gap, and none is empty.
void expect_every_row_once(const BatchPlan& plan, const PackedView& view) {
  for (int s = 0; s < view.segment_count; ++s) {
    int at = 0;
    for (const RowBlocks* rows : {&plan.split, &plan.whole}) {
      const int end = s + 1 < view.segment_count ? rows->first_block[s + 1] : rows->row_blocks;
      const int blocks = end - rows->first_block[s], tiles = ceil_div(view.segments[s].rows, kTileRows);
      if (blocks == 0) continue;
      EXPECT_EQ(rows->first_tile[s], at) << "segment " << s;
      at += blocks * block_row_tiles(rows->row_warps);
      EXPECT_LT(at - block_row_tiles(rows->row_warps), tiles) << "segment " << s;
    }
    EXPECT_GE(at, ceil_div(view.segments[s].rows, kTileRows)) << "segment " << s;
  }
}

constexpr BatchRoom kA100{108, 163 << 10, std::size_t{32} << 20, 4096};
constexpr BatchRoom kH100{132, 227 << 10, std::size_t{32} << 20, 4096};
constexpr BatchRoom kSmall{128, 99 << 10, std::size_t{32} << 20, 4096};  // RTX 4090

TEST(BatchPlan, FitsTheDevice) {
  for (const WeightType type : {WeightType::q4_0, WeightType::q6_k, WeightType::f16})
    for (const BatchRoom& room : {kA100, kSmall})
      for (const int rows : {1, 576, 4096, 28672, 128256})
        for (const int cols : {8, 576, 4096, 14336})
          for (const int tokens : {1, 9, 16, 33, 64, 65, 200, 512}) {
            SCOPED_TRACE(testing::Message() << rows << "x" << cols << ", tokens " << tokens);
            const PackedView view = view_of({{type, rows}}, cols);
            const BatchPlan plan = plan_batch(view, tokens, room);
            EXPECT_GE(plan.token_groups * plan.token_tiles * kTokenTile, tokens);
            EXPECT_LT((plan.token_groups - 1) * plan.token_tiles * kTokenTile, tokens);
            EXPECT_GE(plan.stages, 2);
            EXPECT_LE(plan.shared_bytes, room.shared_bytes);
            expect_every_row_once(plan, view);
            EXPECT_TRUE(plan.splits == 1 || plan.splits == 2 || plan.splits == plan.order.spans);
            if (plan.splits > 1) {
              EXPECT_LE(exchanged_bytes(plan) / (plan.splits - 1) * plan.splits, std::int64_t{32} << 20);
            }
            EXPECT_LE(warps_of(plan), kWarpGroups * kMaxRowWarps);
          }
}

// What a plan for 4-bit weights of a model of 8 billion parameters reads, in units of the weights' bytes: from DRAM, if it keeps
// what blocks exchange, and from L2. Before blocks shared inputs the latter was 1 + tokens * 2 / (16 * 0.5625): 4.6 for 16
// tokens, 15.2 for 64. Where rows are few, to share more would take longer.
TEST(BatchPlan, InputsAndSumsAreReadSeldom) {
  struct Most {
    int tokens;
    double shared, by_chunks;
  };
  const Most wanted[] = {{16, 2.9, 2.9}, {32, 4.7, 5.6}, {64, 6.0, 8.2}};
  for (const BatchRoom& room : {kA100, kH100})
    for (const auto& [rows, cols] : {std::pair{4096, 4096}, {6144, 4096}, {28672, 4096}, {4096, 14336}})
      for (const auto& [tokens, shared, by_chunks] : wanted) {
        SCOPED_TRACE(testing::Message() << rows << "x" << cols << ", tokens " << tokens);
        const BatchPlan plan = plan_batch(view_of({{WeightType::q4_0, rows}}, cols), tokens, room);
        const double weights = 0.5625 * rows * cols, inputs = 2.0 * tokens * cols;
        const auto sums = static_cast<double>(exchanged_bytes(plan));
        EXPECT_LE((weights + inputs + sums) / weights, 1.15);
        const int row_blocks = plan.split.row_blocks + plan.whole.row_blocks;
        EXPECT_LE((weights * plan.token_groups + inputs * row_blocks + sums) / weights, plan.by_chunks ? by_chunks : shared);
      }
}

TEST(BatchPlan, NoRoomForSumsMeansNoExchange) {
  const PackedView view = view_of({{WeightType::q4_0, 4096}}, 14336);
  EXPECT_GT(exchanged_bytes(plan_batch(view, 64, kA100)), 0);
  EXPECT_EQ(exchanged_bytes(plan_batch(view, 64, {108, 163 << 10, 0, 4096})), 0);
  EXPECT_EQ(exchanged_bytes(plan_batch(view, 64, {108, 163 << 10, std::size_t{32} << 20, 0})), 0);
}

// A weight with few rows leaves no time to hide what a block's steps depend on: then each warp has a chunk.
TEST(BatchPlan, WarpsHaveChunksWhereRowsAreFew) {
  for (const BatchRoom& room : {kA100, kH100})
    for (const int tokens : {16, 32, 64})
      EXPECT_TRUE(plan_batch(view_of({{WeightType::q4_0, 4096}}, 4096), tokens, room).by_chunks) << tokens;
  EXPECT_FALSE(plan_batch(view_of({{WeightType::q4_0, 28672}}, 4096), 64, kH100).by_chunks);
  // A grid has 65,535 blocks in its second dimension.
  EXPECT_TRUE(plan_batch(view_of({{WeightType::q4_0, 65535 * 32}}, 512), 32, kA100).by_chunks);
  EXPECT_FALSE(plan_batch(view_of({{WeightType::q4_0, 65536 * 32}}, 512), 32, kA100).by_chunks);
}

TEST(BatchPlan, ABlockHasOneFormat) {
  for (const int cols : {512, 4096})
    for (const int tokens : {16, 64}) {
      const PackedView view =
          view_of({{WeightType::q4_k, 20}, {WeightType::q6_k, 300}, {WeightType::q4_k, 3000}, {WeightType::q4_k, 5}}, cols);
      expect_every_row_once(plan_batch(view, tokens, kA100), view);
    }
}

TEST(BatchPlan, KeptPlansAreThoseOfTheirWeight) {
  const PackedView views[] = {view_of({{WeightType::q4_0, 4096}}, 4096), view_of({{WeightType::q6_k, 4096}}, 4096),
                              view_of({{WeightType::q4_0, 2048}, {WeightType::q6_k, 2048}}, 4096),
                              view_of({{WeightType::q4_0, 4096}}, 2048)};
  BatchPlans plans(kA100);
  for (int round = 0; round < 2; ++round)
    for (const PackedView& view : views)
      for (int tokens = 9; tokens < 500; ++tokens) {  // more than are kept
        const BatchPlan plan = plans.find(view, tokens), wanted = plan_batch(view, tokens, kA100);
        ASSERT_EQ(plan.shared_bytes, wanted.shared_bytes);
        ASSERT_EQ(blocks_of(plan), blocks_of(wanted));
        ASSERT_EQ(plan.token_tiles, wanted.token_tiles);
        expect_every_row_once(plan, view);
      }
}

TEST(BatchPlan, NoTokenTileIsEmpty) {
  const PackedView view = view_of({{WeightType::q4_0, 4096}}, 4096);
  for (const int tokens : {9, 16, 17, 33, 48, 64, 65, 96, 128}) {
    const BatchPlan plan = plan_batch(view, tokens, kA100);
    EXPECT_LT(plan.token_groups * plan.token_tiles * kTokenTile - tokens, 2 * kTokenTile * plan.token_groups) << tokens;
  }
}

}  // namespace
}  // namespace warploom::cuda
