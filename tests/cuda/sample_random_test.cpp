// Random rows of every awkward kind: the device equals the CPU.
#include "cuda/device_sampling.h"
#include "sampling/random_rows.h"

#include <gtest/gtest.h>

#include "core/half.h"

namespace warploom {
namespace {

struct Batch {
  std::vector<std::vector<TokenId>> histories;
  std::vector<std::vector<LogitBias>> biases;
  std::vector<SamplingInput> rows;
};

Batch random_batch(std::mt19937_64& rng, std::size_t rows, std::size_t vocab_size) {
  Batch b;
  b.histories.resize(rows);
  b.biases.resize(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    SamplingInput row;
    row.params = test::random_params(rng, vocab_size);
    row.position = rng() % 3 ? rng() : 0;
    row.subsequence = static_cast<std::uint32_t>(rng() % 3);
    for (std::uint64_t i = rng() % 8; i > 0; --i)
      b.histories[r].push_back(static_cast<TokenId>(rng() % std::min<std::size_t>(vocab_size, 5)));
    if (rng() % 4 == 0)
      b.biases[r].push_back({static_cast<TokenId>(rng() % vocab_size), test::pick(rng, {-INFINITY, 3.0f, -100.0f})});
    row.history = b.histories[r];
    row.count_begin = static_cast<std::int64_t>(rng() % (row.history.size() + 1));
    row.bias = b.biases[r];
    b.rows.push_back(row);
  }
  return b;
}

// The logarithm alone may differ in its last bits.
void expect_near(double got, double want) { EXPECT_NEAR(got, want, 1e-12 * std::max(1.0, std::abs(want))); }

void compare(std::uint64_t seed, std::size_t rows, std::size_t vocab_size, std::size_t stride, DType type, int parts) {
  std::mt19937_64 rng(seed);
  Batch batch = random_batch(rng, rows, vocab_size);
  std::vector<float> wide(rows * stride, NAN);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::vector<float> y = test::random_logits(rng, vocab_size);
    std::copy(y.begin(), y.end(), wide.begin() + static_cast<std::ptrdiff_t>(r * stride));
  }
  std::vector<std::uint16_t> narrow;
  if (type != DType::f32)
    for (const float y : wide) narrow.push_back(type == DType::f16 ? float_to_half(y) : float_to_bfloat16(y));
  const LogitsView logits{type == DType::f32 ? static_cast<const void*>(wide.data()) : narrow.data(), type,
                          static_cast<std::int64_t>(rows), static_cast<std::int64_t>(vocab_size),
                          static_cast<std::int64_t>(stride)};
  const SampleOutputs wants{.logprob = true,
                            .filtered_logprob = true,
                            .top_logprobs = test::pick(rng, {0, 0, 0, 0, 1, 5, 20, 200, 1024}),
                            .kept = rng() % 2 == 0};
  const std::size_t words = (vocab_size + 31) / 32;
  const std::vector<std::uint32_t> allowed =
      rng() % 3 == 0 ? test::random_masks(rng, rows, vocab_size) : std::vector<std::uint32_t>{};
  for (std::size_t r = 0; r < rows && !allowed.empty(); ++r)
    if (rng() % 4 != 0) batch.rows[r].allowed = std::span(allowed).subspan(r * words, words);
  const auto got = test::sample_on_device(logits, batch.rows, parts, wants);
  const auto want = sample(logits, batch.rows, wants);
  for (std::size_t r = 0; r < rows; ++r) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " row " << r << " vocab_size " << vocab_size << " type "
                                    << static_cast<int>(type) << " parts " << parts << " T "
                                    << batch.rows[r].params.temperature << " k " << batch.rows[r].params.top_k << " p "
                                    << batch.rows[r].params.top_p);
    ASSERT_EQ(got[r].status, want[r].status);
    ASSERT_EQ(got[r].token, want[r].token);
    ASSERT_EQ(got[r].argmax, want[r].argmax);
    ASSERT_EQ(got[r].num_kept, want[r].num_kept);
    ASSERT_EQ(got[r].total_weight, want[r].total_weight);
    expect_near(got[r].logprob, want[r].logprob);
    expect_near(got[r].filtered_logprob, want[r].filtered_logprob);
    ASSERT_EQ(got[r].kept, want[r].kept);
    ASSERT_EQ(got[r].top.size(), want[r].top.size());
    for (std::size_t i = 0; i < got[r].top.size(); ++i) {
      ASSERT_EQ(got[r].top[i].token, want[r].top[i].token);
      expect_near(got[r].top[i].logprob, want[r].top[i].logprob);
    }
  }
}

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};

// Together 100,000 rows and more.
TEST(DeviceSample, TinyRowsEqualTheCpu) {  // 60,000
  for (std::size_t vocab_size = 1; vocab_size <= 40; ++vocab_size)
    for (const DType type : kTypes)
      for (std::uint64_t round = 0; round < 5; ++round)
        compare(1000 * round + vocab_size, 100, vocab_size, vocab_size + vocab_size % 3, type, 0);
}

TEST(DeviceSample, SmallRowsEqualTheCpu) {  // 28,800
  for (const std::size_t vocab_size : {64, 100, 127, 128, 129, 255, 256, 257, 511, 513, 1000, 1031})
    for (const DType type : kTypes)
      for (std::uint64_t round = 0; round < 8; ++round)
        compare(10000 * round + vocab_size, 100, vocab_size, vocab_size + 1, type, 1);
}

TEST(DeviceSample, MiddlingRowsEqualTheCpu) {  // 10,710
  for (const std::size_t vocab_size : {2047, 4099, 9001})
    for (const DType type : kTypes)
      for (std::uint64_t round = 0; round < 17; ++round)
        compare(100000 * round + vocab_size, 70, vocab_size, vocab_size + 5, type, 0);
}

TEST(DeviceSample, SharedRowsEqualTheCpu) {  // 432
  for (const std::size_t vocab_size : {1000, 4099, 9001})
    for (const DType type : kTypes)
      for (const int parts : {2, 5, 32, 128})
        for (std::uint64_t round = 0; round < 4; ++round)
          compare(1000 * round + vocab_size + static_cast<std::size_t>(parts), 3, vocab_size, vocab_size, type, parts);
}

TEST(DeviceSample, LargeRowsEqualTheCpu) {  // 534
  for (const DType type : kTypes) {
    for (std::uint64_t round = 0; round < 2; ++round) compare(1 + round, 64, 32000, 32000, type, 0);
    for (std::uint64_t round = 0; round < 5; ++round) {
      compare(100 + round, 4, 128256, 128256, type, 0);
      compare(200 + round, 3, 151936, 151936, type, 0);
      compare(300 + round, 3, 262144, 262144, type, 0);
    }
  }
}

}  // namespace
}  // namespace warploom
