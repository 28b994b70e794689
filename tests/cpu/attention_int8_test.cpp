// Attention over int8 keys and values on every instruction set, against plain loops over whole numbers: scores and sums of values
// equal them bit for bit.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "chunk_result.h"
#include "cpu/isa.h"
#include "cpu/kv_cache.h"
#include "support/int8_attention_oracle.h"

namespace warploom {
namespace {

using cpu::Int8Head;
using cpu::kChunkTokens;
using cpu::kInt8Group;
using cpu::kKvBlockSize;
using cpu::kMaxQueries;
using cpu::kQueryStride;
using test::ChunkResult;
using test::WholeNumbers;

std::vector<float> numbers(int count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> all(static_cast<std::size_t>(count));
  for (float& x : all) x = std::ldexp(normal(rng), static_cast<int>(rng() % 6) - 3);
  return all;
}

/// A chunk of 128 tokens for one kv head, in shuffled blocks, and as many queries as a tile holds.
struct Chunk {
  int head_dim;
  std::vector<WholeNumbers> keys, values, queries;
  std::vector<Int8Head> query_rows;
  std::vector<std::byte> memory;
  std::array<std::int32_t, 8> ids{5, 2, 7, 0, 1, 6, 3, 4};
  std::size_t stride;

  Chunk(int dim, const cpu::Kernels& kernels, std::mt19937& rng)
      : head_dim(dim), stride(static_cast<std::size_t>(kKvBlockSize * kv_bytes_of(DType::int8, dim))) {
    memory.resize(8 * stride + 64);
    for (int t = 0; t < kChunkTokens; ++t) {
      const std::vector<float> key = numbers(dim, rng), value = numbers(dim, rng);
      keys.emplace_back(key.data(), dim, kInt8Group);
      values.emplace_back(value.data(), dim, dim);
      Int8Head whole_key, whole_value;
      kernels.quantise_head(key.data(), dim, kInt8Group, &whole_key);
      kernels.quantise_head(value.data(), dim, kQueryStride, &whole_value);
      const auto block = static_cast<std::size_t>(ids[static_cast<std::size_t>(t / kKvBlockSize)]);
      cpu::store_int8(whole_key, whole_value, dim, t % kKvBlockSize, memory.data() + block * stride);
    }
    for (int i = 0; i < kMaxQueries; ++i) {
      const std::vector<float> query = numbers(dim, rng);
      queries.emplace_back(query.data(), dim, kInt8Group);
      kernels.quantise_head(query.data(), dim, kInt8Group, &query_rows.emplace_back());
    }
  }

  cpu::AttentionTile tile(const std::vector<std::int32_t>& positions) const {
    cpu::AttentionTile tile;
    tile.int8_queries = query_rows.data();
    tile.positions = positions.data();
    tile.count = static_cast<int>(positions.size());
    tile.head_dim = head_dim;
    tile.type = DType::int8;
    tile.int8 = cpu::int8_block(head_dim);
    tile.kv = {memory.data(), stride, ids.data(), 8, 0};
    return tile;
  }

  float score(int query, int token) const {
    const WholeNumbers &q = queries[static_cast<std::size_t>(query)], &k = keys[static_cast<std::size_t>(token)];
    float sum = 0;
    for (std::size_t g = 0; g < k.scales.size(); ++g) {
      int dot = 0;
      for (std::size_t d = g * kInt8Group; d < std::min<std::size_t>(k.codes.size(), (g + 1) * kInt8Group); ++d)
        dot += q.codes[d] * k.codes[d];
      const float scale = k.scales[g] * q.scales[g];
      sum = g == 0 ? static_cast<float>(dot) * scale : std::fma(static_cast<float>(dot), scale, sum);
    }
    return sum;
  }

