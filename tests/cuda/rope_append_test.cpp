// Rotation and append against double.
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "emulator/emulator.h"
#include "support/attention_oracle.h"
#include "support/attention_step.h"
#include "support/encoding.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom {
namespace {

using test::DeviceArray;

struct AppendCase {
  std::int64_t heads = 4, kv_heads = 2, head_dim = 64, rope_dims = 64;
  bool interleaved = true;
  DType rows = DType::f32, cache = DType::f16;
  std::int64_t block_size = 16;
  float mscale = 1.0f;
  std::vector<std::int32_t> positions = {};  // of each token; -1: padding
  std::vector<std::int32_t> sequence = {};   // of each token
};

// Rows of random numbers, a step's arrays, and a cache full of a known number, in device memory.
class Append {
 public:
  Append(const AppendCase& c, std::mt19937& rng) : case_(c) {
    std::normal_distribution<float> normal;
    const std::size_t tokens = c.positions.size();
    for (int kind = 0; kind < 3; ++kind) {
      host_[kind].resize(tokens * static_cast<std::size_t>(stride(kind)) + kGuard, kMark);
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::int64_t i = 0; i < width(kind); ++i) host_[kind][at(kind, t, i)] = test::rounded(normal(rng), c.rows);
      rows_[kind] = std::make_unique<DeviceArray<std::byte>>(test::encoded(host_[kind], c.rows));
    }
    for (std::int64_t i = 0; i < c.rope_dims / 2; ++i)
      frequencies_.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(c.rope_dims)));
    std::int32_t max_position = 0, sequences = 1;
    for (const std::int32_t p : c.positions) max_position = std::max(max_position, p);
    for (const std::int32_t s : c.sequence) sequences = std::max(sequences, s + 1);
    table_stride_ = max_position / c.block_size + 1;
    tables_.resize(static_cast<std::size_t>(sequences * table_stride_), test::kNoBlock);
    std::vector<std::int32_t> blocks(tokens + 2);
    std::iota(blocks.begin(), blocks.end(), 0);
    std::shuffle(blocks.begin(), blocks.end(), rng);
    for (std::size_t t = 0; t < tokens; ++t)
      if (c.positions[t] >= 0 && entry(t) == test::kNoBlock) entry(t) = blocks[t];
    view_ = {nullptr, c.cache, 2, static_cast<std::int64_t>(blocks.size()), c.kv_heads, c.head_dim, c.block_size};
    before_.assign(static_cast<std::size_t>(view_.bytes() / bytes_of(c.cache)), kMark);
    cache_ = std::make_unique<DeviceArray<std::byte>>(test::encoded(before_, c.cache));
    view_.data = cache_->data();
    positions_ = std::make_unique<DeviceArray<std::int32_t>>(c.positions);
    sequence_ = std::make_unique<DeviceArray<std::int32_t>>(c.sequence);
    device_tables_ = std::make_unique<DeviceArray<std::int32_t>>(tables_);
    device_frequencies_ = std::make_unique<DeviceArray<double>>(frequencies_);
  }

  RopeAppendArgs arguments() const {
    RopeAppendArgs a;
    a.queries = {rows_[0]->data(), case_.rows, stride(0)};
    a.keys = {rows_[1]->data(), case_.rows, stride(1)};
    a.values = {rows_[2]->data(), case_.rows, stride(2)};
    a.num_heads = case_.heads;
    a.rope.frequencies = device_frequencies_->data();
    a.rope.dims = case_.rope_dims;
    a.rope.interleaved = case_.interleaved;
    a.rope.mscale = case_.mscale;
    a.metadata.num_tokens = static_cast<std::int64_t>(case_.positions.size());
    a.metadata.num_seqs = static_cast<std::int64_t>(tables_.size()) / table_stride_;
    a.metadata.max_query_len = a.metadata.num_tokens;
    a.metadata.positions = positions_->data();
    a.metadata.token_to_seq = sequence_->data();
    a.metadata.block_tables = device_tables_->data();
    a.metadata.max_blocks_per_seq = table_stride_;
    a.cache = view_;
    a.layer = 1;
    return a;
  }

  // The first elements of a token's values.
  void set_values(std::size_t token, const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), &host_[2][at(2, token, 0)]);
    rows_[2] = std::make_unique<DeviceArray<std::byte>>(test::encoded(host_[2], case_.rows));
  }
  std::vector<float> stored_values(std::size_t token, std::ptrdiff_t count) const {
    const std::vector<float> cache = test::decoded(cache_->host(), case_.cache);
    const auto first =
        cache.begin() + view_.values(1, entry(token), 0) + case_.positions[token] % case_.block_size * case_.head_dim;
    return {first, first + count};
  }

  void run() const {
    cuda::rope_append(arguments(), nullptr);
    test::throw_on_error(cudaDeviceSynchronize());
  }

  // Every element of the queries and of the cache: what was to change, within the tolerance; the rest not at all.
  void expect_oracle(double tolerance) const {
    const std::vector<float> queries = test::decoded(rows_[0]->host(), case_.rows);
    const std::vector<float> cache = test::decoded(cache_->host(), case_.cache);
    std::vector<double> want_queries(host_[0].begin(), host_[0].end()), want_cache(before_.begin(), before_.end());
    for (std::size_t t = 0; t < case_.positions.size(); ++t) {
      const std::int64_t position = case_.positions[t];
      if (position < 0) continue;
      for (std::int64_t h = 0; h < case_.heads; ++h) rotate(&want_queries[at(0, t, h * case_.head_dim)], position);
      const std::int64_t block = entry(t), within = position % case_.block_size * case_.head_dim;
      for (std::int64_t h = 0; h < case_.kv_heads; ++h) {
        double* keys = &want_cache[static_cast<std::size_t>(view_.keys(1, block, h) + within)];
        double* values = &want_cache[static_cast<std::size_t>(view_.values(1, block, h) + within)];
        std::copy_n(&host_[1][at(1, t, h * case_.head_dim)], case_.head_dim, keys);
        std::copy_n(&host_[2][at(2, t, h * case_.head_dim)], case_.head_dim, values);
        rotate(keys, position);
      }
    }
    expect_near(queries, want_queries, host_[0], case_.rows, tolerance);
    expect_near(cache, want_cache, before_, case_.cache, tolerance);
  }

  double bytes_moved() const {
    const auto tokens = static_cast<double>(case_.positions.size());
    const auto row = static_cast<double>(bytes_of(case_.rows)), stored = static_cast<double>(bytes_of(case_.cache));
    const auto kv = static_cast<double>(case_.kv_heads * case_.head_dim);
    return tokens * (static_cast<double>(case_.heads * case_.rope_dims) * 2 * row + 2 * kv * (row + stored) +
                     3 * sizeof(std::int32_t)) +
           static_cast<double>(case_.rope_dims / 2) * sizeof(double);
  }

 private:
  static constexpr float kMark = -77.0f;  // which every type holds
  static constexpr std::size_t kGuard = 64;
  std::int64_t width(int kind) const { return (kind == 0 ? case_.heads : case_.kv_heads) * case_.head_dim; }
  std::int64_t stride(int kind) const { return width(kind) + 16 * kind; }
  std::size_t at(int kind, std::size_t token, std::int64_t i) const {
    return token * static_cast<std::size_t>(stride(kind)) + static_cast<std::size_t>(i);
  }
  std::int32_t& entry(std::size_t t) {
    return tables_[static_cast<std::size_t>(case_.sequence[t] * table_stride_ + case_.positions[t] / case_.block_size)];
  }
  std::int32_t entry(std::size_t t) const { return const_cast<Append*>(this)->entry(t); }
  void rotate(double* x, std::int64_t position) const {
    test::rotate_exactly(x, frequencies_, case_.interleaved, static_cast<double>(case_.mscale), position);
  }
  static void expect_near(const std::vector<float>& got, const std::vector<double>& want, const std::vector<float>& before,
                          DType type, double tolerance) {
    // Half a unit in the last place of the type, beside what f32 arithmetic loses.
    const double relative = type == DType::f32 ? 0.0 : test::rounding(type);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (want[i] == static_cast<double>(before[i]))
        ASSERT_EQ(got[i], before[i]) << "at " << i;
      else
        ASSERT_NEAR(got[i], want[i], tolerance + relative * std::abs(want[i])) << "at " << i;
    }
  }

  AppendCase case_;
  std::vector<float> host_[3], before_;
  std::vector<double> frequencies_;
  std::vector<std::int32_t> tables_;
  std::int64_t table_stride_ = 1;
  KvCacheView view_;
  std::unique_ptr<DeviceArray<std::byte>> rows_[3], cache_;
  std::unique_ptr<DeviceArray<std::int32_t>> positions_, sequence_, device_tables_;
  std::unique_ptr<DeviceArray<double>> device_frequencies_;
};

