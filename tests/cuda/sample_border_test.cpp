// Borders of top-k and top-p that take a selection to its end: the device equals the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/half.h"
#include "cuda/device_sampling.h"

namespace warploom {
namespace {

// One row, alone and cut into parts.
void compare(const std::vector<float>& wide, const SamplingParams& params, DType type = DType::f32) {
  std::vector<std::uint16_t> narrow;
  if (type != DType::f32)
    for (const float y : wide) narrow.push_back(type == DType::f16 ? float_to_half(y) : float_to_bfloat16(y));
  const auto vocab_size = static_cast<std::int64_t>(wide.size());
  const LogitsView logits{type == DType::f32 ? static_cast<const void*>(wide.data()) : narrow.data(), type, 1, vocab_size,
                          vocab_size};
  std::vector<SamplingInput> rows(1);
  rows[0].params = params;
  const SampleOutputs wants{.logprob = true, .kept = true};
  for (const int parts : {1, 7, 64}) {
    SCOPED_TRACE(testing::Message() << "parts " << parts << " top_p " << params.top_p << " top_k " << params.top_k);
    rows[0].position = static_cast<std::uint64_t>(parts);
    const auto got = test::sample_on_device(logits, rows, parts, wants);
    const auto want = sample(logits, rows, wants);
    ASSERT_EQ(got[0].status, SampleStatus::ok);
    EXPECT_EQ(got[0].token, want[0].token);
    EXPECT_EQ(got[0].num_kept, want[0].num_kept);
    EXPECT_EQ(got[0].total_weight, want[0].total_weight);
    EXPECT_TRUE(got[0].kept == want[0].kept);
  }
}

SamplingParams with_top_p(float top_p, std::int64_t top_k = 0) {
  SamplingParams params;
  params.top_p = top_p;
  params.top_k = top_k;
  return params;
}

// Logits that were rounded to half precision tie by the hundred, whatever type they have now.
TEST(SampleBorder, TiesOfHalfPrecision) {
  std::mt19937_64 rng(11);
  std::normal_distribution<float> normal(0.0f, 0.5f);
  std::vector<float> row(40000);
  for (float& y : row) y = bfloat16_to_float(float_to_bfloat16(normal(rng)));
  for (const DType type : {DType::f32, DType::f16, DType::bf16})
    for (const float top_p : {0.1f, 0.5f, 0.9f, 0.999f})
      for (const std::int64_t top_k : {0, 20000}) compare(row, with_top_p(top_p, top_k), type);
}

// Keys of both signs and all exponents in the one bin where the sum is reached: each level of the selection is needed.
TEST(SampleBorder, KeysFarApartThatWeighTheSame) {
  std::mt19937_64 rng(12);
  std::vector<float> row(20000, -30.0f);
  for (std::size_t i = 0; i < 12000; ++i)
    row[i] =
        std::ldexp(rng() % 2 ? 1.0f : -1.0f, -static_cast<int>(20 + rng() % 120)) * (1.0f + static_cast<float>(rng() % 7));
  for (const float top_p : {0.3f, 0.8f})
    for (const std::int64_t top_k : {0, 5000, 11000}) compare(row, with_top_p(top_p, top_k));
}

// Neighbours in the last bit, a few tokens each; and one more token that makes the bins wide.
TEST(SampleBorder, KeysThatDifferInTheLastBit) {
  std::mt19937_64 rng(13);
  std::vector<float> row(20000);
  for (float& y : row) y = 1.0f + static_cast<float>(rng() % 3000) * 0x1p-23f;
  row[777] = -40.0f;
  for (const float top_p : {0.2f, 0.6f})
    for (const std::int64_t top_k : {0, 3000, 15000}) compare(row, with_top_p(top_p, top_k));
}

// Weights of 1 that come from logits nearly worth 2: many more tokens in a bin than its mass and its logits let one think.
TEST(SampleBorder, WeightsThatTruncationHalves) {
  std::vector<float> row(80000, -INFINITY);
  row[5] = 0.0f;
  const auto log_share = [](double share) { return static_cast<float>(std::log(std::ldexp(share, -40))); };
  for (std::size_t i = 0; i < 65000; ++i) row[10 + i] = log_share(1.4);
  for (std::size_t i = 0; i < 1500; ++i) row[66000 + 7 * i] = log_share(1.97);
  compare(row, with_top_p(0.99999994f));
}

}  // namespace
}  // namespace warploom
