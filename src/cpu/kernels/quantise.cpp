// Inputs of products in whole codes: 32 of a token share a step.
#include "cpu/kernels/code_scale.h"
#include "cpu/kernels/matmul.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

WARPLOOM_INLINE void quantise_token(const float* x, ActivationBlock& block, int slot) {
  const F first = load(x), second = load(x + kLanes);
  const CodeScale scale(max_lanes(max(magnitude_bits(first), magnitude_bits(second))), 127.0f);
  const I a = scale.codes(first), b = scale.codes(second);
  std::int8_t* q = block.q[slot];
  store_s8(q, a);
  store_s8(q + kLanes, b);
  const std::int32_t first_sum = sum_lanes(a), second_sum = sum_lanes(b);
  block.d[slot] = scale.step;
  block.ds[slot] = scale.step * static_cast<float>(first_sum + second_sum);
  block.first_sum[slot] = first_sum;
  block.second_sum[slot] = second_sum;
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
  sum_pairs(a, b, &block.first_start[slot], &block.second_start[slot]);
#else
  block.first_start[slot] = kDotBias - 32 * first_sum;
  block.second_start[slot] = -32 * second_sum;
#endif
}

#if defined(__AVX2__)
// Four blocks together, of four tokens or of one: what each has one of fills a vector of four.
constexpr int kTogether = 4;

// Reduces each 128 bits of four vectors to four numbers, one of four.
template <typename Reduce>
WARPLOOM_INLINE __m256i reduce_four(const __m256i (&a)[kTogether], const Reduce& reduce) {
  const __m256i x = reduce(_mm256_unpacklo_epi32(a[0], a[1]), _mm256_unpackhi_epi32(a[0], a[1])),
                y = reduce(_mm256_unpacklo_epi32(a[2], a[3]), _mm256_unpackhi_epi32(a[2], a[3]));
  return reduce(_mm256_unpacklo_epi64(x, y), _mm256_unpackhi_epi64(x, y));
}

// What ActivationBlock has of four.
struct FourBlocks {
  __m256i codes[kTogether];
  alignas(16) float d[kTogether], ds[kTogether];
  alignas(16) std::int32_t first_sum[kTogether], second_sum[kTogether], first_start[kTogether], second_start[kTogether];
};

// Lanes in which x is at least `bound`.
WARPLOOM_INLINE __m128 at_least(__m128i x, std::int32_t bound) {
  return _mm_castsi128_ps(_mm_cmpgt_epi32(x, _mm_set1_epi32(bound - 1)));
}

// The largest magnitude_bits() of the 32 inputs at x in some of the lanes.
WARPLOOM_INLINE __m256i magnitudes(const float* x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256i m[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) m[i] = _mm256_castps_si256(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + 8 * i)));
  return _mm256_max_epi32(_mm256_max_epi32(m[0], m[1]), _mm256_max_epi32(m[2], m[3]));
}

// The 32 inputs at x times `inverse`, to the nearest whole numbers.
WARPLOOM_INLINE __m256i codes_of(const float* x, float inverse) {
  __m256i c[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) c[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(inverse)));
  const __m256i mixed = _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
  return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

WARPLOOM_INLINE void store_four(std::int32_t* p, __m128i four) { _mm_store_si128(reinterpret_cast<__m128i*>(p), four); }

// Of the 32 inputs at x and three times `stride` further on. Returns false if one is not finite.
WARPLOOM_INLINE bool quantise_four(const float* x, std::int64_t stride, FourBlocks* out) {
  __m256i largest_of[kTogether];
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) largest_of[i] = magnitudes(x + i * stride);
  const __m256i halves = reduce_four(largest_of, [](__m256i a, __m256i b) { return _mm256_max_epi32(a, b); });
  const __m128i top = _mm_max_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  if (_mm_movemask_ps(at_least(top, CodeScale::kNotFinite)) != 0) return false;
  const __m128 counts = at_least(top, CodeScale::kTiny), codes = _mm_set1_ps(127.0f), largest = _mm_castsi128_ps(top);
  const __m128 step = _mm_and_ps(counts, _mm_div_ps(largest, codes));
  alignas(16) float inverse[kTogether];
  _mm_store_ps(inverse, _mm_and_ps(counts, _mm_div_ps(codes, largest)));
  __m256i pairs[kTogether];  // sums of two codes, 16 bits each
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) {
    out->codes[i] = codes_of(x + i * stride, inverse[i]);
    pairs[i] = _mm256_maddubs_epi16(_mm256_set1_epi8(1), out->codes[i]);
  }
  // Of the four first halves, then of the second ones, even pairs in the lower and odd ones in the upper 16 bits.
  const __m256i pair_sums = reduce_four(pairs, [](__m256i a, __m256i b) { return _mm256_add_epi16(a, b); });
  const __m256i sums = _mm256_madd_epi16(pair_sums, _mm256_set1_epi16(1));
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
  const __m256i starts = _mm256_slli_epi16(pair_sums, 5);
