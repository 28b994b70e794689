// Attention over bf16 keys and values on every instruction set, against plain loops in the order that kernels/attention_bf16.cpp
// describes: scores and sums of values equal them bit for bit.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "chunk_result.h"
#include "cpu/isa.h"
#include "cpu/kv_cache.h"
#include "support/bf16_attention_oracle.h"
#include "support/sanitized.h"

namespace warploom {
namespace {

using cpu::kChunkTokens;
using cpu::kKvBlockSize;
using cpu::kMaxQueries;
using cpu::kQueryStride;
using test::ChunkResult;

/// Where element `column` of a row lies.
std::size_t at(int row, int width, int column = 0) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(width) + static_cast<std::size_t>(column);
}

/// Sum of a[i] * b[i].
template <typename A, typename B>
float in_groups(int count, const A& a, const B& b) {
  float sum = 0;
  for (int group = 0; group < count; group += 32) {
    float chains[2] = {0, 0};
    for (int i = group; i < std::min(count, group + 32); ++i) chains[i % 2] = std::fma(a(i), b(i), chains[i % 2]);
    sum += chains[0] + chains[1];
  }
  return sum;
}

/// A chunk of 128 tokens for one kv head, in shuffled blocks.
struct Chunk {
  int head_dim;
  std::vector<float> keys, values;  // [tokens, head_dim], rounded
  std::vector<std::byte> memory;
  std::array<std::int32_t, 8> ids{5, 2, 7, 0, 1, 6, 3, 4};
  std::size_t stride;

  Chunk(int dim, std::mt19937& rng) : head_dim(dim), stride(static_cast<std::size_t>(2 * dim * kKvBlockSize * 2)) {
    memory.resize(8 * stride + 64);
    keys = numbers(kChunkTokens * dim, rng);
    values = numbers(kChunkTokens * dim, rng);
    for (int t = 0; t < kChunkTokens; ++t)
      cpu::store_bf16(&keys[at(t, dim)], &values[at(t, dim)], dim, t % kKvBlockSize,
                      memory.data() + static_cast<std::size_t>(ids[static_cast<std::size_t>(t / kKvBlockSize)]) * stride);
  }

  // Of many magnitudes: the order of additions shows.
  static std::vector<float> numbers(int count, std::mt19937& rng) {
    std::normal_distribution<float> normal;
    std::vector<float> all(static_cast<std::size_t>(count));
    for (float& x : all) x = test::to_bf16(std::ldexp(normal(rng), static_cast<int>(rng() % 12) - 6));
    return all;
  }

  cpu::AttentionTile tile(const float* queries, const std::vector<std::int32_t>& positions) const {
    cpu::AttentionTile tile;
    tile.queries = queries;
    tile.positions = positions.data();
    tile.count = static_cast<int>(positions.size());
    tile.head_dim = head_dim;
    tile.type = DType::bf16;
    tile.kv = {memory.data(), stride, ids.data(), 8, 0};
    return tile;
  }
};

constexpr int kHeadDims[] = {2, 6, 16, 30, 32, 34, 64, 80, 100, 128, 250, 256};

TEST(AttentionBf16, ScoresAreSumsInTheOrderOfTheContract) {
  std::mt19937 rng(1);
  for (const int head_dim : kHeadDims) {
    const Chunk chunk(head_dim, rng);
    const std::vector<float> queries = Chunk::numbers(kMaxQueries * kQueryStride, rng);
    for (const CpuIsa isa : available_cpu_isas())
      for (int count = 1; count <= kMaxQueries; ++count)
        for (int first = 0; first + count <= kChunkTokens; first += 37) {
          std::vector<std::int32_t> positions;
          for (int i = 0; i < count; ++i) positions.push_back(first + i);
          cpu::AttentionTile tile = chunk.tile(queries.data(), positions);
          tile.window = 1;  // one score is the greatest one
          tile.scale = 0.3f;
          const ChunkResult got(cpu::kernels_for(isa), tile);
          for (int i = 0; i < count; ++i) {
            const float want = 0.3f * in_groups(
                                          head_dim, [&](int d) { return queries[at(i, kQueryStride, d)]; },
                                          [&](int d) { return chunk.keys[at(first + i, head_dim, d)]; });
            ASSERT_EQ(got.maxima[i], want) << name(isa) << ", heads of " << head_dim << ", query " << i << " of " << count;
            ASSERT_EQ(got.sums[i], 1.0f);
            for (int d = 0; d < head_dim; ++d) ASSERT_EQ(got.values[i][d], chunk.values[at(first + i, head_dim, d)]);
          }
        }
  }
}

TEST(AttentionBf16, ValuesAreSumsInTheOrderOfTheContract) {
  std::mt19937 rng(2);
  for (const int head_dim : kHeadDims) {
    const Chunk chunk(head_dim, rng);
    const std::vector<float> queries = Chunk::numbers(kMaxQueries * kQueryStride, rng);
    for (const int window : {0, 1, 40}) {
      const auto first = [&](int position) { return window > 0 ? std::max(0, position + 1 - window) : 0; };
      std::vector<std::vector<float>> want(kChunkTokens);  // of each position
      for (int position = 0; position < kChunkTokens; ++position)
        for (int d = 0; d < head_dim; ++d)
          want[static_cast<std::size_t>(position)].push_back(in_groups(
              kChunkTokens, [&](int t) { return t >= first(position) && t <= position ? 1.0f : 0.0f; },
              [&](int t) { return chunk.values[at(t, head_dim, d)]; }));
      for (const CpuIsa isa : available_cpu_isas())
        for (int count = 1; count <= kMaxQueries; count += test::kSanitized ? 5 : 1)
          for (int last = count - 1; last < kChunkTokens; last += 29) {
            std::vector<std::int32_t> positions;
            for (int i = 0; i < count; ++i) positions.push_back(last - count + 1 + i);
            cpu::AttentionTile tile = chunk.tile(queries.data(), positions);
            tile.window = window;
            tile.scale = 0.0f;  // every probability is 1
            const ChunkResult got(cpu::kernels_for(isa), tile);
            for (int i = 0; i < count; ++i) {
              const int position = positions[static_cast<std::size_t>(i)];
              ASSERT_EQ(got.sums[i], static_cast<float>(position + 1 - first(position)));
              for (int d = 0; d < head_dim; ++d)
                ASSERT_EQ(got.values[i][d], want[static_cast<std::size_t>(position)][static_cast<std::size_t>(d)])
                    << name(isa) << ", heads of " << head_dim << ", query " << i << " of " << count << ", window " << window
                    << ", dimension " << d;
            }
          }
    }
  }
}

TEST(AttentionBf16, RoundsToNearestEvenAndSmallNumbersToZero) {
  std::vector<float> all;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
    for (const std::uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      all.push_back(std::bit_cast<float>(upper << 16 | lower));
  std::vector<float> got(all.size());
  for (const CpuIsa isa : available_cpu_isas()) {
    cpu::kernels_for(isa).round_bf16_row(all.data(), static_cast<std::int64_t>(all.size()), got.data());
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::isnan(all[i])) {
        ASSERT_TRUE(std::isnan(got[i])) << name(isa) << ", " << std::bit_cast<std::uint32_t>(all[i]);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]) & 0xffffu, 0u);
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(test::to_bf16(all[i])))
            << name(isa) << ", " << std::bit_cast<std::uint32_t>(all[i]);
      }
    }
  }
}

}  // namespace
}  // namespace warploom
