// One chunk of a context against up to kMaxQueries queries. The keys of a block are [head_dim, 16 tokens]: each lane holds a
// token, and a score needs no sum across lanes. The values are [16 tokens, head_dim]: each lane holds a dimension. Online
// softmax (Milakov and Gimelshein 2018, arXiv:1805.02867) merges the chunks. The order of a query's operations depends only
// on its own position.
#include "cpu/kernels/attention.h"

#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

constexpr int kBlockTokens = 16;
constexpr int kChunkBlocks = kChunkTokens / kBlockTokens;
#if defined(__AVX512F__)
constexpr int kScoreQueries = 8;
constexpr int kValueQueries = 4;
#else
constexpr int kScoreQueries = 4;
constexpr int kValueQueries = 2;
#endif

template <bool kHalf>
WARPLOOM_INLINE F load_element(const std::byte* base, std::int64_t index) {
  if constexpr (kHalf) return load_f16(reinterpret_cast<const std::uint16_t*>(base) + index);
  return load(reinterpret_cast<const float*>(base) + index);
}

// scores[i][16 b ...] = scale * q_i k for the blocks [from, to) of the chunk.
template <bool kHalf, int kQueries>
WARPLOOM_INLINE void score_blocks(const AttentionTile& tile, int first, std::int64_t chunk, int from, int to,
                                  float (*scores)[kChunkTokens]) {
  const float* q[kQueries];
  for (int i = 0; i < kQueries; ++i) q[i] = tile.queries[first + i];
  for (int b = from; b < to; ++b) {
    const std::byte* keys = tile.cache + static_cast<std::size_t>(tile.blocks[chunk * kChunkBlocks + b]) * tile.block_stride;
    F sum[kQueries];
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) sum[i] = zero();
    for (int d = 0; d < tile.head_dim; ++d) {
      const F k = load_element<kHalf>(keys, d * kBlockTokens);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i) sum[i] = fma(set(q[i][d]), k, sum[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i) store(scores[first + i] + b * kBlockTokens, mul(sum[i], set(tile.scale)));
  }
}

template <bool kHalf>
void score_chunk(const AttentionTile& tile, std::int64_t chunk, int from, int to, float (*scores)[kChunkTokens]) {
  int i = 0;
  for (; i + kScoreQueries <= tile.count; i += kScoreQueries)
    score_blocks<kHalf, kScoreQueries>(tile, i, chunk, from, to, scores);
  if constexpr (kScoreQueries > 4) {
    if (i + 4 <= tile.count) score_blocks<kHalf, 4>(tile, i, chunk, from, to, scores), i += 4;
  }
  switch (tile.count - i) {
    case 3: return score_blocks<kHalf, 3>(tile, i, chunk, from, to, scores);
    case 2: return score_blocks<kHalf, 2>(tile, i, chunk, from, to, scores);
    case 1: return score_blocks<kHalf, 1>(tile, i, chunk, from, to, scores);
    default: return;
  }
}

