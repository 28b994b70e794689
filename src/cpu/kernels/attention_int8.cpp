// One chunk of a context in int8 against up to kMaxQueries queries. Queries are whole numbers like keys, and so are the products of
// probabilities and the values' scales: 14 bits of the largest one in the chunk, in two parts of 7 bits. Sums of products are
// whole numbers, exact in any order, so that only scales and the softmax round:
//   score = sum over groups of kInt8Group dimensions, in order, of (key scale * query scale) * dot product
//   value = (largest / 16383) * sum of codes of probabilities * codes of values, over the tokens of the chunk.
// How keys and values lie: cpu/kv_cache.h.
#include <type_traits>

#include "cpu/kernels/attention.h"
#include "cpu/kernels/attention_chunk.h"
#include "cpu/kernels/code_scale.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

constexpr int kQuadBytes = 4 * kLanes;  // four codes a lane
constexpr int kGroupQuads = kInt8Group / 4;
constexpr int kBlockQuads = kBlockTokens / 4;
constexpr int kChunkBlocks = kChunkTokens / kBlockTokens;

// Queries, and blocks or vectors of values, at a time: as many sums as registers hold. Values have two each.
#if defined(__AVX512F__)
constexpr int kMostQueries = 6;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 8 : 4; }
constexpr int vectors_at_once(int queries) { return queries <= 3 ? 4 : 2; }
#else
constexpr int kMostQueries = 2;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 4 : 2; }
constexpr int vectors_at_once(int) { return 1; }
#endif

// Sums of products of keys, stored plus 128, with four codes of a query, the sum of all of which is x_sum.
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
WARPLOOM_INLINE I start_sum(std::int32_t) { return set_int(0); }
WARPLOOM_INLINE I add_keys(I sum, B keys, const std::int8_t* x) {
  return add(sum, widen_pairs(signed_pair_products(keys, x)));
}
#else
WARPLOOM_INLINE I start_sum(std::int32_t x_sum) { return set_int(-128 * x_sum); }
WARPLOOM_INLINE I add_keys(I sum, B keys, const std::int8_t* x) {
  sum = add_products(sum, keys, x);
  pin(sum);
  return sum;
}
#endif

// Sums of products of values with four codes in [0, 127].
WARPLOOM_INLINE I add_values(I sum, B values, const std::int8_t* x) {
  sum = add_signed_products(sum, values, x);
  pin(sum);
  return sum;
}

WARPLOOM_INLINE const std::uint8_t* codes_at(const std::byte* p) { return reinterpret_cast<const std::uint8_t*>(p); }
WARPLOOM_INLINE const float* scales_at(const std::byte* p) { return reinterpret_cast<const float*>(p); }

// The scores of the queries from `first` with the blocks [from, from + kBlocks) of the chunk.
template <int kQueries, int kBlocks>
WARPLOOM_INLINE void score_some(const AttentionTile& tile, int first, int from, float (*scores)[kChunkTokens]) {
  const std::byte* keys[kBlocks];
  for (int b = 0; b < kBlocks; ++b) keys[b] = block_at(tile.kv, from + b);
  const Int8Head* queries = tile.int8_queries + first;
  const int quads = (tile.head_dim + 3) / 4;
  for (int g = 0; g * kGroupQuads < quads; ++g) {
    I dots[kQueries][kBlocks];
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) dots[i][b] = start_sum(queries[i].sums[g]);
    const int end = (g + 1) * kGroupQuads < quads ? (g + 1) * kGroupQuads : quads;
    for (int quad = g * kGroupQuads; quad < end; ++quad) {
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) fetch(keys[b] + tile.int8.values + quad * kQuadBytes);  // the values are read next
      B k[kBlocks];
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) k[b] = load_bytes(codes_at(keys[b]) + quad * kQuadBytes);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
        for (int b = 0; b < kBlocks; ++b) dots[i][b] = add_keys(dots[i][b], k[b], queries[i].codes + 4 * quad);
    }
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      const F key_scales = load(scales_at(keys[b] + tile.int8.key_scales) + g * kBlockTokens);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i) {
        float* out = scores[first + i] + (from + b) * kBlockTokens;
        const F dot = to_float(dots[i][b]), scale = mul(key_scales, set(queries[i].scales[g]));
        store(out, g == 0 ? mul(dot, scale) : fma(dot, scale, load(out)));
      }
    }
  }
}

// All queries read a few blocks before the next ones.
WARPLOOM_INLINE void score_chunk(const AttentionTile& tile, int from, int to, float (*scores)[kChunkTokens]) {
  const int at_once = tile.count > kMostQueries ? 4 : kChunkBlocks;
  for (int end; from < to; from = end) {
    end = from + at_once < to ? from + at_once : to;
    in_parts<kMostQueries>(
        tile.count, [&](auto queries, int first) __attribute__((always_inline)) {
          constexpr int kQueries = queries(), kAtOnce = blocks_at_once(kQueries);
          int b = from;
          for (; b + kAtOnce <= end; b += kAtOnce) score_some<kQueries, kAtOnce>(tile, first, b, scores);
          for (; b < end; ++b) score_some<kQueries, 1>(tile, first, b, scores);
        });
  }
}