  /// The sum of the values of [from, to), each with probability 1.
  std::vector<float> value_sum(int from, int to) const {
    float largest = 0;
    for (int t = from; t < to; ++t) largest = std::max(largest, values[static_cast<std::size_t>(t)].scales[0]);
    std::vector<float> sums;
    for (std::size_t d = 0; d < static_cast<std::size_t>(head_dim); ++d) {
      int sum = 0;
      for (int t = from; t < to; ++t) {
        const WholeNumbers& v = values[static_cast<std::size_t>(t)];
        sum += static_cast<int>(std::nearbyint(v.scales[0] * (127.0f / largest))) * v.codes[d];
      }
      sums.push_back(static_cast<float>(sum) * (largest / 127.0f));
    }
    return sums;
  }
};

constexpr int kHeadDims[] = {1, 2, 7, 16, 30, 32, 35, 64, 80, 100, 128, 255, 256};

TEST(AttentionInt8, ScoresAreSumsInTheOrderOfTheContract) {
  std::mt19937 rng(1);
  for (const int head_dim : kHeadDims)
    for (const CpuIsa isa : available_cpu_isas()) {
      const cpu::Kernels& kernels = cpu::kernels_for(isa);
      const Chunk chunk(head_dim, kernels, rng);
      for (int count = 1; count <= kMaxQueries; ++count)
        for (int first = 0; first + count <= kChunkTokens; first += 37) {
          std::vector<std::int32_t> positions;
          for (int i = 0; i < count; ++i) positions.push_back(first + i);
          cpu::AttentionTile tile = chunk.tile(positions);
          tile.window = 1;  // one score is the greatest one
          const ChunkResult got(kernels, tile);
          for (int i = 0; i < count; ++i) {
            ASSERT_EQ(got.maxima[i], chunk.score(i, first + i))
                << name(isa) << ", heads of " << head_dim << ", query " << i << " of " << count;
            ASSERT_EQ(got.sums[i], 1.0f);
            const std::vector<float> want = chunk.value_sum(first + i, first + i + 1);
            for (int d = 0; d < head_dim; ++d) ASSERT_EQ(got.values[i][d], want[static_cast<std::size_t>(d)]);
          }
        }
    }
}

TEST(AttentionInt8, ValuesAreSumsOfWholeNumbers) {
  std::mt19937 rng(2);
  for (const int head_dim : kHeadDims)
    for (const CpuIsa isa : available_cpu_isas()) {
      const cpu::Kernels& kernels = cpu::kernels_for(isa);
      Chunk chunk(head_dim, kernels, rng);
      for (Int8Head& query : chunk.query_rows) std::fill_n(query.scales, 8, 0.0f);  // every probability is 1
      for (const int window : {0, 1, 40})
        for (int count = 1; count <= kMaxQueries; ++count)
          for (int last = count - 1; last < kChunkTokens; last += 29) {
            std::vector<std::int32_t> positions;
            for (int i = 0; i < count; ++i) positions.push_back(last - count + 1 + i);
            cpu::AttentionTile tile = chunk.tile(positions);
            tile.window = window;
            const ChunkResult got(kernels, tile);
            for (int i = 0; i < count; ++i) {
              const int end = positions[static_cast<std::size_t>(i)] + 1, from = window > 0 ? std::max(0, end - window) : 0;
              ASSERT_EQ(got.sums[i], static_cast<float>(end - from));
              const std::vector<float> want = chunk.value_sum(from, end);
              for (int d = 0; d < head_dim; ++d)
                ASSERT_EQ(got.values[i][d], want[static_cast<std::size_t>(d)])
                    << name(isa) << ", heads of " << head_dim << ", query " << i << " of " << count << ", window " << window
                    << ", dimension " << d;
            }
          }
    }
}

TEST(AttentionInt8, BlocksHoldKeysValuesAndScales) {
  for (const int head_dim : kHeadDims) {
    const cpu::Int8Block at = cpu::int8_block(head_dim);
    const int codes = 16 * ((head_dim + 3) / 4 * 4);
    EXPECT_EQ(at.key_scales, codes);
    EXPECT_EQ(at.values, at.key_scales + (head_dim + 31) / 32 * 64);
    EXPECT_EQ(at.value_scales, at.values + codes);
    EXPECT_EQ(at.value_scales + 64, kKvBlockSize * kv_bytes_of(DType::int8, head_dim));
  }
}

TEST(AttentionInt8, HeadsBecomeWholeNumbers) {
  std::mt19937 rng(3);
  for (const CpuIsa isa : available_cpu_isas())
    for (const int head_dim : kHeadDims)
      for (const int group : {kInt8Group, kQueryStride}) {
        const std::vector<float> x = numbers(head_dim, rng);
        const WholeNumbers want(x.data(), head_dim, group);
        Int8Head got;
        cpu::kernels_for(isa).quantise_head(x.data(), head_dim, group, &got);
        for (std::size_t g = 0; g < want.scales.size(); ++g) {
          const std::size_t from = g * static_cast<std::size_t>(group),
                            to = std::min(x.size(), from + static_cast<std::size_t>(group));
          int sum = 0;
          for (std::size_t i = from; i < to; ++i) {
            ASSERT_EQ(got.codes[i], want.codes[i]) << name(isa) << ", " << i;
            sum += want.codes[i];
          }
          ASSERT_EQ(got.scales[g], want.scales[g]) << name(isa);
          ASSERT_EQ(got.sums[g], sum) << name(isa);
        }
        for (int i = head_dim; i < (head_dim + 15) / 16 * 16; ++i) ASSERT_EQ(got.codes[i], 0);
      }
}

TEST(AttentionInt8, WhatIsNoNumberStaysNone) {
  for (const CpuIsa isa : available_cpu_isas())
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      std::vector<float> x(64, 1.0f);
      x[40] = bad;
      Int8Head got;
      cpu::kernels_for(isa).quantise_head(x.data(), 64, kInt8Group, &got);
      EXPECT_EQ(got.scales[0], 1.0f / 127.0f);
      EXPECT_TRUE(std::isnan(got.scales[1])) << name(isa);
      EXPECT_EQ(got.codes[40], 0);
    }
}

}  // namespace
}  // namespace warploom
