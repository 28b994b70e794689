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
            const BatchPlan plan = plan_batch(view_of({{type, rows}}, cols), tokens, room);
            EXPECT_GE(plan.token_groups * plan.token_tiles * kTokenTile, tokens);
            EXPECT_LT((plan.token_groups - 1) * plan.token_tiles * kTokenTile, tokens);
            EXPECT_GE(plan.stages, 2);
            EXPECT_LE(plan.shared_bytes, room.shared_bytes);
            EXPECT_EQ(plan.row_blocks, ceil_div(ceil_div(rows, kTileRows), block_row_tiles(plan.row_warps)));
            EXPECT_TRUE(plan.splits == 1 || plan.splits == plan.order.spans);
            if (plan.splits > 1) {
              EXPECT_LE(plan.row_blocks * plan.token_groups * plan.splits * kWarpGroups * plan.row_warps *
                            std::int64_t{kept_bytes(plan.token_tiles)},
                        std::int64_t{32} << 20);
            }
          }
}

// What a plan for 4-bit weights of a model of 8 billion parameters reads from L2, in units of the weights' bytes. Before blocks
// shared inputs it was 1 + tokens * 2 / (16 * 0.5625): 4.6 for 16 tokens, 15.2 for 64.
TEST(BatchPlan, InputsAreNotReadAgainForEveryFewRows) {
  const std::pair<int, double> wanted[] = {{16, 2.9}, {32, 2.9}, {64, 5.0}};
  for (const BatchRoom& room : {kA100, kH100})
    for (const auto& [rows, cols] : {std::pair{4096, 4096}, {6144, 4096}, {28672, 4096}, {4096, 14336}})
      for (const auto& [tokens, most] : wanted) {
        const BatchPlan plan = plan_batch(view_of({{WeightType::q4_0, rows}}, cols), tokens, room);
        const double weights = 0.5625 * rows * cols, inputs = 2.0 * tokens * cols * plan.row_blocks;
        const double sums = plan.splits > 1 ? 4.0 * plan.splits * rows * tokens : 0.0;
        EXPECT_LE((weights + inputs + sums) / weights, most) << rows << "x" << cols << ", tokens " << tokens;
      }
}

TEST(BatchPlan, NoRoomForSumsMeansNoSplit) {
  const PackedView view = view_of({{WeightType::q4_0, 4096}}, 4096);
  EXPECT_EQ(plan_batch(view, 64, kA100).splits, 4);
  EXPECT_EQ(plan_batch(view, 64, {108, 163 << 10, 0, 4096}).splits, 1);
  EXPECT_EQ(plan_batch(view, 64, {108, 163 << 10, std::size_t{32} << 20, 0}).splits, 1);
}

TEST(BatchPlan, ABlockHasOneFormat) {
  const BatchPlan plan =
      plan_batch(view_of({{WeightType::q4_k, 20}, {WeightType::q6_k, 300}, {WeightType::q4_k, 5}}, 512), 16, kA100);
  const int tiles = block_row_tiles(plan.row_warps);
  EXPECT_EQ(plan.first_block[0], 0);
  EXPECT_EQ(plan.first_block[1], ceil_div(2, tiles));
  EXPECT_EQ(plan.first_block[2], ceil_div(2, tiles) + ceil_div(19, tiles));
  EXPECT_EQ(plan.row_blocks, ceil_div(2, tiles) + ceil_div(19, tiles) + 1);
}

TEST(BatchPlan, TokensAreSharedEvenly) {
  const PackedView view = view_of({{WeightType::q4_0, 4096}}, 4096);
  const std::pair<int, int> wanted[] = {{9, 2}, {16, 2}, {17, 4}, {33, 5}, {48, 6}, {64, 8}, {65, 5}, {96, 6}, {128, 8}};
  for (const auto& [tokens, tiles] : wanted) EXPECT_EQ(plan_batch(view, tokens, kA100).token_tiles, tiles) << tokens;
}

}  // namespace
}  // namespace warploom::cuda
