// Defects that users of other samplers have met; the numbers are their issues'.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/sampling_math.h"
#include "cuda/device_sampling.h"
#include "sampling/random_rows.h"

namespace warploom {
namespace {

using test::DeviceArray;

LogitsView view(const std::vector<float>& logits, std::size_t rows, std::size_t vocab_size, std::size_t stride) {
  return {logits.data(), DType::f32, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(vocab_size),
          static_cast<std::int64_t>(stride)};
}

std::vector<SamplingInput> draws(std::size_t count, const SamplingParams& params) {
  std::vector<SamplingInput> rows(count);
  for (std::size_t i = 0; i < count; ++i) {
    rows[i].params = params;
    rows[i].position = i;
  }
  return rows;
}

std::vector<float> repeat(const std::vector<float>& row, std::size_t times) {
  std::vector<float> all;
  for (std::size_t i = 0; i < times; ++i) all.insert(all.end(), row.begin(), row.end());
  return all;
}

// FlashInfer #3774: a third token where the second and the third tie.
TEST(SampleDefects, ATieAtTheBorderAdmitsNoThird) {
  std::vector<float> row(300, 1.0f);
  row[250] = 1.5f;
  SamplingParams params;
  params.top_k = 2;
  for (const int parts : {1, 3}) {
    std::set<TokenId> seen;
    for (const auto& result : test::sample_on_device(view(repeat(row, 500), 500, 300, 300), draws(500, params), parts)) {
      EXPECT_EQ(result.num_kept, 2);
      seen.insert(result.token);
    }
    EXPECT_EQ(seen, (std::set<TokenId>{0, 250}));
  }
}

// FlashInfer #384 and #3470: ids beyond the vocabulary, where rows are padded and where every logit is masked.
TEST(SampleDefects, NoIdBeyondTheVocabulary) {
  for (const std::size_t vocab_size : {1, 31, 33, 1000, 1023, 1025, 5001}) {
    const std::size_t stride = vocab_size + 37;
    std::vector<float> logits(40 * stride, 1e30f);  // padding that would win every draw
    for (std::size_t r = 0; r < 40; ++r)
      for (std::size_t i = 0; i < vocab_size; ++i) logits[r * stride + i] = r % 5 == 4 ? -INFINITY : 0.0f;
    SamplingParams params;
    for (const float top_p : {1.0f, 0.9f, 1e-6f})
      for (const std::int64_t top_k : {0, 7}) {
        params.top_p = top_p;
        params.top_k = top_k;
        const auto results = test::sample_on_device(view(logits, 40, vocab_size, stride), draws(40, params), 0);
        for (std::size_t r = 0; r < 40; ++r) {
          EXPECT_EQ(results[r].status, r % 5 == 4 ? SampleStatus::all_masked : SampleStatus::ok);
          EXPECT_GE(results[r].token, r % 5 == 4 ? -1 : 0);
          EXPECT_LT(results[r].token, r % 5 == 4 ? 0 : static_cast<TokenId>(vocab_size));
        }
      }
  }
}

// FlashInfer #923: the last id, though its weight is 0, for the largest random numbers.
TEST(SampleDefects, TheLargestNumberDrawsASurvivor) {
  constexpr std::size_t kVocab = 4000;
  std::vector<float> row(kVocab, -INFINITY);
  for (std::size_t i = 0; i < 3000; ++i) row[i] = static_cast<float>(i % 17) * 0.3f;  // the last survivor is 2999
  std::vector<SamplingInput> rows;
  SamplingInput one;
  for (std::uint64_t position = 0; rows.size() < 20; ++position) {
    if (sampling::random_bits(0, position, 0) >> 46 != (1u << 18) - 1) continue;  // the top 18 bits are set
    one.position = position;
    rows.push_back(one);
  }
  for (const int parts : {1, 2})
    for (const auto& result :
         test::sample_on_device(view(repeat(row, rows.size()), rows.size(), kVocab, kVocab), rows, parts)) {
      EXPECT_GT(result.token, 2900);
      EXPECT_LT(result.token, 3000);
    }
}

// FlashInfer #4861: one seed for all rows. And what tells rows apart when the seed is one: position and stream.
TEST(SampleDefects, EveryRowHasItsOwnNumber) {
  constexpr std::size_t kVocab = 4096, kRows = 64;
  const std::vector<float> logits(kRows * kVocab, 0.0f);
  for (int what = 0; what < 3; ++what) {
    std::vector<SamplingInput> rows(kRows);
    for (std::size_t r = 0; r < kRows; ++r) {
      rows[r].params.seed = what == 0 ? r : 9;
      rows[r].position = what == 1 ? r : 9;
      rows[r].subsequence = what == 2 ? static_cast<std::uint32_t>(r) : 9;
    }
    std::set<TokenId> seen;
    for (const auto& result : test::sample_on_device(view(logits, kRows, kVocab, kVocab), rows, 0))
      seen.insert(result.token);
    EXPECT_GT(seen.size(), 56u) << what;  // 64 of 4096 meet once in two tries
  }
}

// FlashInfer #2402: a NaN row that takes its neighbours along. SGLang #35697: a neighbour that turns on a filter and so
// changes a seeded row.
TEST(SampleDefects, NeighboursChangeNothing) {
  constexpr std::size_t kVocab = 3000, kRows = 12;
  std::mt19937_64 rng(3);
  std::vector<float> logits(kRows * kVocab);
  for (float& y : logits) y = static_cast<float>(rng() % 1000) / 100.0f;
  std::vector<SamplingInput> rows = draws(kRows, {});
  const auto before = test::sample_on_device(view(logits, kRows, kVocab, kVocab), rows, 0);
  for (std::size_t r = 1; r < kRows; r += 2) {
    if (r % 4 == 1) logits[r * kVocab + r] = NAN;
    rows[r].params.top_k = 5;
    rows[r].params.top_p = 0.5f;
    rows[r].params.temperature = 0.0f;
  }
  const auto after = test::sample_on_device(view(logits, kRows, kVocab, kVocab), rows, 0);
  for (std::size_t r = 0; r < kRows; r += 2) {
    EXPECT_EQ(after[r].token, before[r].token);
    EXPECT_EQ(after[r].total_weight, before[r].total_weight);
    EXPECT_EQ(after[r].logprob, before[r].logprob);
  }
  for (std::size_t r = 1; r < kRows; r += 4) EXPECT_EQ(after[r].status, SampleStatus::invalid_logits);
}

// Rows whose elements lie beyond the 2^32nd of an array of which only those rows are there.
TEST(SampleDefects, IndicesBeyond32Bits) {
  constexpr std::int64_t kVocab = 1000, kStride = (std::int64_t{1} << 22) + 4, kLast = 1025;  // 1025 * stride > 2^32
  std::vector<std::uint16_t> row(kVocab, 0);                                                  // zeros of bf16
  row[777] = 0x4200;                                                                          // 32: drawn all but surely
  const DeviceArray<std::uint16_t> d_row(row);
  const auto logits = reinterpret_cast<std::uintptr_t>(d_row.data()) - kLast * kStride * sizeof(std::uint16_t);
  const DeviceArray<std::int64_t> index(std::vector<std::int64_t>{kLast, kLast});
  const DeviceArray<TokenId> token(std::vector<TokenId>(2, -1));
  const DeviceArray<SampleStatus> status(std::vector<SampleStatus>(2, SampleStatus::ok));
  SampleArgs a;
  a.logits = reinterpret_cast<const void*>(logits);
  a.type = DType::bf16;
  a.rows = 2;
  a.vocab_size = kVocab;
  a.row_stride = kStride;
  a.row_index = index.data();
  a.token = token.data();
  a.status = status.data();
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(cuda::sample_workspace_bytes(a), std::byte{0}));
  a.workspace = {workspace.data(), cuda::sample_workspace_bytes(a)};
  cuda::sample(a, nullptr);
  EXPECT_EQ(token.host(), std::vector<TokenId>(2, 777));
}

// The list of kept tokens when it has less room than they need.
TEST(SampleDefects, AFullListIsCountedNotOverrun) {
  constexpr std::size_t kVocab = 20000, kRows = 3;
  const DeviceArray<float> logits(std::vector<float>(kRows * kVocab, 1.0f));
  const DeviceArray<TokenId> token(std::vector<TokenId>(kRows, -1)), kept(std::vector<TokenId>(30003, -7));
  const DeviceArray<SampleStatus> status(std::vector<SampleStatus>(kRows, SampleStatus::ok));
  const DeviceArray<std::int64_t> offsets(std::vector<std::int64_t>(kRows + 1, -1));
  SampleArgs a;
  a.logits = logits.data();
  a.rows = kRows;
  a.vocab_size = a.row_stride = kVocab;
  a.token = token.data();
  a.status = status.data();
  a.kept_offsets = offsets.data();
  a.kept = kept.data();
  a.kept_capacity = 30000;
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(cuda::sample_workspace_bytes(a), std::byte{0}));
  a.workspace = {workspace.data(), cuda::sample_workspace_bytes(a)};
  cuda::sample(a, nullptr);
  EXPECT_EQ(offsets.host(), (std::vector<std::int64_t>{0, 20000, 40000, 60000}));
  const auto ids = kept.host();
  for (std::size_t i = 0; i < 30000; ++i) ASSERT_EQ(ids[i], static_cast<TokenId>(i % kVocab));
  for (std::size_t i = 30000; i < ids.size(); ++i) EXPECT_EQ(ids[i], -7);
}

}  // namespace
}  // namespace warploom
