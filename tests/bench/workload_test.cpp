// Workloads have the distributions that were asked for, and depend on the seed alone.
#include "bench/workload.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"

namespace warploom::bench {
namespace {

using testing::HasSubstr;
using Kind = LengthDistribution::Kind;

struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / n)};
}

std::vector<double> gaps(const std::vector<Arrival>& arrivals) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < arrivals.size(); ++i) gaps.push_back(arrivals[i].seconds - arrivals[i - 1].seconds);
  return gaps;
}

std::vector<double> output_lengths(const LengthDistribution& distribution) {
  WorkloadOptions options;
  options.requests = 20000;
  options.output = distribution;
  std::vector<double> lengths;
  for (const Arrival& arrival : make_workload(options)) lengths.push_back(static_cast<double>(arrival.output_tokens));
  return lengths;
}

// Gaps between the arrivals of a Poisson process are exponential: deviation equals mean, and exp(-1) of them are above it.
TEST(Workload, PoissonArrivalsHaveExponentialGaps) {
  WorkloadOptions options;
  options.requests = 20001;
  const std::vector<double> all = gaps(make_workload(options));
  const Moments m = moments(all);
  EXPECT_NEAR(m.mean, 1, 0.03);  // 4 standard errors
  EXPECT_NEAR(m.deviation, 1, 0.04);
  EXPECT_NEAR(static_cast<double>(std::count_if(all.begin(), all.end(), [](double g) { return g > 1; })) / 20000,
              std::exp(-1.0), 0.014);
}

TEST(Workload, ConstantArrivalsAreASecondApart) {
  WorkloadOptions options;
  options.poisson = false;
  options.requests = 50;
  const std::vector<Arrival> arrivals = make_workload(options);
  EXPECT_EQ(arrivals.size(), 50u);
  EXPECT_EQ(arrivals.front().seconds, 0);
  for (const double gap : gaps(arrivals)) EXPECT_EQ(gap, 1);
  EXPECT_EQ(mean_rate(arrivals), 1);
}

TEST(Workload, LengthsFollowTheirDistribution) {
  for (const double length : output_lengths({Kind::constant, 77, 0})) ASSERT_EQ(length, 77);

  const std::vector<double> uniform = output_lengths({Kind::uniform, 10, 13});
  for (const double length : {10, 11, 12, 13})
    EXPECT_NEAR(static_cast<double>(std::count(uniform.begin(), uniform.end(), length)) / 20000, 0.25, 0.0125) << length;
  EXPECT_EQ(*std::min_element(uniform.begin(), uniform.end()), 10);
  EXPECT_EQ(*std::max_element(uniform.begin(), uniform.end()), 13);

  std::vector<double> lognormal = output_lengths({Kind::lognormal, 500, 0.8});
  EXPECT_NEAR(moments(lognormal).mean, 500, 500 * 4 * 0.95 / std::sqrt(20000));  // exp(0.8^2) - 1 = 0.95^2
  for (double& length : lognormal) length = std::log(length);
  EXPECT_NEAR(moments(lognormal).deviation, 0.8, 0.016);

  for (const double length : output_lengths({Kind::lognormal, 1, 3})) ASSERT_GE(length, 1);  // most draws round to 0
}

TEST(Workload, AShareOfThePromptsBeginsWithThePrefix) {
  WorkloadOptions options;
  options.requests = 10000;
  options.prefix_tokens = 100;
  options.prefix_share = 0.3;
  options.prompt = {Kind::constant, 20, 0};
  std::int64_t with = 0;
  std::set<std::uint64_t> own;
  std::set<std::uint64_t> prefixes;
  for (const Arrival& arrival : make_workload(options)) {
    with += arrival.prompt.size() == 2;
    EXPECT_EQ(arrival.prompt_tokens(), arrival.prompt.size() == 2 ? 120 : 20);
    own.insert(arrival.prompt.back().content);
    if (arrival.prompt.size() == 2) prefixes.insert(arrival.prompt[0].content);
  }
  EXPECT_NEAR(static_cast<double>(with) / 10000, 0.3, 0.0184);
  EXPECT_EQ(own.size(), 10000u);
  EXPECT_EQ(prefixes.size(), 1u);
  EXPECT_FALSE(own.contains(*prefixes.begin()));
}

bool same(const std::vector<Arrival>& a, const std::vector<Arrival>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Arrival& x, const Arrival& y) {
    return x.seconds == y.seconds && x.prompt_tokens() == y.prompt_tokens() && x.output_tokens == y.output_tokens;
  });
}