// Three sequences in different places, with padding behind and between.
void fill_step(AppendCase& c) {
  c.positions = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 31, 32, 33, -1, 1000, 1001, -1, -1};
  c.sequence = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
}

class RopeAppend : public testing::Test {
 protected:
  static constexpr std::uint32_t kSeed = 20240918;
  std::mt19937 rng{kSeed};
  testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(kSeed)};
};

TEST_F(RopeAppend, EqualsTheOracle) {
  const DType types[] = {DType::f32, DType::f16, DType::bf16};
  for (const DType rows : types)
    for (const DType cache : types)
      for (const bool adjacent : {true, false}) {
        AppendCase c;
        c.rows = rows;
        c.cache = cache;
        c.interleaved = adjacent;
        c.block_size = rows == DType::f32 ? 8 : 32;
        c.mscale = adjacent ? 1.0f : 1.25f;
        fill_step(c);
        const Append append(c, rng);
        append.run();
        append.expect_oracle(2e-6);
        if (HasFatalFailure()) return;
      }
}

TEST_F(RopeAppend, ShapesOfEveryKind) {
  for (const auto& [heads, kv_heads, head_dim] :
       {std::array<std::int64_t, 3>{1, 1, 16}, {9, 3, 64}, {5, 1, 80}, {3, 3, 96}, {32, 8, 128}, {2, 1, 256}})
    for (const std::int64_t dims :
         {std::int64_t{0}, std::int64_t{2}, std::int64_t{6}, std::int64_t{16}, head_dim / 2, head_dim})
      for (const bool adjacent : {true, false}) {
        AppendCase c{heads, kv_heads, head_dim, dims, adjacent, DType::f32, DType::f16};
        fill_step(c);
        const Append append(c, rng);
        append.run();
        append.expect_oracle(2e-6);
        if (HasFatalFailure()) return;
      }
}