#else
  const __m256i bias = _mm256_set_m128i(_mm_setzero_si128(), _mm_set1_epi32(kDotBias));  // of the first halves
  const __m256i starts = _mm256_sub_epi32(bias, _mm256_slli_epi32(sums, 5));
#endif
  const __m128i first_sums = _mm256_castsi256_si128(sums), second_sums = _mm256_extracti128_si256(sums, 1);
  store_four(out->first_sum, first_sums);
  store_four(out->second_sum, second_sums);
  store_four(out->first_start, _mm256_castsi256_si128(starts));
  store_four(out->second_start, _mm256_extracti128_si256(starts, 1));
  _mm_store_ps(out->d, step);
  _mm_store_ps(out->ds, _mm_mul_ps(step, _mm_cvtepi32_ps(_mm_add_epi32(first_sums, second_sums))));
  return true;
}

WARPLOOM_INLINE void store_codes(std::int8_t* q, __m256i codes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), codes);
}

template <typename T>
WARPLOOM_INLINE void copy_four(const T (&from)[kTogether], T* to) {
  __builtin_memcpy(to, from, sizeof from);
}

// The same block of four tokens, whose rows are `stride` apart, into `slot` and the next three.
WARPLOOM_INLINE void quantise_tokens(const float* x, std::int64_t stride, ActivationBlock& block, int slot) {
  FourBlocks four;
  if (!quantise_four(x, stride, &four)) {
    for (int i = 0; i < kTogether; ++i) quantise_token(x + i * stride, block, slot + i);
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) store_codes(block.q[slot + i], four.codes[i]);
  copy_four(four.d, block.d + slot);
  copy_four(four.ds, block.ds + slot);
  copy_four(four.first_sum, block.first_sum + slot);
  copy_four(four.second_sum, block.second_sum + slot);
  copy_four(four.first_start, block.first_start + slot);
  copy_four(four.second_start, block.second_start + slot);
}

// Four blocks of a token.
WARPLOOM_INLINE void quantise_blocks(const float* x, ActivationBlock* blocks, int slot) {
  FourBlocks four;
  if (!quantise_four(x, kQuantBlockInputs, &four)) {
    for (int i = 0; i < kTogether; ++i) quantise_token(x + i * kQuantBlockInputs, blocks[i], slot);
    return;
  }
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) {
    store_codes(blocks[i].q[slot], four.codes[i]);
    blocks[i].d[slot] = four.d[i];
    blocks[i].ds[slot] = four.ds[i];
    blocks[i].first_sum[slot] = four.first_sum[i];
    blocks[i].second_sum[slot] = four.second_sum[i];
    blocks[i].first_start[slot] = four.first_start[i];
    blocks[i].second_start[slot] = four.second_start[i];
  }
}
#endif

}  // namespace

void quantise_group(const float* x, std::int64_t stride, int tokens, std::int64_t cols, ActivationBlock* blocks) {
  const std::int64_t count = cols / kQuantBlockInputs;
  int t = 0;
#if defined(__AVX2__)
  for (; t + kTogether <= tokens; t += kTogether) {
    for (std::int64_t b = 0; b < count; ++b) quantise_tokens(x + t * stride + b * kQuantBlockInputs, stride, blocks[b], t);
  }
#endif
  for (; t < tokens; ++t) {
    std::int64_t b = 0;
#if defined(__AVX2__)
    for (; b + kTogether <= count; b += kTogether) quantise_blocks(x + t * stride + b * kQuantBlockInputs, blocks + b, t);
#endif
    for (; b < count; ++b) quantise_token(x + t * stride + b * kQuantBlockInputs, blocks[b], t);
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
