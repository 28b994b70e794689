// Inputs of products in whole codes: 32 of a token share a step.
#include <type_traits>

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
  block.first_start[slot] = -32 * first_sum;
  block.second_start[slot] = -32 * second_sum;
#endif
}

#if defined(__AVX512VNNI__)
// Four blocks together, of four tokens or of one: what each has one of fills a vector of four.
constexpr int kTogether = 4;

WARPLOOM_INLINE __m128i maxima_of_four(const I (&a)[kTogether]) {
  const auto interleaved = [](__m512i x, __m512i y) __attribute__((always_inline)) {
    return _mm512_max_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
  };
  const __m512i x = interleaved(a[0].v, a[1].v), y = interleaved(a[2].v, a[3].v);  // 0 1 0 1 and 2 3 2 3 in each 128 bits
  const __m512i all = _mm512_max_epi32(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
  const __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
}

// The codes of two blocks, each 32 bytes.
WARPLOOM_INLINE __m512i bytes_of_two(const I* first, const I* second) {
  // In each 128 bits: four codes of the one block's first half, of its second half, and so of the other block.
  const __m512i mixed =
      _mm512_packs_epi16(_mm512_packs_epi32(first[0].v, second[0].v), _mm512_packs_epi32(first[1].v, second[1].v));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), mixed);
}

// Sums of the four blocks' first halves, then of their second halves.
WARPLOOM_INLINE __m256i sums_of_halves(__m512i blocks_0_1, __m512i blocks_2_3) {
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i x = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, blocks_0_1),
                y = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, blocks_2_3);  // each 128 bits are a half
  const __m512i twos = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
  const __m512i sums = _mm512_add_epi32(twos, _mm512_shuffle_epi32(twos, _MM_PERM_BADC));
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, sums));
}

// What ActivationBlock has of each.
struct FourBlocks {
  __m512i codes_0_1, codes_2_3;
  __m128i d, ds, first_sum, second_sum, first_start, second_start;
};

// Of the 32 inputs at x and three times `stride` further on. Returns false if one is not finite.
WARPLOOM_INLINE bool quantise_four(const float* x, std::int64_t stride, FourBlocks* out) {
  F first[kTogether], second[kTogether];
  I magnitudes[kTogether];
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) {
    first[i] = load(x + i * stride);
    second[i] = load(x + i * stride + kLanes);
    magnitudes[i] = max(magnitude_bits(first[i]), magnitude_bits(second[i]));
  }
  const __m128i top = maxima_of_four(magnitudes);
  if (_mm_cmp_epi32_mask(top, _mm_set1_epi32(CodeScale::kNotFinite), _MM_CMPINT_NLT) != 0) return false;
  const __mmask8 large = _mm_cmp_epi32_mask(top, _mm_set1_epi32(CodeScale::kTiny), _MM_CMPINT_NLT);
  const __m128 codes = _mm_set1_ps(127.0f), largest = _mm_castsi128_ps(top);
  const __m128 step = _mm_maskz_div_ps(large, largest, codes);
  alignas(16) float inverse[kTogether];
  _mm_store_ps(inverse, _mm_maskz_div_ps(large, codes, largest));
  I a[kTogether], b[kTogether];
#pragma GCC unroll 4
  for (int i = 0; i < kTogether; ++i) {
    const F scale = set(inverse[i]);
    a[i] = to_int(mul(first[i], scale));
    b[i] = to_int(mul(second[i], scale));
  }
  out->codes_0_1 = bytes_of_two(a, b);
  out->codes_2_3 = bytes_of_two(a + 2, b + 2);
  const __m256i sums = sums_of_halves(out->codes_0_1, out->codes_2_3);
  out->first_sum = _mm256_castsi256_si128(sums);
  out->second_sum = _mm256_extracti128_si256(sums, 1);
  out->d = _mm_castps_si128(step);
  out->ds = _mm_castps_si128(_mm_mul_ps(step, _mm_cvtepi32_ps(_mm_add_epi32(out->first_sum, out->second_sum))));
  const __m128i zero = _mm_setzero_si128();
  out->first_start = _mm_sub_epi32(zero, _mm_slli_epi32(out->first_sum, 5));
  out->second_start = _mm_sub_epi32(zero, _mm_slli_epi32(out->second_sum, 5));
  return true;
}

// The same block of four tokens, whose rows are `stride` apart, into `slot` and the next three.
WARPLOOM_INLINE void quantise_tokens(const float* x, std::int64_t stride, ActivationBlock& block, int slot) {
  FourBlocks four;
  if (!quantise_four(x, stride, &four)) {
    for (int i = 0; i < kTogether; ++i) quantise_token(x + i * stride, block, slot + i);
    return;
  }
  _mm512_storeu_si512(block.q[slot], four.codes_0_1);
  _mm512_storeu_si512(block.q[slot + 2], four.codes_2_3);
  const auto put = [slot](auto* to, __m128i values) __attribute__((always_inline)) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + slot), values);
  };
  put(block.d, four.d);
  put(block.ds, four.ds);
  put(block.first_sum, four.first_sum);
  put(block.second_sum, four.second_sum);
  put(block.first_start, four.first_start);
  put(block.second_start, four.second_start);
}

// Four blocks of a token.
WARPLOOM_INLINE void quantise_blocks(const float* x, ActivationBlock* blocks, int slot) {
  FourBlocks four;
  if (!quantise_four(x, kQuantBlockInputs, &four)) {
    for (int i = 0; i < kTogether; ++i) quantise_token(x + i * kQuantBlockInputs, blocks[i], slot);
    return;
  }
  const auto put_codes = [slot](ActivationBlock * to, __m512i two) __attribute__((always_inline)) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0].q[slot]), _mm512_castsi512_si256(two));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[1].q[slot]), _mm512_extracti64x4_epi64(two, 1));
  };
  put_codes(blocks, four.codes_0_1);
  put_codes(blocks + 2, four.codes_2_3);
  const auto put = [ slot, blocks ](auto member, __m128i values) __attribute__((always_inline)) {
    std::remove_reference_t<decltype((blocks->*member)[0])> each[kTogether];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(each), values);
#pragma GCC unroll 4
    for (int i = 0; i < kTogether; ++i) (blocks[i].*member)[slot] = each[i];
  };
  put(&ActivationBlock::d, four.d);
  put(&ActivationBlock::ds, four.ds);
  put(&ActivationBlock::first_sum, four.first_sum);
  put(&ActivationBlock::second_sum, four.second_sum);
  put(&ActivationBlock::first_start, four.first_start);
  put(&ActivationBlock::second_start, four.second_start);
}
#endif

}  // namespace

void quantise_group(const float* x, std::int64_t stride, int tokens, std::int64_t cols, ActivationBlock* blocks) {
  const std::int64_t count = cols / kQuantBlockInputs;
  int t = 0;
#if defined(__AVX512VNNI__)
  for (; t + kTogether <= tokens; t += kTogether) {
    for (std::int64_t b = 0; b < count; ++b) quantise_tokens(x + t * stride + b * kQuantBlockInputs, stride, blocks[b], t);
  }
#endif
  for (; t < tokens; ++t) {
    std::int64_t b = 0;
#if defined(__AVX512VNNI__)
    for (; b + kTogether <= count; b += kTogether) quantise_blocks(x + t * stride + b * kQuantBlockInputs, blocks + b, t);
#endif
    for (; b < count; ++b) quantise_token(x + t * stride + b * kQuantBlockInputs, blocks[b], t);
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