// values[i] += sum of weights[i][t] * v_t over the tokens [from, to) of the chunk, t ascending, for 16 kVectors dimensions.
template <bool kHalf, int kQueries, int kVectors>
WARPLOOM_INLINE void accumulate_pv_dims(const AttentionTile& tile, std::int64_t chunk, int from, int to, int dim,
                                        const float (*weights)[kChunkTokens], float* const* values) {
  F sum[kQueries][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = load(values[i] + dim + v * kLanes);
  for (int t = from; t < to;) {
    const std::byte* block =
        tile.cache + static_cast<std::size_t>(tile.blocks[chunk * kChunkBlocks + t / kBlockTokens]) * tile.block_stride;
    const std::int64_t row = static_cast<std::int64_t>(kBlockTokens) * tile.head_dim;  // values follow the block's keys
    const int end = (t / kBlockTokens + 1) * kBlockTokens < to ? (t / kBlockTokens + 1) * kBlockTokens : to;
    for (; t < end; ++t) {
      F v[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j)
        v[j] =
            load_element<kHalf>(block, row + static_cast<std::int64_t>(t % kBlockTokens) * tile.head_dim + dim + j * kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < kQueries; ++i) {
        const F w = set(weights[i][t]);
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(w, v[j], sum[i][j]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(values[i] + dim + v * kLanes, sum[i][v]);
}

template <bool kHalf, int kQueries>
WARPLOOM_INLINE void accumulate_pv(const AttentionTile& tile, std::int64_t chunk, int from, int to,
                                   const float (*weights)[kChunkTokens], float* const* values) {
  if (from >= to) return;
  int dim = 0;
  for (; dim + 4 * kLanes <= tile.head_dim; dim += 4 * kLanes)
    accumulate_pv_dims<kHalf, kQueries, 4>(tile, chunk, from, to, dim, weights, values);
  for (; dim < tile.head_dim; dim += kLanes)
    accumulate_pv_dims<kHalf, kQueries, 1>(tile, chunk, from, to, dim, weights, values);
}

struct Range {
  int from, to;
};

// The tokens of the chunk that query i attends to; from == to if there are none.
WARPLOOM_INLINE Range mask_range(const AttentionTile& tile, int i, std::int64_t chunk) {
  const std::int64_t start = chunk * kChunkTokens, last = tile.positions[i];
  const std::int64_t first = tile.window > 0 && last >= tile.window ? last - tile.window + 1 : 0;
  const auto cut = [&](std::int64_t p) {
    return static_cast<int>(p < start ? 0 : p > start + kChunkTokens ? kChunkTokens : p - start);
  };
  const Range range{cut(first), cut(last + 1)};
  return range.from < range.to ? range : Range{0, 0};
}

// cap tanh(s / cap), with tanh(x) = 1 - 2 / (e^2x + 1). The difference cancels for small scores, whose error is 2^-24 cap.
WARPLOOM_INLINE F soft_capped(F s, float cap) {
  const F e = exp(mul(s, set(2.0f / cap)));
  return mul(sub(set(1.0f), div(set(2.0f), add(e, set(1.0f)))), set(cap));
}

// Replaces scores by their exponentials, in place; masked lanes become 0.
WARPLOOM_INLINE void exponentials(float* scores, Range range, float soft_cap, float* maximum, float* total) {
  const int first_block = range.from / kBlockTokens, end_block = (range.to + kBlockTokens - 1) / kBlockTokens;
  const F nothing = set(-__builtin_inff());
  F top = nothing;
  for (int b = first_block; b < end_block; ++b) {
    const F raw = load(scores + b * kBlockTokens);
    const F s = select_range(range.from - b * kBlockTokens, range.to - b * kBlockTokens,
                             soft_cap > 0 ? soft_capped(raw, soft_cap) : raw, nothing);
    store(scores + b * kBlockTokens, s);
    top = max(s, top);
  }
  *maximum = max_lanes(top);
  const F m = set(*maximum);
  F sum = zero();
  for (int b = first_block; b < end_block; ++b) {
    const F p = exp(sub(load(scores + b * kBlockTokens), m));
    store(scores + b * kBlockTokens, p);
    sum = add(sum, p);
  }
  *total = sum_lanes(sum);
}

template <bool kHalf, int kQueries>
WARPLOOM_INLINE void accumulate_pv_group(const AttentionTile& tile, std::int64_t chunk, const Range* ranges,
                                         const float (*weights)[kChunkTokens], float* const* values) {
  if constexpr (kQueries == 1) {
    accumulate_pv<kHalf, 1>(tile, chunk, ranges[0].from, ranges[0].to, weights, values);
  } else {
    int common_from = ranges[0].from, common_to = ranges[0].to;
    for (int i = 1; i < kQueries; ++i) {
      common_from = ranges[i].from > common_from ? ranges[i].from : common_from;
      common_to = ranges[i].to < common_to ? ranges[i].to : common_to;
    }
    if (common_from >= common_to) {
      for (int i = 0; i < kQueries; ++i)
        accumulate_pv<kHalf, 1>(tile, chunk, ranges[i].from, ranges[i].to, weights + i, values + i);
      return;
    }
    for (int i = 0; i < kQueries; ++i)
      accumulate_pv<kHalf, 1>(tile, chunk, ranges[i].from, common_from, weights + i, values + i);
    accumulate_pv<kHalf, kQueries>(tile, chunk, common_from, common_to, weights, values);
    for (int i = 0; i < kQueries; ++i)
      accumulate_pv<kHalf, 1>(tile, chunk, common_to, ranges[i].to, weights + i, values + i);
  }
}

template <bool kHalf>
void attend(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  alignas(64) float scores[kMaxQueries][kChunkTokens];
  Range ranges[kMaxQueries];
  int from = kChunkTokens, to = 0;
  for (int i = 0; i < tile.count; ++i) {
    ranges[i] = mask_range(tile, i, chunk);
    if (ranges[i].to == 0) continue;
    from = ranges[i].from < from ? ranges[i].from : from;
    to = ranges[i].to > to ? ranges[i].to : to;
  }
  score_chunk<kHalf>(tile, chunk, from / kBlockTokens, (to + kBlockTokens - 1) / kBlockTokens, scores);
  for (int i = 0; i < tile.count; ++i) {
    maxima[i] = -__builtin_inff();
    sums[i] = 0.0f;
    if (ranges[i].to == 0) continue;
    exponentials(scores[i], ranges[i], tile.soft_cap, &maxima[i], &sums[i]);
    for (int d = 0; d < tile.head_dim; d += kLanes) store(values[i] + d, zero());
  }
  int i = 0;
  for (; i + kValueQueries <= tile.count; i += kValueQueries)
    accumulate_pv_group<kHalf, kValueQueries>(tile, chunk, ranges + i, scores + i, values + i);
  if constexpr (kValueQueries == 4) {
    if (tile.count - i == 3) return accumulate_pv_group<kHalf, 3>(tile, chunk, ranges + i, scores + i, values + i);
    if (tile.count - i == 2) return accumulate_pv_group<kHalf, 2>(tile, chunk, ranges + i, scores + i, values + i);
  }
  for (; i < tile.count; ++i) accumulate_pv_group<kHalf, 1>(tile, chunk, ranges + i, scores + i, values + i);
}

}  // namespace

void attend_chunk(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  tile.half ? attend<true>(tile, chunk, maxima, sums, values) : attend<false>(tile, chunk, maxima, sums, values);
}

void merge_chunk(float* max_, float* sum, float* values, float chunk_max, float chunk_sum, const float* chunk_values,
                 int head_dim) {
  if (chunk_max == -__builtin_inff() && chunk_sum == 0.0f) return;  // the mask hides the whole chunk from this query
  if (*max_ == -__builtin_inff() && *sum == 0.0f) {
    *max_ = chunk_max;
    *sum = chunk_sum;
    for (int d = 0; d < head_dim; d += kLanes) store(values + d, load(chunk_values + d));
    return;
  }
  const float top = *max_ > chunk_max ? *max_ : chunk_max;
  float factors[kLanes] = {*max_ - top, chunk_max - top};
  store(factors, exp(load(factors)));
  const F old_factor = set(factors[0]), new_factor = set(factors[1]);
  *max_ = top;
  float sums[kLanes] = {chunk_sum * factors[1]};
  store(sums, fma(set(*sum), old_factor, load(sums)));
  *sum = sums[0];
  for (int d = 0; d < head_dim; d += kLanes)
    store(values + d, fma(load(values + d), old_factor, mul(load(chunk_values + d), new_factor)));
}

}  // namespace warploom::cpu::WARPLOOM_ISA
