// Random rows of every awkward kind against the oracle, on every instruction set.
#include "oracle.h"

#include <random>

#include <gtest/gtest.h>

#include "core/sampling_math.h"
#include "cpu/isa.h"
#include "cpu/sample.h"
#include "sampling/random_rows.h"
#include "support/sanitized.h"

namespace warploom {
namespace {

using test::OracleResult;

using test::pick;
using test::random_logits;
using test::random_params;

void expect_same(const OracleResult& want, const SampleResult& got, const std::string& where) {
  ASSERT_EQ(got.status, want.status) << where;
  ASSERT_EQ(got.token, want.token) << where;
  ASSERT_EQ(got.argmax, want.argmax) << where;
  ASSERT_EQ(got.total_weight, want.total_weight) << where;
  ASSERT_EQ(got.kept, want.kept) << where;
  ASSERT_EQ(got.num_kept, static_cast<std::int64_t>(want.kept.size())) << where;
}

void compare(std::uint64_t seed, std::size_t vocab_size, int rounds) {
  std::mt19937_64 rng(seed);
  std::vector<cpu::RowSampler> samplers;
  for (const CpuIsa isa : available_cpu_isas()) samplers.emplace_back(cpu::kernels_for(isa).sample);
  for (int round = 0; round < test::some_of(rounds); ++round) {
    const std::vector<float> y = random_logits(rng, vocab_size);
    SamplingInput row;
    row.params = random_params(rng, vocab_size);
    row.position = pick<std::uint64_t>(rng, {0, 1, 8589934597ull});
    row.subsequence = pick<std::uint32_t>(rng, {0, 7});
    std::vector<TokenId> history;
    std::vector<LogitBias> bias;
    for (std::uint64_t i = rng() % 8; i > 0 && rng() % 2; --i)
      history.push_back(static_cast<TokenId>(rng() % std::min<std::size_t>(vocab_size, 5)));
    if (rng() % 4 == 0) bias.push_back({static_cast<TokenId>(rng() % vocab_size), pick(rng, {-INFINITY, 3.0f, -100.0f})});
    const std::vector<std::uint32_t> allowed =
        rng() % 4 == 0 ? test::random_masks(rng, 1, vocab_size) : std::vector<std::uint32_t>{};
    row.history = history;
    row.count_begin = static_cast<std::int64_t>(rng() % (history.size() + 1));
    row.bias = bias;
    row.allowed = allowed;
    const OracleResult want = test::oracle(y, row);
    for (std::size_t i = 0; i < samplers.size(); ++i) {
      SampleResult got;
      SampleOutputs wants;
      wants.kept = true;
      wants.logprob = wants.filtered_logprob = round % 2 == 0;
      samplers[i].run(y.data(), DType::f32, static_cast<std::int64_t>(vocab_size), row, wants, got);
      const SamplingParams& p = row.params;
      expect_same(want, got,
                  "seed " + std::to_string(seed) + " round " + std::to_string(round) + " vocab_size " +
                      std::to_string(vocab_size) + " T " + std::to_string(p.temperature) + " k " + std::to_string(p.top_k) +
                      " p " + std::to_string(p.top_p) + " min_p " + std::to_string(p.min_p));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Oracle, TinyRows) {
  for (std::size_t vocab_size = 1; vocab_size <= 40; ++vocab_size) compare(vocab_size, vocab_size, 1500);
}
TEST(Oracle, SmallRows) { compare(1000, 257, 20000); }
TEST(Oracle, OddRows) { compare(1001, 1031, 15000); }
TEST(Oracle, MiddlingRows) { compare(1002, 4099, 3000); }
TEST(Oracle, LargeRows) { compare(1003, 32000, 150); }
TEST(Oracle, LargestVocabularies) {
  compare(1004, 151936, 12);
  compare(1005, 262144, 8);
}

// Rows whose heavy logits stand only where a sampler that looks at a part of the row looks, or only elsewhere.
TEST(Oracle, HeavyRuns) {
  std::mt19937_64 rng(1006);
  std::uniform_real_distribution<float> noise(-1.0f, 1.0f);
  for (const std::size_t vocab_size : {8192, 40001}) {
    for (const bool inside : {false, true}) {
      std::vector<float> y(vocab_size);
      for (std::size_t i = 0; i < vocab_size; ++i) y[i] = noise(rng) + ((i % 2048 < 64) == inside ? 8.0f : 0.0f);
      for (const auto& [k, p] :
           {std::pair{std::int64_t{200}, 1.0f}, {7000, 1.0f}, {0, 0.02f}, {0, 0.9f}, {0, 0.9999f}, {7000, 0.9f}}) {
        SamplingInput row;
        row.params = {.temperature = 1.0f, .top_k = k, .top_p = p, .seed = 9};
        const OracleResult want = test::oracle(y, row);
        for (const CpuIsa isa : available_cpu_isas()) {
          SampleResult got;
          cpu::RowSampler(cpu::kernels_for(isa).sample)
              .run(y.data(), DType::f32, static_cast<std::int64_t>(vocab_size), row, {.kept = true}, got);
          expect_same(want, got,
                      std::string(name(isa)) + " vocab_size " + std::to_string(vocab_size) + " k " + std::to_string(k) +
                          " p " + std::to_string(p));
        }
      }
    }
  }
}

// Section 3 over every difference of 2^-10 octaves down to where weights end, and random ones between.
TEST(Oracle, WeightsAgreeBitForBit) {
  std::mt19937_64 rng(5);
  std::vector<float> x;
  for (int i = 0; i <= 70 * 1024; ++i) x.push_back(static_cast<float>(-i) / 1024.0f / 1.4426950408889634f);
  std::uniform_real_distribution<float> below(-46.0f, 0.0f);
  for (int i = 0; i < 1000000; ++i) x.push_back(below(rng));
  while (x.size() % 16) x.push_back(0.0f);
  for (const float temperature : {1.0f, 0.7f, 3.0f}) {
    std::vector<std::uint64_t> want, got(x.size());
    for (const float v : x) want.push_back(test::oracle_weight(v, 0.0f, temperature));
    const float scale = sampling::exponent_scale(temperature);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(sampling::weight(x[i], 0.0f, scale), want[i]) << x[i];
    for (const CpuIsa isa : available_cpu_isas()) {
      cpu::kernels_for(isa).sample.weigh(x.data(), static_cast<std::int64_t>(x.size()), 0.0f, scale, got.data());
      ASSERT_EQ(got, want) << name(isa);
    }
  }
}

TEST(Oracle, LogProbabilities) {
  std::mt19937_64 rng(6);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> y(2000);
    for (float& v : y) v = normal(rng);
    SamplingInput row;
    row.params = {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .seed = rng()};
    SampleOutputs wants{.logprob = true, .filtered_logprob = true, .top_logprobs = 5, .kept = true};
    const SampleResult with = sample({y.data(), DType::f32, 1, 2000, 2000}, {&row, 1}, wants).at(0);
    const SampleResult without = sample({y.data(), DType::f32, 1, 2000, 2000}, {&row, 1}).at(0);
    EXPECT_EQ(with.token, without.token);
    double all = 0, kept = 0;
    for (const float v : y) all += std::exp(static_cast<double>(v));
    for (const TokenId t : with.kept) kept += std::exp(static_cast<double>(y[static_cast<std::size_t>(t)]) / 0.8);
    const double x = y[static_cast<std::size_t>(with.token)];
    EXPECT_NEAR(with.logprob, x - std::log(all), 1e-5);
    EXPECT_NEAR(with.filtered_logprob, x / static_cast<double>(0.8f) - std::log(kept), 1e-5);
    ASSERT_EQ(with.top.size(), 5u);
    std::sort(y.rbegin(), y.rend());
    for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(with.top[i].logprob, y[i] - std::log(all), 1e-5);
  }
}

}  // namespace
}  // namespace warploom
