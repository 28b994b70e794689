// Draws follow the distribution they claim to. Fixed seeds; significance 1e-6 a test, so a failure is no bad luck.
#include <cmath>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "warploom/sampling.h"

namespace warploom {
namespace {

// Upper quantile of chi-square at 1e-6 by the Wilson-Hilferty approximation (4.7534 is the normal quantile).
double critical(double degrees) {
  const double a = 2.0 / (9.0 * degrees);
  return degrees * std::pow(1.0 - a + 4.7534 * std::sqrt(a), 3.0);
}

std::vector<TokenId> draws(const std::vector<float>& logits, const SamplingParams& params, std::int64_t count,
                           std::uint64_t first = 0) {
  constexpr std::int64_t kRows = 1000;
  const auto vocab_size = static_cast<std::int64_t>(logits.size());
  std::vector<float> batch;
  for (std::int64_t r = 0; r < kRows; ++r) batch.insert(batch.end(), logits.begin(), logits.end());
  std::vector<SamplingInput> rows(kRows);
  std::vector<TokenId> tokens;
  for (std::int64_t done = 0; done < count; done += kRows) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      rows[static_cast<std::size_t>(r)].params = params;
      rows[static_cast<std::size_t>(r)].position = first + static_cast<std::uint64_t>(done + r);
    }
    for (const SampleResult& result : sample({batch.data(), DType::f32, kRows, vocab_size, vocab_size}, rows))
      tokens.push_back(result.token);
  }
  return tokens;
}

void expect_fit(const std::vector<TokenId>& tokens, const std::vector<double>& probability) {
  std::vector<double> seen(probability.size(), 0.0);
  for (const TokenId t : tokens) ++seen[static_cast<std::size_t>(t)];
  const auto n = static_cast<double>(tokens.size());
  // Rare tokens share cells of an expected count of at least 10: the tail is tested too, not ignored.
  double statistic = 0, cell_want = 0, cell_seen = 0;
  int cells = 0;
  for (std::size_t i = 0; i < probability.size(); ++i) {
    if (probability[i] == 0.0) {
      ASSERT_EQ(seen[i], 0.0) << "token " << i << " was filtered out";
      continue;
    }
    cell_want += n * probability[i];
    cell_seen += seen[i];
    if (cell_want < 10.0) continue;
    statistic += (cell_seen - cell_want) * (cell_seen - cell_want) / cell_want;
    ++cells;
    cell_want = cell_seen = 0;
  }
  EXPECT_LT(statistic, critical(cells - 1)) << cells << " cells";
}

std::vector<float> row_of_logits() {
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0.0f, 2.5f);
  std::vector<float> y(300);
  for (float& v : y) v = normal(rng);
  return y;
}

std::vector<double> distribution(const std::vector<float>& y, const SamplingParams& p) {
  std::vector<std::size_t> order(y.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return y[a] > y[b]; });
  const auto raw = [&](std::size_t i) {
    return std::exp((static_cast<double>(y[i]) - y[order[0]]) / static_cast<double>(p.temperature));
  };
  if (p.top_k > 0) order.resize(static_cast<std::size_t>(p.top_k));
  double total = 0, sum = 0;
  for (const std::size_t i : order) total += raw(i);
  std::size_t keep = 0;
  while (keep < order.size() && sum < static_cast<double>(p.top_p) * total) sum += raw(order[keep++]);
  order.resize(keep);
  std::erase_if(order, [&](std::size_t i) { return raw(i) < static_cast<double>(p.min_p); });
  std::vector<double> q(y.size(), 0.0);
  total = 0;
  for (const std::size_t i : order) total += raw(i);
  for (const std::size_t i : order) q[i] = raw(i) / total;
  return q;
}

TEST(Distribution, EveryStrategyFitsItsDistribution) {
  const std::vector<float> y = row_of_logits();
  for (const SamplingParams& p :
       {SamplingParams{.temperature = 1.0f}, SamplingParams{.temperature = 0.7f},
        SamplingParams{.temperature = 1.5f, .top_k = 50}, SamplingParams{.temperature = 1.0f, .top_p = 0.9f},
        SamplingParams{.temperature = 0.8f, .top_k = 50, .top_p = 0.9f},
        SamplingParams{.temperature = 1.0f, .min_p = 0.02f}})
    expect_fit(draws(y, p, 200000), distribution(y, p));
}

// Power: the same test must reject a distribution that is off by a little (every tenth token 28% too likely).
TEST(Distribution, TheTestRejectsASlightlyWrongDistribution) {
  const std::vector<float> y = row_of_logits();
  std::vector<float> wrong = y;
  for (std::size_t i = 0; i < wrong.size(); i += 10) wrong[i] += 0.25f;
  const std::vector<TokenId> tokens = draws(wrong, {.temperature = 1.0f}, 200000);
  const std::vector<double> q = distribution(y, {.temperature = 1.0f});
  std::vector<double> seen(q.size(), 0.0);
  for (const TokenId t : tokens) ++seen[static_cast<std::size_t>(t)];
  double statistic = 0;
  for (std::size_t i = 0; i < q.size(); ++i)
    if (q[i] * 200000 >= 10) statistic += (seen[i] - q[i] * 200000) * (seen[i] - q[i] * 200000) / (q[i] * 200000);
  EXPECT_GT(statistic, critical(299));
}

// One token 20.5 nats above 262,143 equal ones loses 1 - 1 / (1 + 262143 e^-20.5) of the draws: 32.8 of 100,000. A sampler
// with 24-bit noise loses none (vLLM issue 43150).
TEST(Distribution, TheTailIsDrawn) {
  std::vector<float> y(262144, 0.0f);
  y[1234] = 20.5f;
  int lost = 0;
  SamplingInput row;
  row.params.seed = 99;
  // 4,000 draws would lose 1.3: too few to judge. So each draw is of 25 tokens at a 25-fold tail instead.
  y[1234] = 20.5f - std::log(25.0f);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    row.position = i;
    lost += sample({y.data(), DType::f32, 1, 262144, 262144}, {&row, 1}).at(0).token != 1234;
  }
  EXPECT_GT(lost, 10);  // expected 32.8, standard deviation 5.7
  EXPECT_LT(lost, 62);
}

// Draws of neighbouring positions, subsequences and seeds are independent: pairs fill the unit square evenly.
TEST(Distribution, PositionsStreamsAndSeedsAreIndependent) {
  const std::vector<float> flat(16, 0.0f);
  for (int what = 0; what < 3; ++what) {
    std::vector<double> pairs(256, 0.0);
    for (std::uint64_t i = 0; i < 60000; ++i) {
      SamplingInput a, b;
      a.position = b.position = what == 0 ? 2 * i : i;
      if (what == 0) b.position = 2 * i + 1;
      if (what == 1) b.subsequence = 1;
      if (what == 2) b.params.seed = 1;
      const auto draw = [&](const SamplingInput& row) {
        return sample({flat.data(), DType::f32, 1, 16, 16}, {&row, 1}).at(0).token;
      };
      ++pairs[static_cast<std::size_t>(16 * draw(a) + draw(b))];
    }
    double statistic = 0;
    for (const double seen : pairs) statistic += (seen - 60000.0 / 256) * (seen - 60000.0 / 256) / (60000.0 / 256);
    EXPECT_LT(statistic, critical(255)) << what;
  }
}

}  // namespace
}  // namespace warploom
