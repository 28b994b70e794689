#include "tools/sampler_check/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/sampler_check/sampler_check.h"

namespace warploom::sampler_check {
namespace {

// The sampler's own account of what it keeps, though not how it draws from it, is here the twin to compare with.
TEST(ExactDistribution, KeepsWhatTheSamplerKeeps) {
  const std::vector<float> logits = strategy_logits();
  const auto vocab_size = static_cast<std::int64_t>(logits.size());
  for (const Strategy& strategy : strategies()) {
    const Distribution d = exact_distribution(logits, strategy.params);
    const SamplingInput row{strategy.params, 0, 0, {}, {}};
    const auto got = sample({logits.data(), DType::f32, 1, vocab_size, vocab_size}, {&row, 1}, {.kept = true}).at(0);
    std::vector<TokenId> kept;
    for (std::size_t i = 0; i < d.weight.size(); ++i)
      if (d.weight[i] > 0) kept.push_back(static_cast<TokenId>(i));
    EXPECT_EQ(kept, got.kept) << strategy.name;
    EXPECT_EQ(d.total, got.total_weight) << strategy.name;
  }
}

TEST(ExactDistribution, IsTheSoftmax) {
  const std::vector<float> logits = {1.0f, -2.5f, 0.25f, -INFINITY, 1.0f};
  for (const float temperature : {0.5f, 1.0f, 3.0f}) {
    const Distribution d = exact_distribution(logits, {.temperature = temperature});
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x) / temperature);
    for (std::size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(d.probability(i), std::exp(static_cast<double>(logits[i]) / temperature) / sum, 1e-6) << i;
  }
}

// The row tests what goes wrong elsewhere: a tie across the border of top-k, masked tokens, a far tail.
TEST(StrategyLogits, TieAtTheBorderOfTopK) {
  std::vector<float> logits = strategy_logits();
  EXPECT_EQ(logits.size(), 1000u);
  EXPECT_EQ(std::count(logits.begin(), logits.end(), -INFINITY), 10);
  std::sort(logits.begin(), logits.end(), std::greater<>());
  EXPECT_EQ(logits[49], logits[50]);
  EXPECT_GT(logits[0] - logits[989], 13.0f);
}

TEST(PooledCells, EveryCellExpectsEnough) {
  for (const Strategy& strategy : strategies())
    for (const std::int64_t draws : {100, 10'000, 1'000'000}) {
      const Distribution d = exact_distribution(strategy_logits(), strategy.params);
      const Cells cells = pooled_cells(d, draws);
      std::vector<double> sum(cells.probability.size(), 0.0);
      for (std::size_t i = 0; i < d.weight.size(); ++i) {
        ASSERT_EQ(cells.of_token[i] == Cells::kFilteredOut, d.weight[i] == 0);
        if (d.weight[i] > 0) sum.at(static_cast<std::size_t>(cells.of_token[i])) += d.probability(i);
      }
      EXPECT_NEAR(std::accumulate(sum.begin(), sum.end(), 0.0), 1.0, 1e-12);
      for (std::size_t c = 0; c < sum.size(); ++c) {
        EXPECT_NEAR(sum[c], cells.probability[c], 1e-12);
        EXPECT_GE(sum[c] * static_cast<double>(draws), 10.0 * (1 - 1e-12)) << strategy.name << " " << draws;
      }
    }
}

TEST(PooledCells, ByHand) {
  const Distribution d{{5, 0, 60, 5, 20, 10}, 100};
  EXPECT_THAT(pooled_cells(d, 100).of_token, testing::ElementsAre(0, -1, 3, 0, 2, 1));
  EXPECT_THAT(pooled_cells(d, 50).of_token, testing::ElementsAre(0, -1, 2, 0, 1, 0));
  // 20 expect too few, so they go to the cell before; at last all share one.
  EXPECT_THAT(pooled_cells({{35, 45, 20}, 100}, 29).of_token, testing::ElementsAre(0, 1, 0));
  EXPECT_THAT(pooled_cells({{33, 33, 34}, 100}, 20).of_token, testing::ElementsAre(0, 0, 0));
  EXPECT_THAT(pooled_cells(d, 5).of_token, testing::ElementsAre(0, -1, 0, 0, 0, 0));
}

}  // namespace
}  // namespace warploom::sampler_check
