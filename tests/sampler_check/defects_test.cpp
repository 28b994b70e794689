// Samplers with a planted defect, most of which users of other libraries met: each is found, by the test that is meant for
// it.
#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/sampler_check/devices.h"
#include "tools/sampler_check/report.h"
#include "tools/sampler_check/sampler_check.h"

namespace warploom::sampler_check {
namespace {

using Rows = std::vector<SamplingInput>;

const Sampler& right() {
  static const Sampler sampler = cpu_device(2).sampler;
  return sampler;
}

// The right sampler with rows that were changed first.
Sampler with_rows(const std::function<void(Rows&)>& change) {
  return [change](std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
    Rows changed(rows.begin(), rows.end());
    change(changed);
    right()(logits, changed, tokens);
  };
}

Sampler with_each_row(const std::function<void(SamplingInput&)>& change) {
  return with_rows([change](Rows& rows) { std::for_each(rows.begin(), rows.end(), change); });
}

// The right sampler's tokens, changed afterwards; `i` counts the draws.
Sampler with_tokens(const std::function<TokenId(TokenId, std::uint64_t i)>& change) {
  return [change, i = std::uint64_t{0}](std::span<const float> logits, std::span<const SamplingInput> rows,
                                        std::span<TokenId> tokens) mutable {
    right()(logits, rows, tokens);
    for (TokenId& token : tokens) token = change(token, i++);
  };
}

// argmax of logit + Gumbel noise from 24-bit uniform numbers in 32-bit floats, of one token above a crowd of equal ones: the
// crowd's largest of n numbers is distributed as one to the power 1 / n.
void noise_of_24_bits(std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
  const auto top = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const double crowd = static_cast<double>(logits.size() - 1);
  std::mt19937_64 rng(rows[0].position);
  const auto noise = [](double u) {
    const double steps = std::clamp(std::floor(u * 0x1p24), 1.0, 0x1p24 - 1);
    return -std::log(-std::log(static_cast<float>(steps * 0x1p-24)));
  };
  std::uniform_real_distribution<double> uniform;
  for (TokenId& token : tokens) {
    const float best_of_crowd = logits[0] + noise(std::pow(uniform(rng), 1.0 / crowd));
    token = static_cast<TokenId>(logits[static_cast<std::size_t>(top)] + noise(uniform(rng)) > best_of_crowd ? top : 0);
  }
}

// The likeliest token 6% likelier beside each other one.
void biased(std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens) {
  std::vector<float> changed(logits.begin(), logits.end());
  *std::max_element(changed.begin(), changed.end()) += std::log(1.06f);
  right()(changed, rows, tokens);
}

struct Defect {
  const char* name;
  Sampler sampler;
  Plan plan;
  const char* found_by;
};
void PrintTo(const Defect& defect, std::ostream* out) { *out << defect.name; }

Plan plan_of(std::int64_t draws, std::int64_t pairs, std::int64_t tail) {
  Plan plan;
  plan.draws = draws, plan.pairs = pairs, plan.tail_draws = tail;
  return plan;
}
const Plan kStrategies = plan_of(60'000, 0, 0), kManyDraws = plan_of(200'000, 0, 0), kPairs = plan_of(0, 50'000, 0),
           kTail = plan_of(0, 0, 100'000);

class Defects : public testing::TestWithParam<Defect> {};

TEST_P(Defects, AreFound) {
  const Defect& defect = GetParam();
  const SamplerCheck result = check_sampler(defect.sampler, defect.plan);
  EXPECT_FALSE(result.ok());
  const auto test = std::find_if(result.tests.begin(), result.tests.end(),
                                 [&](const TestResult& t) { return t.name.starts_with(defect.found_by); });
  ASSERT_NE(test, result.tests.end());
  EXPECT_FALSE(test->ok) << as_table(result, "table");
}

// What the defects are planted into passes with the same plans.
TEST(Defects, NoneInTheRightSampler) {
  for (const Plan& plan : {kStrategies, kPairs, plan_of(0, 0, 2'000)}) {
    const SamplerCheck result = check_sampler(right(), plan);
    EXPECT_TRUE(result.ok()) << as_table(result, "table");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Planted, Defects,
    testing::Values(
        Defect{"OneTokenTooLikely", biased, kManyDraws, "top-k 50 + top-p 0.9"},
        Defect{"NoTail", noise_of_24_bits, kTail, "tail"},
        Defect{"OneSeedForAllRows", with_rows([](Rows& rows) {
                 for (SamplingInput& row : rows) row.params.seed = rows[0].params.seed;
               }),
               kPairs, "neighbouring seeds"},
        Defect{"OneNumberForAllRows", with_rows([](Rows& rows) {
                 for (SamplingInput& row : rows) row.position = rows[0].position;
               }),
               kStrategies, "temperature 1"},
        Defect{"PositionsInPairs", with_each_row([](SamplingInput& row) { row.position /= 2; }), kPairs,
               "neighbouring positions"},
        Defect{"SubsequencesIgnored", with_each_row([](SamplingInput& row) { row.subsequence = 0; }), kPairs,
               "neighbouring subsequences"},
        Defect{"PositionsOf32Bits", with_each_row([](SamplingInput& row) { row.position &= 0xffffffffu; }), kPairs,
               "positions 2^32 apart"},
        Defect{"SeedsOf32Bits", with_each_row([](SamplingInput& row) { row.params.seed &= 0xffffffffu; }), kPairs,
               "seeds 2^32 apart"},
        Defect{"SeedPlusPosition",
               with_each_row([](SamplingInput& row) { row.params.seed += row.position, row.position = 0; }), kPairs,
               "next seed, next position"},
        Defect{"SubsequencePlusPosition",
               with_each_row([](SamplingInput& row) { row.position += row.subsequence, row.subsequence = 0; }), kPairs,
               "next subsequence, next position"},
        Defect{"NextId", with_tokens([](TokenId token, std::uint64_t) { return token + 1; }), kStrategies, "temperature 1"},
        Defect{"NextIdInPairs", with_tokens([](TokenId token, std::uint64_t) { return token + 1; }), kPairs,
               "neighbouring positions"},
        Defect{"IdBeyondTheVocabulary",
               with_tokens([](TokenId token, std::uint64_t i) { return i == 12'345 ? TokenId{1000} : token; }), kStrategies,
               "temperature 1"},
        Defect{"NoTokenOnce", with_tokens([](TokenId token, std::uint64_t i) { return i == 77 ? TokenId{-1} : token; }),
               kStrategies, "temperature 1"},
        Defect{"TiesAtTheBorderKept", with_each_row([](SamplingInput& row) { row.params.top_k += row.params.top_k > 0; }),
               kStrategies, "top-k 50"},
        Defect{"TopPTooSmall", with_each_row([](SamplingInput& row) { row.params.top_p *= 0.98f; }), kStrategies,
               "top-p 0.9"},
        Defect{"TopPTooLarge", with_each_row([](SamplingInput& row) { row.params.top_p *= 1.005f; }), kStrategies,
               "top-p 0.9"},
        Defect{"MinPIgnored", with_each_row([](SamplingInput& row) { row.params.min_p = 0.0f; }), kStrategies, "min-p 0.05"},
        Defect{"TemperatureTooHigh", with_each_row([](SamplingInput& row) { row.params.temperature *= 1.03f; }), kStrategies,
               "temperature 0.7"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace warploom::sampler_check
