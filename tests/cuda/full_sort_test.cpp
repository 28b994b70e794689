// The yardstick draws the same tokens, or its figures would compare nothing.
#include "cuda/full_sort.h"

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "sampling/random_rows.h"

namespace warploom {
namespace {

using test::DeviceArray;

TEST(FullSort, DrawsWhatTheCpuDraws) {
  std::mt19937_64 rng(1);
  for (const std::size_t vocab_size : {1, 50, 1000, 5003}) {
    constexpr std::size_t kRows = 9;
    std::vector<float> logits, temperature, top_p;
    std::vector<std::int32_t> top_k;
    std::vector<std::uint64_t> position;
    std::vector<SamplingInput> rows(kRows);
    for (SamplingInput& row : rows) {
      for (std::size_t i = 0; i < vocab_size; ++i) logits.push_back(static_cast<float>(rng() % 200) / 20.0f);
      temperature.push_back(row.params.temperature = test::pick(rng, {0.1f, 0.7f, 1.5f}));
      top_k.push_back(static_cast<std::int32_t>(row.params.top_k = test::pick(rng, {0, 1, 30, 900})));
      top_p.push_back(row.params.top_p = test::pick(rng, {1.0f, 0.9f, 0.2f}));
      position.push_back(row.position = rng());
    }
    const DeviceArray<float> d_logits(logits), d_temperature(temperature), d_top_p(top_p);
    const DeviceArray<std::int32_t> d_top_k(top_k);
    const DeviceArray<std::uint64_t> d_position(position), total(std::vector<std::uint64_t>(kRows, 0));
    const DeviceArray<TokenId> token(std::vector<TokenId>(kRows, -1));
    const DeviceArray<std::int64_t> num_kept(std::vector<std::int64_t>(kRows, -1));
    SampleArgs a;
    a.logits = d_logits.data();
    a.rows = kRows;
    a.vocab_size = a.row_stride = static_cast<std::int64_t>(vocab_size);
    a.temperature = d_temperature.data();
    a.top_k = d_top_k.data();
    a.top_p = d_top_p.data();
    a.position = d_position.data();
    a.token = token.data();
    a.num_kept = num_kept.data();
    a.total_weight = total.data();
    test::full_sort_sample(a);
    const auto want = sample({logits.data(), DType::f32, kRows, a.vocab_size, a.vocab_size}, rows);
    for (std::size_t r = 0; r < kRows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocab " << vocab_size << " row " << r);
      EXPECT_EQ(token.host()[r], want[r].token);
      EXPECT_EQ(num_kept.host()[r], want[r].num_kept);
      EXPECT_EQ(total.host()[r], want[r].total_weight);
    }
  }
}

}  // namespace
}  // namespace warploom
