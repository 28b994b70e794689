// One chunk of a context in int8 against up to kMaxQueries queries. Queries are whole numbers like keys, and so are the products of
// probabilities and the values' scales: 7 bits of the largest one in the chunk. Sums of products are whole numbers, exact in any
// order, so that only scales and the softmax round:
//   score = sum over groups of kInt8Group dimensions, in order, of (key scale * query scale) * dot product
//   value = (largest / 127) * sum of codes of probabilities * codes of values, over the tokens of the chunk.
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

// Queries, and blocks or vectors of values, at a time: as many sums as registers hold.
#if defined(__AVX512F__)
constexpr int kMostQueries = 6;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 8 : 4; }
constexpr int kMostVectors = 4;
#else
constexpr int kMostQueries = 2;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 4 : 2; }
constexpr int kMostVectors = 2;
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
  const bool fetch_values = tile.count <= kMostQueries;  // they are read next; for more queries, all was fetched before
  for (int g = 0; g * kGroupQuads < quads; ++g) {
    I dots[kQueries][kBlocks];
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) dots[i][b] = start_sum(queries[i].sums[g]);
    const int end = (g + 1) * kGroupQuads < quads ? (g + 1) * kGroupQuads : quads;
    for (int quad = g * kGroupQuads; quad < end; ++quad) {
      if (fetch_values) fetch_line<kBlocks>(keys, tile.int8.values + quad * kQuadBytes, tile.fetch);
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

// 2^x for x <= 0, with a relative error below 3e-6: probabilities are rounded to 7 bits. Below -125 it is 2^-125. NaN stays NaN
// if the lower 9 bits of it are 0, as they are in those of scales.
WARPLOOM_INLINE F exp2_of_negative(F x) {
  const F clamped = max(set(-125.0f), x), magic = set(0x1.8p23f);
  const F shifted = add(clamped, magic);  // its lower bits are x as a whole number
  const F r = sub(clamped, sub(shifted, magic));
  F p = set(9.58283e-3f);
  p = fma(p, r, set(5.59064e-2f));
  p = fma(p, r, set(2.4024099e-1f));
  p = fma(p, r, set(6.931242e-1f));
  p = fma(p, r, set(1.0f));
  return from_bits(add(bits(p), shift_left_23(bits(shifted))));
}

// Makes weights of values, probability times scale, of scores. Returns the magnitude_bits() of the largest.
WARPLOOM_INLINE std::int32_t weigh(const AttentionTile& tile, Range range, float maximum, float* scores, float* total) {
  const F m = set(maximum);
  F sum = zero();
  I top = set_int(0);
  const Blocks blocks = blocks_of(range);
  for (int b = blocks.from; b < blocks.to; ++b) {
    const F p = exp2_of_negative(mul(sub(load(scores + b * kBlockTokens), m), set(1.44269504f)));
    // Some scales are of no token. They are 0 in the product, too: one below 2^-126 takes an Intel core some 150 cycles.
    const F scales = masked(range, b, load(scales_at(block_at(tile.kv, b) + tile.int8.value_scales)), zero());
    const F weight = masked(range, b, mul(p, scales), zero());
    store(scores + b * kBlockTokens, weight);
    sum = add(sum, p);  // masked ones do not count beside the largest, which is 1
    top = max(top, magnitude_bits(weight));
  }
  *total = sum_lanes(sum);
  return max_lanes(top);
}

// Weights as whole codes times `step`, in [first, end) and 0 out of their range.
struct ValueWeights {
  alignas(64) std::int8_t codes[kChunkTokens];
  float step;

  WARPLOOM_INLINE_MEMBER void set(Range range, Blocks all, std::int32_t largest, const float* weights) {
    const CodeScale scale(largest, 127.0f);
    const Blocks own = blocks_of(range);
    for (int b = all.from; b < all.to; ++b)
      store_s8(codes + b * kBlockTokens,
               b >= own.from && b < own.to ? scale.codes(load(weights + b * kBlockTokens)) : set_int(0));
    step = scale.step;
  }
};

// values[i] = the weighted sum of the blocks [first, end) for 16 kVectors dimensions.
template <int kQueries, int kVectors>
WARPLOOM_INLINE void accumulate_dims(const AttentionTile& tile, int first, int end, int dim, const NextBlocks* next,
                                     const ValueWeights* weights, float* const* values) {
  I sums[kQueries][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[i][j] = set_int(0);
  for (int b = first; b < end; ++b) {
    const std::uint8_t* at = codes_at(block_at(tile.kv, b) + tile.int8.values) + 4 * dim;
    if (next) next->during(b).fetch_one();
    for (int quad = b * kBlockQuads; quad < (b + 1) * kBlockQuads; ++quad, at += 4 * tile.head_dim) {
      B v[kVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) v[j] = load_bytes(at + j * kQuadBytes);
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sums[i][j] = add_values(sums[i][j], v[j], weights[i].codes + 4 * quad);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(values[i] + dim + j * kLanes, mul(to_float(sums[i][j]), set(weights[i].step)));
}

}  // namespace

void attend_chunk_int8(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  alignas(64) float scores[kMaxQueries][kChunkTokens];
  ValueWeights weights[kMaxQueries];
  Range ranges[kMaxQueries];
  std::int32_t largest[kMaxQueries];
  const Blocks all = blocks_of(mask_ranges(tile, chunk, ranges));
  score_chunk(tile, all.from, all.to, scores);
  // All queries take a step before the next one, whose wait for results over lanes overlaps with other queries' work.
  for (int i = 0; i < tile.count; ++i) maxima[i] = mask_scores(ranges[i], tile.soft_cap, scores[i]);
  for (int i = 0; i < tile.count; ++i) largest[i] = weigh(tile, ranges[i], maxima[i], scores[i], &sums[i]);
  for (int i = 0; i < tile.count; ++i) weights[i].set(ranges[i], all, largest[i], scores[i]);
  const NextBlocks next(tile, 1);
  in_parts<kMostQueries>(
      tile.count, [&](auto queries, int first) __attribute__((always_inline)) {
        constexpr int kQueries = queries(), kVectors = kMostVectors;
        int dim = 0;
        for (; dim + kVectors * kLanes <= tile.head_dim; dim += kVectors * kLanes)
          accumulate_dims<kQueries, kVectors>(tile, all.from, all.to, dim, first == 0 && dim == 0 ? &next : nullptr,
                                              weights + first, values + first);
        for (; dim < tile.head_dim; dim += kLanes)
          accumulate_dims<kQueries, 1>(tile, all.from, all.to, dim, first == 0 && dim == 0 ? &next : nullptr,
                                       weights + first, values + first);
      });
}

}  // namespace warploom::cpu::WARPLOOM_ISA
