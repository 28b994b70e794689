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
  block.first_start[slot] = -32 * first_sum;
  block.second_start[slot] = -32 * second_sum;
#endif
}

#if defined(__AVX512VNNI__)
// Four tokens together: what each has one of fills a vector of four, as it does in the block.
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

// The codes of two tokens, each 32 bytes.
WARPLOOM_INLINE __m512i bytes_of_two(const I* first, const I* second) {
  // In each 128 bits: four codes of the one token's first half, of its second half, and so of the other token.
  const __m512i mixed =
      _mm512_packs_epi16(_mm512_packs_epi32(first[0].v, second[0].v), _mm512_packs_epi32(first[1].v, second[1].v));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), mixed);
}

// Sums of the four tokens' first halves, then of their second halves.
WARPLOOM_INLINE __m256i sums_of_halves(__m512i tokens_0_1, __m512i tokens_2_3) {
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i x = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, tokens_0_1),
                y = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, tokens_2_3);  // each 128 bits are a half
  const __m512i twos = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
  const __m512i sums = _mm512_add_epi32(twos, _mm512_shuffle_epi32(twos, _MM_PERM_BADC));
  const __m512i order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, sums));
}

WARPLOOM_INLINE void quantise_four(const float* x, std::int64_t stride, ActivationBlock& block, int slot) {
  F first[kTogether], second[kTogether];
  I magnitudes[kTogether];
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
    first[t] = load(x + t * stride);
    second[t] = load(x + t * stride + kLanes);
    magnitudes[t] = max(magnitude_bits(first[t]), magnitude_bits(second[t]));
  }
  const __m128i top = maxima_of_four(magnitudes);
  if (_mm_cmp_epi32_mask(top, _mm_set1_epi32(CodeScale::kNotFinite), _MM_CMPINT_NLT) != 0) {
    for (int t = 0; t < kTogether; ++t) quantise_token(x + t * stride, block, slot + t);
    return;
  }
  const __mmask8 large = _mm_cmp_epi32_mask(top, _mm_set1_epi32(CodeScale::kTiny), _MM_CMPINT_NLT);
  const __m128 codes = _mm_set1_ps(127.0f), largest = _mm_castsi128_ps(top);
  const __m128 step = _mm_maskz_div_ps(large, largest, codes);
  alignas(16) float inverse[kTogether];
  _mm_store_ps(inverse, _mm_maskz_div_ps(large, codes, largest));
  I a[kTogether], b[kTogether];
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
    const F scale = set(inverse[t]);
    a[t] = to_int(mul(first[t], scale));
    b[t] = to_int(mul(second[t], scale));
  }
  const __m512i tokens_0_1 = bytes_of_two(a, b), tokens_2_3 = bytes_of_two(a + 2, b + 2);
  _mm512_storeu_si512(block.q[slot], tokens_0_1);
  _mm512_storeu_si512(block.q[slot + 2], tokens_2_3);
  const __m256i sums = sums_of_halves(tokens_0_1, tokens_2_3);
  const __m128i first_sums = _mm256_castsi256_si128(sums), second_sums = _mm256_extracti128_si256(sums, 1);
  const auto put = [slot](auto* to, __m128i four) __attribute__((always_inline)) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + slot), four);
  };
  put(block.d, _mm_castps_si128(step));
  put(block.ds, _mm_castps_si128(_mm_mul_ps(step, _mm_cvtepi32_ps(_mm_add_epi32(first_sums, second_sums)))));
  put(block.first_sum, first_sums);
  put(block.second_sum, second_sums);
  const __m128i zero = _mm_setzero_si128();
  put(block.first_start, _mm_sub_epi32(zero, _mm_slli_epi32(first_sums, 5)));
  put(block.second_start, _mm_sub_epi32(zero, _mm_slli_epi32(second_sums, 5)));
}
#endif

}  // namespace

void quantise_group(const float* x, std::int64_t stride, int tokens, std::int64_t cols, ActivationBlock* blocks) {
  int t = 0;
#if defined(__AVX512VNNI__)
  for (; t + kTogether <= tokens; t += kTogether) {
    for (std::int64_t b = 0; b < cols / kQuantBlockInputs; ++b)
      quantise_four(x + t * stride + b * kQuantBlockInputs, stride, blocks[b], t);
  }
#endif
  for (; t < tokens; ++t) {
    for (std::int64_t b = 0; b < cols / kQuantBlockInputs; ++b)
      quantise_token(x + t * stride + b * kQuantBlockInputs, blocks[b], t);
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
