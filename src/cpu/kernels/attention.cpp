// One chunk of a context in f16 or f32 against up to kMaxQueries queries. The keys of a block are [head_dim, 16 tokens]: each lane holds a
// token, and a score needs no sum across lanes. The values are [16 tokens, head_dim]: each lane holds a dimension. Online
// softmax (Milakov and Gimelshein 2018, arXiv:1805.02867) merges the chunks. The order of a query's operations depends only
// on its own position.
#include "cpu/kernels/attention.h"

#include <type_traits>

#include "cpu/kernels/attention_chunk.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kScoreQueries = 8;
constexpr int kValueQueries = 6, kValueVectors = 4;
// Blocks at a time: enough sums to hide the latency of an fma, and as many as the registers hold.
constexpr int score_blocks_at_once(int queries) { return queries == 1 ? 8 : queries <= 4 ? 4 : 2; }
#else
constexpr int kScoreQueries = 4;
constexpr int kValueQueries = 3, kValueVectors = 2;
constexpr int score_blocks_at_once(int queries) { return queries == 1 ? 4 : queries <= 3 ? 2 : 1; }
#endif

template <bool kHalf>
WARPLOOM_INLINE F load_element(const std::byte* base, std::int64_t index) {
  if constexpr (kHalf) return load_f16(reinterpret_cast<const std::uint16_t*>(base) + index);
  return load(reinterpret_cast<const float*>(base) + index);
}

// scores[i][16 b ...] = scale * q_i k for the blocks [from, from + kBlocks) of the chunk.
template <bool kHalf, int kQueries, int kBlocks>
WARPLOOM_INLINE void score_some(const AttentionTile& tile, int first, int from, float (*scores)[kChunkTokens]) {
  const float* q = tile.queries + first * kQueryStride;
  const std::byte* keys[kBlocks];
  for (int b = 0; b < kBlocks; ++b) keys[b] = block_at(tile.kv, from + b);
  F sum[kQueries][kBlocks];
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) sum[i][b] = zero();
  const std::ptrdiff_t row = kBlockTokens * (kHalf ? 2 : 4), values = tile.head_dim * row;
  for (int d = 0; d < tile.head_dim; ++d, ++q) {
    F k[kBlocks];
    if (first == 0) fetch_line<kBlocks>(keys, values + d * row, tile.fetch);  // the values are read next
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) k[b] = load_element<kHalf>(keys[b], d * kBlockTokens);
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) {
      const F x = set(q[i * kQueryStride]);
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) sum[i][b] = fma(x, k[b], sum[i][b]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) store(scores[first + i] + (from + b) * kBlockTokens, mul(sum[i][b], set(tile.scale)));
}

template <bool kHalf, int kQueries>
WARPLOOM_INLINE void score_blocks(const AttentionTile& tile, int first, int from, int to, float (*scores)[kChunkTokens]) {
  constexpr int kAtOnce = score_blocks_at_once(kQueries);
  for (; from + kAtOnce <= to; from += kAtOnce) score_some<kHalf, kQueries, kAtOnce>(tile, first, from, scores);
  for (; from < to; ++from) score_some<kHalf, kQueries, 1>(tile, first, from, scores);
}

// All queries read a few blocks before the next ones.
template <bool kHalf>
void score_chunk(const AttentionTile& tile, int from, int to, float (*scores)[kChunkTokens]) {
  const int at_once = tile.count > kScoreQueries ? 2 : kChunkTokens / kBlockTokens;
  for (int end; from < to; from = end) {
    end = from + at_once < to ? from + at_once : to;
    int i = 0;
    for (; i + kScoreQueries <= tile.count; i += kScoreQueries)
      score_blocks<kHalf, kScoreQueries>(tile, i, from, end, scores);
    if constexpr (kScoreQueries > 4) {
      if (i + 4 <= tile.count) score_blocks<kHalf, 4>(tile, i, from, end, scores), i += 4;
    }
    switch (tile.count - i) {
      case 3: score_blocks<kHalf, 3>(tile, i, from, end, scores); break;
      case 2: score_blocks<kHalf, 2>(tile, i, from, end, scores); break;
      case 1: score_blocks<kHalf, 1>(tile, i, from, end, scores); break;
      default: break;
    }
  }
}

