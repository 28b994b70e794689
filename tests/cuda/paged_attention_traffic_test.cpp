// How often keys and values are read from DRAM and from the L2 cache.
#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "cuda/attention_traffic.h"

namespace warploom {
namespace {

using test::Batch;
using test::crowd;
using test::Sequence;
using test::Traffic;

WarploomCounters count_step(const Traffic& t, const Batch& batch, const char* kernel) {
  const WarploomCounters n = test::count_attention(t, batch, kernel);
  EXPECT_EQ(n.launches, 1u);
  EXPECT_EQ(n.lane_instructions[kWarploomLocal], 0u);
  // Rows of 80 dimensions: eight lanes that copy side by side reach into the next row, and one of them conflicts with the bank of another.
  EXPECT_LE(static_cast<double>(n.shared_conflicts) / static_cast<double>(n.shared_passes), t.head_dim == 80 ? 0.2 : 0.01);
  return n;
}

class AttentionShares : public testing::Test {
 protected:
  void SetUp() override {
    if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  }
};
class AttentionTraffic : public AttentionShares, public testing::WithParamInterface<Traffic> {};

TEST_P(AttentionTraffic, DecodeReadsKeysAndValuesOnce) {
  const Traffic& t = GetParam();
  constexpr std::int64_t kContext = 1024;
  const WarploomCounters n = count_step(t, crowd(t.sequences, kContext, 1), "decode_attention_kernel");
  const auto bytes = static_cast<double>(t.sequences * kContext * 2 * t.kv_heads * t.head_dim * bytes_of(t.type));
  EXPECT_LE(32.0 * static_cast<double>(n.distinct_sectors_read) / bytes, 1.05);
  EXPECT_LE(32.0 * static_cast<double>(n.sectors_read) / bytes, 1.05);
  EXPECT_LE(32.0 * static_cast<double>(n.sectors_written) / bytes, 0.05);
}

// 80 tokens over a context of 256, from DRAM each byte once; from L2 once a block, which is 16 to 64 rows.
TEST_P(AttentionTraffic, PrefillSharesKeysAndValues) {
  Traffic t = GetParam();
  t.sequences = std::min<std::int64_t>(t.sequences, 2);
  constexpr std::int64_t kContext = 256, kTokens = 80;
  const WarploomCounters n = count_step(t, crowd(t.sequences, kContext, kTokens), "prefill_attention_kernel");
  const auto context = static_cast<double>(t.sequences * kContext * 2 * t.kv_heads * t.head_dim * bytes_of(t.type)),
             queries = static_cast<double>(t.sequences * kTokens * t.heads * t.head_dim * 4),
             blocks = std::ceil(static_cast<double>(kTokens * t.heads) / static_cast<double>(t.kv_heads) /
                                (t.head_dim == 256 || (t.head_dim == 128 && t.type == DType::f32) ? 32 : 64));
  EXPECT_LE(32.0 * static_cast<double>(n.distinct_sectors_read) / (context + queries), 1.05);
  EXPECT_LE(32.0 * static_cast<double>(n.sectors_read) / (blocks * context + queries), 1.05);
  EXPECT_EQ(32 * n.sectors_written, static_cast<std::uint64_t>(queries));
}

// Four tokens of a sequence, as when drafts are verified, move at most half as much again as one token: its partial results are those of 16 or 32
// rows. Rows beyond 16 ask L2 for keys and values again.
TEST_F(AttentionShares, AFewTokensMoveWhatOneDoes) {
  for (const auto& [kv_heads, asked] : {std::pair<std::int64_t, double>{8, 1.15}, {4, 2.3}}) {
    const Traffic t{1, 32, kv_heads, 128};
    const WarploomCounters one = count_step(t, crowd(1, 4096, 1), "decode_attention_kernel"),
                           four = count_step(t, crowd(1, 4096, 4), "decode_attention_kernel");
    const auto moved = [](const WarploomCounters& n) {
      return static_cast<double>(n.distinct_sectors_read + n.distinct_sectors_written);
    };
    EXPECT_LE(moved(four), 1.5 * moved(one)) << kv_heads << " kv heads";
    EXPECT_LE(static_cast<double>(four.sectors_read), asked * static_cast<double>(one.sectors_read))
        << kv_heads << " kv heads";
    const std::uint64_t tiles = 4 * t.heads / kv_heads > 16 ? 2 : 1;  // of 16 rows, each of which has blocks of its own
    EXPECT_EQ(four.blocks, tiles * one.blocks) << kv_heads << " kv heads";
  }
}

// Queries and probabilities in one part instead of two: half of the products, as many as in f16. A prompt's warps, 16 rows each,
// end after the 16 keys that have their last one; or the 32, which are multiplied together if the block has room for them.
TEST_F(AttentionShares, RoundingToBf16HalvesTheProducts) {
  constexpr std::int64_t kContext = 512, kTokens = 64, kHeads = 8, kKvHeads = 2;
  for (const std::int64_t head_dim : {64, 128, 256}) {
    const auto products = [&](DType type, bool rounded, std::int64_t tokens) {
      const Traffic t{1, kHeads, kKvHeads, head_dim, type, rounded};
      return count_step(t, crowd(1, kContext, tokens), tokens > 1 ? "prefill_attention_kernel" : "decode_attention_kernel")
          .warp_instructions[kWarploomMatrix];
    };
    const auto of_prompt = [&](std::int64_t parts) {
      const std::int64_t together = head_dim * parts <= 128 ? 32 : 16, warp_tokens = 16 * kKvHeads / kHeads;
      std::int64_t keys = 0;
      for (std::int64_t end = kContext - kTokens + warp_tokens; end <= kContext; end += warp_tokens)
        keys += (end + together - 1) / together * together;
      return static_cast<std::uint64_t>(keys * kKvHeads * parts * 2 * head_dim * 16 / (16 * 16 * 8));
    };
    const auto rounded = products(DType::bf16, true, 1);
    EXPECT_EQ(products(DType::bf16, false, 1), 2 * rounded) << head_dim << " dimensions";
    EXPECT_EQ(products(DType::f16, false, 1), rounded) << head_dim << " dimensions";
    EXPECT_EQ(products(DType::bf16, false, kTokens), of_prompt(2)) << head_dim << " dimensions";
    EXPECT_EQ(products(DType::bf16, true, kTokens), of_prompt(1)) << head_dim << " dimensions";
    EXPECT_EQ(products(DType::f16, false, kTokens), of_prompt(1)) << head_dim << " dimensions";
  }
}

// A prompt beside sequences that decode costs what both cost alone.
TEST_F(AttentionShares, MixedStepsMoveTheSumOfTheirParts) {
  const Traffic t{1, 9, 3, 64};
  const Sequence prompt{256, 128};
  const Batch others = crowd(16, 1024, 1);
  Batch mixed = others;
  mixed.insert(mixed.begin() + 7, prompt);
  const auto sum = [&](const Batch& batch, const char* kernel) {
    const WarploomCounters n = count_step(t, batch, kernel);
    double instructions = 0;
    for (const std::uint64_t i : n.warp_instructions) instructions += static_cast<double>(i);
    return std::array{static_cast<double>(n.sectors_read), instructions};
  };
  const auto prefill = sum(mixed, "prefill_attention_kernel"), prompt_alone = sum({prompt}, "prefill_attention_kernel");
  const auto decode = sum(mixed, "decode_attention_kernel"), others_alone = sum(others, "decode_attention_kernel");
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(prefill[i], 1.1 * prompt_alone[i]);
    EXPECT_LE(decode[i], 1.1 * others_alone[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTraffic,
                         testing::Values(Traffic{1, 9, 3, 64}, Traffic{16, 9, 3, 64}, Traffic{256, 9, 3, 64},
                                         Traffic{1, 32, 8, 128}, Traffic{16, 32, 8, 128}, Traffic{16, 8, 8, 80, DType::bf16},
                                         Traffic{1, 8, 2, 256}, Traffic{4, 8, 2, 256}, Traffic{4, 8, 2, 128, DType::f32}));

}  // namespace
}  // namespace warploom
