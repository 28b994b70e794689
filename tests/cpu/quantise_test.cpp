// Inputs in whole codes: the same on every instruction set and whatever tokens are beside them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/packed.h"

namespace warploom::cpu {
namespace {

constexpr std::int64_t kBlocks = 7, kCols = kBlocks * kQuantBlockInputs, kStride = kCols + 5;

// What a block has of the token in `slot`, but for what differs between instruction sets: the starts.
struct TokenBlock {
  std::int8_t q[kQuantBlockInputs];
  float d, ds;
  std::int32_t first_sum, second_sum;

  TokenBlock(const ActivationBlock& block, int slot)
      : d(block.d[slot]), ds(block.ds[slot]), first_sum(block.first_sum[slot]), second_sum(block.second_sum[slot]) {
    std::memcpy(q, block.q[slot], sizeof q);
  }
  bool operator==(const TokenBlock& other) const { return std::memcmp(this, &other, sizeof *this) == 0; }
};

constexpr float kSmallest = 0x1p-101f;  // numbers below count as zero

// Rows of every kind: ordinary ones, zeros, subnormal and huge numbers, the smallest that count, one that is not finite in a block.
std::vector<float> rows_of_all_kinds(int tokens, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(tokens * kStride));
  for (int t = 0; t < tokens; ++t) {
    const auto row = std::span(x).subspan(static_cast<std::size_t>(t * kStride), kStride);
    for (float& v : row) v = normal(random);
    switch (random() % 8) {
      case 0: std::ranges::fill(row, 0.0f); break;
      case 1: std::ranges::transform(row, row.begin(), [](float v) { return 1e-41f * v; }); break;
      case 2: std::ranges::transform(row, row.begin(), [](float v) { return 1e37f * v; }); break;
      case 3: std::ranges::transform(row, row.begin(), [](float v) { return std::copysign(kSmallest, v); }); break;
      case 4: std::ranges::fill(row, std::nextafterf(kSmallest, 0.0f)); break;
      case 5: row[random() % kCols] = std::numeric_limits<float>::quiet_NaN(); break;
      case 6: row[random() % kCols] = -std::numeric_limits<float>::infinity(); break;
      default: break;
    }
  }
  return x;
}

// As cpu/packed.h defines it.
void expect_codes(const float* x, const TokenBlock& block, const std::string& where) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < kQuantBlockInputs; ++i) {
    finite = finite && std::isfinite(x[i]);
    largest = std::max(largest, std::fabs(x[i]));
  }
  std::int32_t sums[2] = {};
  for (int i = 0; i < kQuantBlockInputs; ++i) {
    const bool counts = finite && block.d != 0;
    ASSERT_EQ(block.q[i], counts ? std::nearbyintf(x[i] * (127.0f / largest)) : 0) << where << ", input " << i;
    sums[i / 16] += block.q[i];
  }
  ASSERT_EQ(block.first_sum, sums[0]) << where;
  ASSERT_EQ(block.second_sum, sums[1]) << where;
  if (!finite) {
    ASSERT_TRUE(std::isnan(block.d) && std::isnan(block.ds)) << where;
  } else if (largest < kSmallest) {
    ASSERT_EQ(block.d, 0.0f) << where;
    ASSERT_EQ(block.ds, 0.0f) << where;
  } else {
    ASSERT_EQ(block.d, largest / 127.0f) << where;
    ASSERT_EQ(block.ds, block.d * static_cast<float>(sums[0] + sums[1])) << where;
  }
}

TEST(Quantise, EachTokenIsWhatItIsAloneOnEveryInstructionSet) {
  std::mt19937 random(1);
  for (int round = 0; round < 100; ++round) {
    for (int tokens = 1; tokens <= kTokenGroup; ++tokens) {
      const std::vector<float> x = rows_of_all_kinds(tokens, random);
      for (const CpuIsa isa : available_cpu_isas()) {
        std::vector<ActivationBlock> together(kBlocks), alone(kBlocks);
        kernels_for(isa).quantise_group(x.data(), kStride, tokens, kCols, together.data());
        for (int t = 0; t < tokens; ++t) {
          const float* row = x.data() + t * kStride;
          kernels_for(isa).quantise_group(row, kStride, 1, kCols, alone.data());
          for (std::size_t b = 0; b < kBlocks; ++b) {
            const std::string where = fmt::format("{}, token {} of {}, block {}", name(isa), t, tokens, b);
            const TokenBlock got(together[b], t);
            ASSERT_TRUE(got == TokenBlock(alone[b], 0)) << where;
            ASSERT_EQ(together[b].first_start[t], alone[b].first_start[0]) << where;
            ASSERT_EQ(together[b].second_start[t], alone[b].second_start[0]) << where;
            expect_codes(row + b * kQuantBlockInputs, got, where);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace warploom::cpu
