// Penalties over long histories: the device equals the CPU, and its work grows with the history, not with its square.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "cuda/device_sampling.h"
#include "emulator/emulator.h"

namespace warploom {
namespace {

std::vector<float> normal_logits(std::size_t count, std::mt19937_64& rng) {
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(count);
  for (float& y : logits) y = normal(rng);
  return logits;
}

// `length` tokens of at most `kinds` different ones of the vocabulary.
std::vector<TokenId> random_history(std::size_t length, std::size_t kinds, std::int64_t vocab_size, std::mt19937_64& rng) {
  std::vector<TokenId> ids(kinds), history(length);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng() % static_cast<std::uint64_t>(vocab_size));
  for (TokenId& token : history) token = ids[rng() % kinds];
  return history;
}

SamplingInput row_of(const std::vector<TokenId>& history) {
  SamplingInput row;
  row.params = {
      .top_k = 200, .top_p = 0.95f, .repetition_penalty = 1.2f, .frequency_penalty = 0.01f, .presence_penalty = 0.3f};
  row.params.seed = history.size();
  row.history = history;
  row.count_begin = static_cast<std::int64_t>(history.size() / 3);
  return row;
}

// From none to more kinds of tokens than there are slots to count them in, some more often than a slot can say; and ids that
// share their marks.
TEST(SampleHistory, OfAnyLengthEqualsTheCpu) {
  std::mt19937_64 rng(31);
  constexpr std::int64_t kVocab = 100000;
  std::vector<std::vector<TokenId>> histories;
  for (const auto& [length, kinds] : std::initializer_list<std::pair<std::size_t, std::size_t>>{
           {0, 1}, {1, 1}, {700, 1}, {1700, 3}, {3000, 40}, {4000, 1900}, {5000, 3500}})
    histories.push_back(random_history(length, kinds, kVocab, rng));
  const std::vector<float> logits = normal_logits(histories.size() * static_cast<std::size_t>(kVocab), rng);
  const LogitsView view{logits.data(), DType::f32, static_cast<std::int64_t>(histories.size()), kVocab, kVocab};
  std::vector<SamplingInput> rows;
  for (const auto& history : histories) rows.push_back(row_of(history));
  const SampleOutputs wants{.logprob = true, .top_logprobs = 5, .kept = true};
  const auto want = sample(view, rows, wants);
  for (const int parts : {1, 60}) {
    const auto got = test::sample_on_device(view, rows, parts, wants);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      SCOPED_TRACE(testing::Message() << "parts " << parts << ", a history of " << histories[r].size());
      ASSERT_EQ(got[r].status, SampleStatus::ok);
      EXPECT_EQ(got[r].token, want[r].token);
      EXPECT_EQ(got[r].argmax, want[r].argmax);
      EXPECT_EQ(got[r].num_kept, want[r].num_kept);
      EXPECT_EQ(got[r].total_weight, want[r].total_weight);
      EXPECT_TRUE(got[r].kept == want[r].kept);
      ASSERT_EQ(got[r].top.size(), want[r].top.size());
      for (std::size_t i = 0; i < want[r].top.size(); ++i) EXPECT_EQ(got[r].top[i].token, want[r].top[i].token);
    }
  }
}

TEST(SampleHistory, CostsWhatItIsLong) {
  if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  std::mt19937_64 rng(32);
  for (const std::int64_t vocab_size : {32000, 128256}) {
    const std::vector<float> logits = normal_logits(static_cast<std::size_t>(vocab_size), rng);
    const auto instructions = [&](std::size_t length) {
      const std::vector<TokenId> history = random_history(length, 1500, vocab_size, rng);
      const std::vector<SamplingInput> rows{row_of(history)};
      warploom_emulator_reset_counters();
      warploom_emulator_count(1);
      test::sample_on_device({logits.data(), DType::f32, 1, vocab_size, vocab_size}, rows, 1);
      warploom_emulator_count(0);
      WarploomCounters n{};
      EXPECT_EQ(warploom_emulator_counters("sample_kernel", &n), 1);
      return static_cast<double>(
          std::accumulate(std::begin(n.warp_instructions), std::end(n.warp_instructions), std::uint64_t{0}));
    };
    const double shorter = instructions(2000), longer = instructions(16000);
    RecordProperty("of_2000_" + std::to_string(vocab_size), std::to_string(shorter));
    RecordProperty("of_16000_" + std::to_string(vocab_size), std::to_string(longer));
    EXPECT_LE(longer, 2 * shorter) << vocab_size;
  }
}

// A mark, a slot and a count of each token: in the one tile that has it, not in all 16.
TEST(SampleHistory, AListsTilesCountTheirOwnTokens) {
  if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  std::mt19937_64 rng(33);
  constexpr std::int64_t kVocab = 128256;
  const std::vector<float> logits = normal_logits(static_cast<std::size_t>(kVocab), rng);
  const std::vector<TokenId> history = random_history(4000, 500, kVocab, rng);
  const std::vector<SamplingInput> rows{row_of(history)};
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  test::sample_on_device({logits.data(), DType::f32, 1, kVocab, kVocab}, rows, 0, {.kept = true});
  warploom_emulator_count(0);
  WarploomCounters n{};
  ASSERT_EQ(warploom_emulator_counters("kept_kernel", &n), 1);
  EXPECT_EQ(n.blocks, 16u);
  EXPECT_GE(n.shared_atomics, 2 * history.size());
  EXPECT_LE(n.shared_atomics, 4 * history.size());
}

}  // namespace
}  // namespace warploom
