// How often keys and values cross from DRAM and from the L2 cache, and what else a decode step moves.
#include <numeric>

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "emulator/emulator.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom {
namespace {

using test::DeviceArray;

struct Traffic {
  std::int64_t sequences, heads, kv_heads, head_dim;
  FloatType type = FloatType::f16;
};
void PrintTo(const Traffic& t, std::ostream* out) {
  *out << t.sequences << " sequences, " << t.heads << " heads, " << t.kv_heads << " kv heads of " << t.head_dim;
}

class DecodeTraffic : public testing::TestWithParam<Traffic> {};

TEST_P(DecodeTraffic, KeysAndValuesCrossOnce) {
  if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  const Traffic& t = GetParam();
  constexpr std::int64_t kContext = 1024, kTables = 128;  // table entries a sequence: contexts of 2048
  const std::int64_t row = t.heads * t.head_dim;
  cuda::PagedAttentionArgs a;
  a.cache = {nullptr, t.type, 1, t.sequences * kContext / 16, t.kv_heads, t.head_dim, 16};
  const DeviceArray<std::byte> cache(std::vector<std::byte>(static_cast<std::size_t>(a.cache.bytes())));
  const DeviceArray<float> queries(std::vector<float>(static_cast<std::size_t>(t.sequences * row))),
      out(std::vector<float>(static_cast<std::size_t>(t.sequences * row)));
  std::vector<std::int32_t> tables, starts(static_cast<std::size_t>(t.sequences) + 1);
  std::iota(starts.begin(), starts.end(), 0);
  for (std::int64_t s = 0; s < t.sequences; ++s)
    for (std::int64_t i = 0; i < kTables; ++i)
      tables.push_back(i < kContext / 16 ? static_cast<std::int32_t>(i * t.sequences + s) : 0x7fffffff);
  const DeviceArray<std::int32_t> device_tables(tables), device_starts(starts),
      positions(std::vector<std::int32_t>(static_cast<std::size_t>(t.sequences), kContext - 1));
  a.cache.data = cache.data();
  a.queries = {queries.data(), FloatType::f32, row};
  a.out = {out.data(), FloatType::f32, row};
  a.heads = t.heads;
  a.step.tokens = a.step.sequences = t.sequences;
  a.step.most_tokens = 1;
  a.step.positions = positions.data();
  a.step.starts = device_starts.data();
  a.step.block_tables = device_tables.data();
  a.step.table_stride = kTables;
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(std::max<std::size_t>(bytes, 1)));

  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  cuda::paged_attention(a, workspace.data(), bytes, nullptr);
  test::throw_on_error(cudaDeviceSynchronize());
  warploom_emulator_count(0);
  WarploomCounters n{};
  ASSERT_EQ(warploom_emulator_counters("decode_attention_kernel", &n), 1);
  const auto context = static_cast<double>(a.cache.bytes());
  EXPECT_EQ(n.launches, 1u);
  EXPECT_LE(32.0 * static_cast<double>(n.distinct_sectors_read) / context, 1.05);
  // Of 256 dimensions a block takes half as much of the context, and all blocks read the queries.
  EXPECT_LE(32.0 * static_cast<double>(n.sectors_read) / context, t.head_dim == 256 ? 1.06 : 1.05);
  EXPECT_LE(32.0 * static_cast<double>(n.sectors_written) / context, 0.05);
  EXPECT_EQ(n.lane_instructions[kWarploomLocal], 0u);
  // Rows of 80 dimensions: eight lanes that copy side by side reach into the next row, where one meets another's bank.
  EXPECT_LE(static_cast<double>(n.shared_conflicts) / static_cast<double>(n.shared_passes), t.head_dim == 80 ? 0.2 : 0.01);
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecodeTraffic,
                         testing::Values(Traffic{1, 9, 3, 64}, Traffic{16, 9, 3, 64}, Traffic{256, 9, 3, 64},
                                         Traffic{1, 32, 8, 128}, Traffic{16, 32, 8, 128}, Traffic{16, 8, 8, 80, FloatType::bf16},
                                         Traffic{4, 8, 2, 256}, Traffic{4, 8, 2, 128, FloatType::f32}));

}  // namespace
}  // namespace warploom