// Angles are as exact at position 131,071 as at 0.
TEST_F(RopeAppend, FarPositions) {
  AppendCase c;
  c.cache = DType::f32;
  c.positions = {131071, 131072, 1048575};
  c.sequence = {0, 0, 0};
  const Append append(c, rng);
  append.run();
  append.expect_oracle(2e-6);
}

// Half precision has no infinity to store; NaN stays NaN.
TEST_F(RopeAppend, HalfPrecisionSaturates) {
  AppendCase c;
  c.rope_dims = 0;
  c.positions = {3};
  c.sequence = {0};
  Append append(c, rng);
  append.set_values(0, {1e6f, -INFINITY, NAN, 65519.0f, 65520.0f, -65504.0f, 6e-8f, 1e-9f});
  append.run();
  const std::vector<float> stored = append.stored_values(0, 8);
  const float want[] = {65504.0f, -65504.0f, NAN, 65504.0f, 65504.0f, -65504.0f, 0x1p-24f, 0.0f};
  for (std::size_t i = 0; i < 8; ++i) {
    if (std::isnan(want[i]))
      EXPECT_TRUE(std::isnan(stored[i]));
    else
      EXPECT_EQ(stored[i], want[i]) << i;
  }
}

TEST_F(RopeAppend, OneToken) {
  AppendCase c;
  c.positions = {7};
  c.sequence = {0};
  const Append append(c, rng);
  append.run();
  append.expect_oracle(2e-6);
}

TEST_F(RopeAppend, BytesCrossOnce) {
  if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  for (const auto& [heads, kv_heads, head_dim] : {std::array<std::int64_t, 3>{9, 3, 64}, {32, 8, 128}})
    for (const std::int64_t tokens : {16, 256})
      for (const bool adjacent : {true, false}) {
        SCOPED_TRACE(testing::Message() << heads << " heads, " << tokens << " tokens, adjacent " << adjacent);
        AppendCase c{heads, kv_heads, head_dim, head_dim, adjacent, DType::f32, DType::f16};
        for (std::int32_t t = 0; t < tokens; ++t) c.positions.push_back(t), c.sequence.push_back(0);
        const Append append(c, rng);
        warploom_emulator_reset_counters();
        warploom_emulator_count(1);
        append.run();
        warploom_emulator_count(0);
        WarploomCounters n{};
        ASSERT_EQ(warploom_emulator_counters("rope_append_kernel", &n), 1);
        EXPECT_EQ(n.launches, 1u);
        EXPECT_LE(32.0 * static_cast<double>(n.distinct_sectors_read + n.distinct_sectors_written) / append.bytes_moved(),
                  1.02);
        EXPECT_LE(32.0 * static_cast<double>(n.sectors_read + n.sectors_written) / append.bytes_moved(), 1.02);
        EXPECT_EQ(n.lane_instructions[kWarploomLocal], 0u);
      }
}

}  // namespace
}  // namespace warploom