// values[i] += sum of weights[i][t] * v_t over the tokens [from, to) of the chunk, t ascending, for 16 kVectors dimensions.
template <bool kHalf, int kQueries, int kVectors>
WARPLOOM_INLINE void accumulate_pv_dims(const AttentionTile& tile, int from, int to, int dim, const NextBlocks* next,
                                        const float (*weights)[kChunkTokens], float* const* values) {
  F sum[kQueries][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = load(values[i] + dim + v * kLanes);
  for (int b = from / kBlockTokens; b * kBlockTokens < to; ++b) {
    const int begin = b * kBlockTokens < from ? from : b * kBlockTokens;
    const int end = (b + 1) * kBlockTokens < to ? (b + 1) * kBlockTokens : to;
    // Values follow the block's keys.
    std::int64_t at = static_cast<std::int64_t>(kBlockTokens + begin % kBlockTokens) * tile.head_dim + dim;
    const std::byte* block = block_at(tile.kv, b);
    FetchParts following = next ? next->during(b) : FetchParts();
    for (int t = begin; t < end; ++t, at += tile.head_dim) {
      if (next) following.fetch_one();
      F v[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) v[j] = load_element<kHalf>(block, at + j * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i) {
        const F w = set(weights[i][t]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(w, v[j], sum[i][j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(values[i] + dim + v * kLanes, sum[i][v]);
}

template <bool kHalf, int kQueries>
WARPLOOM_INLINE void accumulate_pv(const AttentionTile& tile, int from, int to, const NextBlocks* next,
                                   const float (*weights)[kChunkTokens], float* const* values) {
  if (from >= to) return;
  int dim = 0;
  for (; dim + kValueVectors * kLanes <= tile.head_dim; dim += kValueVectors * kLanes)
    accumulate_pv_dims<kHalf, kQueries, kValueVectors>(tile, from, to, dim, dim == 0 ? next : nullptr, weights, values);
  for (; dim < tile.head_dim; dim += kLanes)
    accumulate_pv_dims<kHalf, kQueries, 1>(tile, from, to, dim, nullptr, weights, values);
}

template <bool kHalf, int kQueries>
WARPLOOM_INLINE void accumulate_pv_group(const AttentionTile& tile, const Range* ranges, const NextBlocks* next,
                                         const float (*weights)[kChunkTokens], float* const* values) {
  if constexpr (kQueries == 1) {
    accumulate_pv<kHalf, 1>(tile, ranges[0].from, ranges[0].to, next, weights, values);
  } else {
    int common_from = ranges[0].from, common_to = ranges[0].to;
    for (int i = 1; i < kQueries; ++i) {
      common_from = ranges[i].from > common_from ? ranges[i].from : common_from;
      common_to = ranges[i].to < common_to ? ranges[i].to : common_to;
    }
    if (common_from >= common_to) {
      for (int i = 0; i < kQueries; ++i)
        accumulate_pv<kHalf, 1>(tile, ranges[i].from, ranges[i].to, nullptr, weights + i, values + i);
      return;
    }
    for (int i = 0; i < kQueries; ++i)
      accumulate_pv<kHalf, 1>(tile, ranges[i].from, common_from, nullptr, weights + i, values + i);
    accumulate_pv<kHalf, kQueries>(tile, common_from, common_to, next, weights, values);
    for (int i = 0; i < kQueries; ++i)
      accumulate_pv<kHalf, 1>(tile, common_to, ranges[i].to, nullptr, weights + i, values + i);
  }
}

template <bool kHalf>
void attend(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  alignas(64) float scores[kMaxQueries][kChunkTokens];
  Range ranges[kMaxQueries];
  const auto [from, to] = mask_ranges(tile, chunk, ranges);
  score_chunk<kHalf>(tile, from / kBlockTokens, (to + kBlockTokens - 1) / kBlockTokens, scores);
  softmax(tile, ranges, scores, maxima, sums);
  for (int i = 0; i < tile.count; ++i)
    for (int d = 0; d < tile.head_dim; d += kLanes) store(values[i] + d, zero());
  const NextBlocks next(tile, kBlockTokens);
  int i = 0;
  const auto accumulate = [&](auto queries) __attribute__((always_inline)) {
    accumulate_pv_group<kHalf, queries()>(tile, ranges + i, i == 0 ? &next : nullptr, scores + i, values + i);
    i += queries();
  };
  while (i + kValueQueries <= tile.count && (kValueQueries > 4 || i + 4 != tile.count))
    accumulate(std::integral_constant<int, kValueQueries>());
  if constexpr (kValueQueries > 4) {
    if (i + 4 <= tile.count) accumulate(std::integral_constant<int, 4>());
  }
  switch (tile.count - i) {
    case 4:
      accumulate(std::integral_constant<int, 2>());  // one at a time would wait for its own sums
      return accumulate(std::integral_constant<int, 2>());
    case 3: return accumulate(std::integral_constant<int, 3>());
    case 2: return accumulate(std::integral_constant<int, 2>());
    case 1: return accumulate(std::integral_constant<int, 1>());
    default: return;
  }
}

}  // namespace

void attend_chunk(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  switch (tile.type) {
    case DType::f16: return attend<true>(tile, chunk, maxima, sums, values);
    case DType::f32: return attend<false>(tile, chunk, maxima, sums, values);
    case DType::bf16: return attend_chunk_bf16(tile, chunk, maxima, sums, values);
    case DType::int8: return attend_chunk_int8(tile, chunk, maxima, sums, values);
  }
}

void merge_chunks(int count, int head_dim, const float* chunk_maxima, const float* chunk_sums,
                  const float* const* chunk_values, float* maxima, float* sums, float* const* values) {
  const F old_max = load(maxima), chunk_max = load(chunk_maxima), top = max(old_max, chunk_max);
  const F old_factor = exp_of_negative(sub(old_max, top)), chunk_factor = exp_of_negative(sub(chunk_max, top));
  alignas(64) float tops[kLanes], merged_sums[kLanes], old_factors[kLanes], chunk_factors[kLanes];
  store(tops, top), store(old_factors, old_factor), store(chunk_factors, chunk_factor);
  store(merged_sums, fma(load(sums), old_factor, mul(load(chunk_sums), chunk_factor)));
  for (int i = 0; i < count; ++i) {
    if (chunk_maxima[i] == -__builtin_inff() && chunk_sums[i] == 0.0f) continue;  // the mask hides the chunk from this query
    if (maxima[i] == -__builtin_inff() && sums[i] == 0.0f) {
      maxima[i] = chunk_maxima[i];
      sums[i] = chunk_sums[i];
      for (int d = 0; d < head_dim; d += kLanes) store(values[i] + d, load(chunk_values[i] + d));
      continue;
    }
    maxima[i] = tops[i];
    sums[i] = merged_sums[i];
    const F f = set(old_factors[i]), g = set(chunk_factors[i]);
    for (int d = 0; d < head_dim; d += kLanes)
      store(values[i] + d, fma(load(values[i] + d), f, mul(load(chunk_values[i] + d), g)));
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