TEST(Workload, DependsOnTheSeedAlone) {
  WorkloadOptions options;
  options.prompt = {Kind::lognormal, 300, 1};
  options.output = {Kind::uniform, 1, 100};
  const std::vector<Arrival> first = make_workload(options);
  EXPECT_TRUE(same(first, make_workload(options)));
  options.seed = 2;
  EXPECT_FALSE(same(first, make_workload(options)));
  options.seed = 1;
  options.output = {Kind::constant, 5, 0};  // leaves times and prompts alone
  const std::vector<Arrival> other = make_workload(options);
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(other[i].seconds, first[i].seconds);
    EXPECT_EQ(other[i].prompt_tokens(), first[i].prompt_tokens());
  }
  // The first draws on record: no library or machine may change them.
  EXPECT_NEAR(first[1].seconds, 0.316046182, 1e-9);
  EXPECT_NEAR(first[3].seconds, 0.763723068, 1e-9);
  EXPECT_EQ(first[1].prompt_tokens(), 242);
  EXPECT_EQ(first[3].output_tokens, 31);
}

TEST(Workload, SpeedsUpToAnyRate) {
  WorkloadOptions options;
  options.poisson = false;
  options.requests = 11;
  std::vector<Arrival> arrivals = make_workload(options);
  speed_up(arrivals, 4);
  EXPECT_EQ(arrivals[10].seconds, 2.5);
  EXPECT_EQ(mean_rate(arrivals), 4);
  speed_up(arrivals, std::numeric_limits<double>::infinity());
  EXPECT_EQ(arrivals[10].seconds, 0);
  EXPECT_EQ(mean_rate(arrivals), std::numeric_limits<double>::infinity());
}

TEST(Workload, PartsOfOneContentBeginAlike) {
  std::vector<TokenId> tokens(1000);
  std::iota(tokens.begin(), tokens.end(), 5);
  const std::vector<TokenId> a = prompt_ids({0, {{7, 64}, {8, 10}}, 1}, tokens, 1);
  const std::vector<TokenId> b = prompt_ids({0, {{7, 40}, {9, 34}}, 1}, tokens, 1);
  ASSERT_EQ(a.size(), 74u);
  ASSERT_EQ(b.size(), 74u);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 40, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + 40, a.end(), b.begin() + 40));
  EXPECT_FALSE(std::equal(a.begin() + 64, a.end(), b.begin() + 40));
  for (const TokenId id : a) EXPECT_TRUE(id >= 5 && id < 1005);
  EXPECT_GT(std::set(a.begin(), a.end()).size(), 50u);
  EXPECT_NE(prompt_ids({0, {{7, 64}, {8, 10}}, 1}, tokens, 2), a);
}

TEST(Workload, LengthsAreParsed) {
  const LengthDistribution constant = parse_lengths("--x", "512");
  EXPECT_EQ(constant.kind, Kind::constant);
  EXPECT_EQ(constant.first, 512);
  const LengthDistribution uniform = parse_lengths("--x", "uniform:100:900");
  EXPECT_EQ(uniform.kind, Kind::uniform);
  EXPECT_EQ(uniform.first, 100);
  EXPECT_EQ(uniform.second, 900);
  const LengthDistribution lognormal = parse_lengths("--x", "lognormal:512.5:0.8");
  EXPECT_EQ(lognormal.kind, Kind::lognormal);
  EXPECT_EQ(lognormal.first, 512.5);
  EXPECT_EQ(lognormal.second, 0.8);
  for (const char* bad : {"",
                          "0",
                          "-1",
                          "1.5",
                          "many",
                          "nan",
                          "inf",
                          "1e9",
                          "5 ",
                          "uniform",
                          "uniform:5",
                          "uniform:5:4",
                          "uniform:0:4",
                          "uniform:1:2:3",
                          "uniform::",
                          "lognormal:512",
                          "lognormal:0:1",
                          "lognormal:512:-1",
                          "lognormal:512:nan",
                          "lognormal:512:9",
                          "normal:5:1",
                          ":"}) {
    try {
      (void)parse_lengths("--prompt-tokens", bad);
      ADD_FAILURE() << bad;
    } catch (const InvalidArgument& error) {
      EXPECT_THAT(error.what(), HasSubstr("--prompt-tokens: \"")) << bad;
      EXPECT_THAT(error.what(), HasSubstr(std::string("\"") + bad + "\"")) << bad;
    }
  }
}

}  // namespace
}  // namespace warploom::bench