// The weights of a query's values, probability times scale, as 128 * upper + lower times `step`; 0 outside of its range.
struct ValueWeights {
  alignas(64) std::int8_t upper[kChunkTokens], lower[kChunkTokens];
  float step;

  // p: probabilities, which are overwritten.
  WARPLOOM_INLINE_MEMBER void set_codes(const AttentionTile& tile, Range range, int first, int end, float* p) {
    const int own_first = range.from / kBlockTokens, own_end = (range.to + kBlockTokens - 1) / kBlockTokens;
    I top = set_int(0);
    for (int b = own_first; b < own_end; ++b) {
      const F scales = load(scales_at(block_at(tile.kv, b) + tile.int8.value_scales));
      F weight = mul(load(p + b * kBlockTokens), scales);
      const int from = range.from - b * kBlockTokens, to = range.to - b * kBlockTokens;
      if (from > 0 || to < kBlockTokens) weight = select_range(from, to, weight, zero());  // scales may be of no token
      store(p + b * kBlockTokens, weight);
      top = max(top, magnitude_bits(weight));
    }
    const CodeScale scale(max_lanes(top), 16383.0f);
    for (int b = first; b < end; ++b) {
      const I codes = b >= own_first && b < own_end ? scale.codes(load(p + b * kBlockTokens)) : set_int(0);
      store_s8(upper + b * kBlockTokens, shift_right_7(codes));
      store_s8(lower + b * kBlockTokens, and_(codes, set_int(127)));
    }
    step = scale.step;
  }
};

// values[i] = the weighted sum of the blocks [first, end) for 16 kVectors dimensions.
template <int kQueries, int kVectors>
WARPLOOM_INLINE void accumulate_dims(const AttentionTile& tile, int first, int end, int dim, const NextBlocks* next,
                                     const ValueWeights* weights, float* const* values) {
  I upper[kQueries][kVectors], lower[kQueries][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      upper[i][j] = set_int(0);
      lower[i][j] = set_int(0);
    }
  for (int b = first; b < end; ++b) {
    const std::uint8_t* at = codes_at(block_at(tile.kv, b) + tile.int8.values) + 4 * dim;
    if (next) {
      for (int t = b * kBlockTokens; t < (b + 1) * kBlockTokens; ++t) next->fetch_share(t);
    }
    for (int quad = b * kBlockQuads; quad < (b + 1) * kBlockQuads; ++quad, at += 4 * tile.head_dim) {
      B v[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) v[j] = load_bytes(at + j * kQuadBytes);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) {
          upper[i][j] = add_values(upper[i][j], v[j], weights[i].upper + 4 * quad);
          lower[i][j] = add_values(lower[i][j], v[j], weights[i].lower + 4 * quad);
        }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      // Both parts are below 2^24; their sum is rounded once.
      const F sum = fma(to_float(upper[i][j]), set(128.0f), to_float(lower[i][j]));
      store(values[i] + dim + j * kLanes, mul(sum, set(weights[i].step)));
    }
}

}  // namespace

void attend_chunk_int8(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  alignas(64) float scores[kMaxQueries][kChunkTokens];
  ValueWeights weights[kMaxQueries];
  Range ranges[kMaxQueries];
  const Range all = mask_ranges(tile, chunk, ranges);
  const int first_block = all.from / kBlockTokens, end_block = (all.to + kBlockTokens - 1) / kBlockTokens;
  score_chunk(tile, first_block, end_block, scores);
  for (int i = 0; i < tile.count; ++i) {
    maxima[i] = -__builtin_inff();
    sums[i] = 0.0f;
    if (ranges[i].to != 0) exponentials(scores[i], ranges[i], tile.soft_cap, &maxima[i], &sums[i]);
    weights[i].set_codes(tile, ranges[i], first_block, end_block, scores[i]);
  }
  const NextBlocks next(tile);
  in_parts<kMostQueries>(
      tile.count, [&](auto queries, int first) __attribute__((always_inline)) {
        constexpr int kQueries = queries(), kVectors = vectors_at_once(kQueries);
        int dim = 0;
        for (; dim + kVectors * kLanes <= tile.head_dim; dim += kVectors * kLanes)
          accumulate_dims<kQueries, kVectors>(tile, first_block, end_block, dim, first == 0 && dim == 0 ? &next : nullptr,
                                              weights + first, values + first);
        for (; dim < tile.head_dim; dim += kLanes)
          accumulate_dims<kQueries, 1>(tile, first_block, end_block, dim, first == 0 && dim == 0 ? &next : nullptr,
                                       weights + first, values + first);
      });
}

}  // namespace warploom::cpu::WARPLOOM_ISA
