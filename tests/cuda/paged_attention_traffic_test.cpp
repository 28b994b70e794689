// How often keys and values are read from DRAM and from the L2 cache.
#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "emulator/emulator.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom {
namespace {

using test::DeviceArray;

struct Traffic {
  std::int64_t sequences, heads, kv_heads, head_dim;
  DType type = DType::f16;
  bool round_to_bf16 = false;
};
void PrintTo(const Traffic& t, std::ostream* out) {
  *out << t.sequences << " sequences, " << t.heads << " heads, " << t.kv_heads << " kv heads of " << t.head_dim;
}

struct Sequence {
  std::int64_t context, tokens;  // the last `tokens` of the context are the step's
};
using Batch = std::vector<Sequence>;

// A step over zeros, of heads and caches as `t` has them.
WarploomCounters count_step(const Traffic& t, const Batch& batch, const char* kernel) {
  std::int64_t context = 0, tokens = 0, rows = 0, cache_blocks = 0;
  for (const Sequence& s : batch) {
    context = std::max(context, s.context);
    tokens = std::max(tokens, s.tokens);
    rows += s.tokens;
    cache_blocks += s.context / 16;
  }
  const std::int64_t tables = 2 * context / 16;  // entries a sequence: room for twice the context
  const std::int64_t row = t.heads * t.head_dim;
  PagedAttentionArgs a;
  a.cache = {nullptr, t.type, 1, cache_blocks, t.kv_heads, t.head_dim, 16};
  const DeviceArray<std::byte> cache(std::vector<std::byte>(static_cast<std::size_t>(a.cache.bytes())));
  const DeviceArray<float> queries(std::vector<float>(static_cast<std::size_t>(rows * row))),
      out(std::vector<float>(static_cast<std::size_t>(rows * row)));
  std::vector<std::int32_t> blocks, positions, starts{0};
  std::int32_t next = 0;
  for (const Sequence& s : batch) {
    for (std::int64_t i = 0; i < tables; ++i) blocks.push_back(i < s.context / 16 ? next++ : 0x7fffffff);
    for (std::int64_t i = s.context - s.tokens; i < s.context; ++i) positions.push_back(static_cast<std::int32_t>(i));
    starts.push_back(static_cast<std::int32_t>(positions.size()));
  }
  const DeviceArray<std::int32_t> device_tables(blocks), device_starts(starts), device_positions(positions);
  a.cache.data = cache.data();
  a.queries = {queries.data(), DType::f32, row};
  a.out = {out.data(), DType::f32, row};
  a.num_heads = t.heads;
  a.round_to_bf16 = t.round_to_bf16;
  a.metadata.num_tokens = rows;
  a.metadata.num_seqs = static_cast<std::int64_t>(batch.size());
  a.metadata.max_query_len = tokens;
  a.metadata.positions = device_positions.data();
  a.metadata.qo_indptr = device_starts.data();
  a.metadata.block_tables = device_tables.data();
  a.metadata.max_blocks_per_seq = tables;
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(std::max<std::size_t>(bytes, 1)));
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  a.workspace = {workspace.data(), bytes};
  cuda::paged_attention(a, nullptr);
  test::throw_on_error(cudaDeviceSynchronize());
  warploom_emulator_count(0);
  WarploomCounters n{};
  EXPECT_EQ(warploom_emulator_counters(kernel, &n), 1);
  EXPECT_EQ(n.launches, 1u);
  EXPECT_EQ(n.lane_instructions[kWarploomLocal], 0u);
  // Rows of 80 dimensions: eight lanes that copy side by side reach into the next row, and one of them conflicts with the bank of another.
  EXPECT_LE(static_cast<double>(n.shared_conflicts) / static_cast<double>(n.shared_passes), t.head_dim == 80 ? 0.2 : 0.01);
  return n;
}

Batch crowd(std::int64_t sequences, std::int64_t context, std::int64_t tokens) {
  return Batch(static_cast<std::size_t>(sequences), {context, tokens});
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

// Four tokens of a sequence, as when drafts are verified, move what one token does: their 16 rows share keys and values.
TEST_F(AttentionShares, AFewTokensMoveWhatOneDoes) {
  const Traffic t{1, 32, 8, 128};
  const WarploomCounters one = count_step(t, crowd(1, 4096, 1), "decode_attention_kernel"),
                         four = count_step(t, crowd(1, 4096, 4), "decode_attention_kernel");
  EXPECT_LE(static_cast<double>(four.sectors_read), 1.15 * static_cast<double>(one.sectors_read));
  EXPECT_EQ(four.blocks, one.blocks);
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
