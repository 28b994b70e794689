#include "tools/sampler_check/fit.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace warploom::sampler_check {
namespace {

TEST(Fit, ByHand) {
  // Mendel's peas, 9:3:3:1: chi-square 0.47 with 3 degrees of freedom, p 0.925 above.
  const std::vector<std::int64_t> seen = {315, 101, 108, 32};
  const std::vector<double> share = {9.0 / 16, 3.0 / 16, 3.0 / 16, 1.0 / 16};
  const TestResult result = test_fit("peas", seen, 0, share, {0.01, 0.99});
  EXPECT_EQ(result.draws, 556);
  EXPECT_EQ(result.cells, 4);
  EXPECT_NEAR(result.chi_square, 0.470, 0.0005);
  EXPECT_NEAR(result.p_value, 2 * (1 - 0.9254), 0.0005);  // two-sided: it fits well
  EXPECT_TRUE(result.ok);
  EXPECT_FALSE(test_fit("peas", seen, 1, share, {0.01, 0.99}).ok) << "a draw outside";
}

TEST(Fit, TooGoodAFitFails) {
  const std::vector<std::int64_t> seen(100, 1000);
  const TestResult result = test_fit("regular", seen, 0, std::vector<double>(100, 0.01), {1e-5, 0.99});
  EXPECT_FALSE(result.ok);
  EXPECT_EQ(result.detail, "they fit better than chance allows");
}

TEST(Fit, OneCellHasOnlyAnOutside) {
  EXPECT_TRUE(test_fit("one", std::vector<std::int64_t>{10}, 0, std::vector<double>{1.0}, {}).ok);
  EXPECT_FALSE(test_fit("one", std::vector<std::int64_t>{10}, 1, std::vector<double>{1.0}, {}).ok);
  EXPECT_FALSE(test_fit("none inside", std::vector<std::int64_t>{0, 0}, 5, std::vector<double>{0.5, 0.5}, {}).ok);
}

// 1,000 experiments of 20,000 draws from 24 cells, every other one `off` too likely, the rest too rare: how many fail.
int failures(double off) {
  constexpr int kCells = 24, kDraws = 20000;
  std::mt19937_64 rng(7);
  std::vector<double> drawn;
  drawn.reserve(kCells);
  for (int i = 0; i < kCells; ++i) drawn.push_back(1.0 + (i % 2 ? off : -off));
  std::discrete_distribution<int> distribution(drawn.begin(), drawn.end());
  int failed = 0;
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::int64_t> seen(kCells, 0);
    for (int d = 0; d < kDraws; ++d) ++seen[static_cast<std::size_t>(distribution(rng))];
    failed += !test_fit("", seen, 0, std::vector<double>(kCells, 1.0 / kCells), {0.01, 0.99}).ok;
  }
  return failed;
}

TEST(Fit, TheStatedEffectIsFoundAsOftenAsStated) {
  const std::vector<std::int64_t> seen(24, 0);
  std::vector<std::int64_t> all = seen;
  all[0] = 20000;
  const double effect = test_fit("", all, 0, std::vector<double>(24, 1.0 / 24), {0.01, 0.99}).effect_more;
  EXPECT_EQ(effect, test_fit("", all, 0, std::vector<double>(24, 1.0 / 24), {0.01, 0.99}).effect_less);
  // Binomial around 990, 500 times less, and 10; five standard deviations.
  EXPECT_NEAR(failures(effect), 990, 16);
  EXPECT_LT(failures(0.5 * effect), 500);
  EXPECT_NEAR(failures(0.0), 10, 16);
}

TEST(Count, ExactBound) {
  const double p = 33e-5;
  const Rigour rigour{1e-5, 0.99};
  const auto fails = [&](std::int64_t seen) { return !test_count("", seen, 100000, p, rigour).ok; };
  EXPECT_TRUE(fails(0));
  EXPECT_FALSE(fails(33));
  EXPECT_TRUE(fails(100000));
  std::int64_t few = 0, many = 33;
  while (fails(few + 1)) ++few;
  while (!fails(many)) ++many;
  // Poisson(33): P(X <= 11) = 1.0e-5 and P(X <= 10) = 3.1e-6; P(X >= 61) = 1.0e-5.
  EXPECT_EQ(few, 10);
  EXPECT_NEAR(static_cast<double>(many), 61, 1);

  // What is said to be found is found with just that probability.
  const TestResult result = test_count("", 33, 100000, p, rigour);
  std::mt19937_64 rng(3);
  std::poisson_distribution<std::int64_t> less(33.0 * (1 - result.effect_less)), more(33.0 * (1 + result.effect_more));
  int found_less = 0, found_more = 0;
  for (int i = 0; i < 10000; ++i) found_less += less(rng) <= few, found_more += more(rng) >= many;
  EXPECT_NEAR(found_less, 9900, 50);
  EXPECT_NEAR(found_more, 9900, 50);
}

TEST(Count, SaysWhereItCannotFindALack) {
  const TestResult result = test_count("", 3, 10000, 33e-5, {1e-5, 0.99});
  EXPECT_TRUE(result.ok);
  EXPECT_TRUE(std::isinf(result.effect_less));
  EXPECT_GT(result.effect_more, 3.0);
}

}  // namespace
}  // namespace warploom::sampler_check
