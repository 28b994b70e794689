// Vectors of 16 lanes as two halves on AVX2, with AVX-VNNI if it is enabled. Only cpu/simd.h includes this file.
#pragma once

#include <immintrin.h>

namespace warploom::cpu::WARPLOOM_ISA {

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
struct B {
  __m256i a, b;
};

WARPLOOM_INLINE __m256 low_half(F x) { return x.a; }
WARPLOOM_INLINE __m256 high_half(F x) { return x.b; }
WARPLOOM_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
WARPLOOM_INLINE F load_part(const float* p, int n) {
  float v[16];
  for (int i = 0; i < 16; ++i) v[i] = i < n ? p[i] : -__builtin_inff();
  return load(v);
}
WARPLOOM_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
WARPLOOM_INLINE F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
WARPLOOM_INLINE F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
WARPLOOM_INLINE F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
WARPLOOM_INLINE F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
WARPLOOM_INLINE F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
WARPLOOM_INLINE F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
WARPLOOM_INLINE F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
WARPLOOM_INLINE F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
WARPLOOM_INLINE F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
WARPLOOM_INLINE F round_even(F x) {
  return {_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
WARPLOOM_INLINE F to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
WARPLOOM_INLINE I to_int(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
WARPLOOM_INLINE I bits(F x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
WARPLOOM_INLINE F from_bits(I x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
WARPLOOM_INLINE I set_int(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
WARPLOOM_INLINE I add(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
WARPLOOM_INLINE I and_(I x, I y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
WARPLOOM_INLINE I shift_left_16(I x) { return {_mm256_slli_epi32(x.a, 16), _mm256_slli_epi32(x.b, 16)}; }
WARPLOOM_INLINE I shift_right_16(I x) { return {_mm256_srli_epi32(x.a, 16), _mm256_srli_epi32(x.b, 16)}; }
WARPLOOM_INLINE I shift_left_23(I x) { return {_mm256_slli_epi32(x.a, 23), _mm256_slli_epi32(x.b, 23)}; }
WARPLOOM_INLINE I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
WARPLOOM_INLINE F select_range(int from, int to, F x, F y) {
  const __m256i first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i second = _mm256_add_epi32(first, _mm256_set1_epi32(8));
  const __m256i low = _mm256_set1_epi32(from - 1), high = _mm256_set1_epi32(to);
  const __m256i in_a = _mm256_and_si256(_mm256_cmpgt_epi32(first, low), _mm256_cmpgt_epi32(high, first));
  const __m256i in_b = _mm256_and_si256(_mm256_cmpgt_epi32(second, low), _mm256_cmpgt_epi32(high, second));
  return {_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(in_a)), _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(in_b))};
}
WARPLOOM_INLINE F select_less(F x, F y, F t, F f) {
  return {_mm256_blendv_ps(f.a, t.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(f.b, t.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}
WARPLOOM_INLINE F load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
WARPLOOM_INLINE void store_f16(std::uint16_t* p, F x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
WARPLOOM_INLINE __m256 widen_bf16(const std::uint16_t* p) {
  const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
}
WARPLOOM_INLINE F load_bf16(const std::uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
WARPLOOM_INLINE F load_u8(const std::uint8_t* p) {
  const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(narrow)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(narrow, 8)))};
}
WARPLOOM_INLINE F load_s8(const std::int8_t* p) {
  const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(narrow)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(narrow, 8)))};
}
WARPLOOM_INLINE void store_s8(std::int8_t* p, I x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
struct U {
  __m256i v[4];
};
WARPLOOM_INLINE U zero_wide() {
  const __m256i z = _mm256_setzero_si256();
  return {{z, z, z, z}};
}
WARPLOOM_INLINE U add(U x, U y) {
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_add_epi64(x.v[i], y.v[i]);
  return x;
}
WARPLOOM_INLINE F scale_by(F x, F n) {
  const I e = to_int(n);
  return from_bits({_mm256_add_epi32(_mm256_castps_si256(x.a), _mm256_slli_epi32(e.a, 23)),
                    _mm256_add_epi32(_mm256_castps_si256(x.b), _mm256_slli_epi32(e.b, 23))});
}
WARPLOOM_INLINE __m256i widen_quarter(__m128i v, __m128i by) {
  return _mm256_srlv_epi64(_mm256_slli_epi64(_mm256_cvtepu32_epi64(v), 17), _mm256_cvtepu32_epi64(by));
}
// x is mantissa * 2^(exponent - 150), so its integer part is mantissa * 2^17 >> (167 - exponent); shifts above 63 give 0.
WARPLOOM_INLINE void truncate_half(__m256 x, __m256i* out) {
  const __m256i b = _mm256_castps_si256(x), one = _mm256_set1_epi32(0x800000);
  const __m256i mantissa = _mm256_or_si256(_mm256_and_si256(b, _mm256_set1_epi32(0x7fffff)), one);
  const __m256i by = _mm256_sub_epi32(_mm256_set1_epi32(167), _mm256_srli_epi32(b, 23));
  out[0] = widen_quarter(_mm256_castsi256_si128(mantissa), _mm256_castsi256_si128(by));
  out[1] = widen_quarter(_mm256_extracti128_si256(mantissa, 1), _mm256_extracti128_si256(by, 1));
}
WARPLOOM_INLINE U truncate(F x) {
  U r;
  truncate_half(x.a, r.v);
  truncate_half(x.b, r.v + 2);
  return r;
}
WARPLOOM_INLINE void store(std::uint64_t* p, U x) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 4 * i), x.v[i]);
}
WARPLOOM_INLINE U at_least(U x, std::uint64_t min) {
  // Weights are below 2^63, so a signed comparison is correct.
  const __m256i below = _mm256_set1_epi64x(static_cast<long long>(min) - 1);
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_and_si256(x.v[i], _mm256_cmpgt_epi64(x.v[i], below));
  return x;
}
WARPLOOM_INLINE int count_nonzero(U x) {
  int zeros = 0;
  for (int i = 0; i < 4; ++i)
    zeros += __builtin_popcount(
        static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(x.v[i], _mm256_setzero_si256())))));
  return 16 - zeros;
}
WARPLOOM_INLINE I load(const std::uint32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
WARPLOOM_INLINE unsigned two_masks(__m256 a, __m256 b) {
  return static_cast<unsigned>(_mm256_movemask_ps(a)) | (static_cast<unsigned>(_mm256_movemask_ps(b)) << 8);
}
WARPLOOM_INLINE unsigned mask_ge(F x, F y) {
  return two_masks(_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ));
}
WARPLOOM_INLINE unsigned mask_bad(F x) {
  const __m256 infinity = _mm256_set1_ps(__builtin_inff());
  return two_masks(_mm256_cmp_ps(x.a, infinity, _CMP_NLT_UQ), _mm256_cmp_ps(x.b, infinity, _CMP_NLT_UQ));
}
WARPLOOM_INLINE I count_from(std::uint32_t first) {
  const __m256i start = _mm256_set1_epi32(static_cast<int>(first));
  return {_mm256_add_epi32(start, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
          _mm256_add_epi32(start, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}
WARPLOOM_INLINE int write_lanes(F x, I id, unsigned mask, float* values, std::uint32_t* ids) {
  float v[16];
  std::uint32_t n[16];
  store(v, x);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(n), id.a), _mm256_storeu_si256(reinterpret_cast<__m256i*>(n + 8), id.b);
  int count = 0;
  for (; mask != 0; mask &= mask - 1) {
    const int i = __builtin_ctz(mask);
    values[count] = v[i];
    ids[count++] = n[i];
  }
  return count;
}
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
WARPLOOM_INLINE void store(std::uint8_t* p, B x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.a), _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), x.b);
}
WARPLOOM_INLINE B low_nibbles(B x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
WARPLOOM_INLINE B high_nibbles(B x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(x.a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(x.b, 4), mask)};
}
WARPLOOM_INLINE __m256i expand_bits(const std::uint8_t* mask, std::int8_t value) {
  std::int32_t m;
  __builtin_memcpy(&m, mask, sizeof m);
  const __m256i spread = _mm256_shuffle_epi8(
      _mm256_set1_epi32(m),
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3));
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), _mm256_set1_epi8(value));
}
WARPLOOM_INLINE B add_masked(B x, const std::uint8_t* mask, std::int8_t value) {
  return {_mm256_add_epi8(x.a, expand_bits(mask, value)), _mm256_add_epi8(x.b, expand_bits(mask + 4, value))};
}
template <int kPair>
WARPLOOM_INLINE __m256i add_pairs_of_bits(__m256i x, __m256i y) {
  constexpr int kLeft = 4 - 2 * kPair;
  const __m256i at_16 =
      kLeft >= 0 ? _mm256_slli_epi16(y, kLeft >= 0 ? kLeft : 0) : _mm256_srli_epi16(y, kLeft < 0 ? -kLeft : 0);
  return _mm256_or_si256(x, _mm256_and_si256(at_16, _mm256_set1_epi8(0x30)));
}
template <int kPair>
WARPLOOM_INLINE B add_pairs_of_bits(B x, B y) {
  return {add_pairs_of_bits<kPair>(x.a, y.a), add_pairs_of_bits<kPair>(x.b, y.b)};
}

WARPLOOM_INLINE std::int32_t max_lanes(I x) {
  std::int32_t v[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(v), _mm256_max_epi32(x.a, x.b));
  std::int32_t m = v[0];
  for (int i = 1; i < 8; ++i) m = v[i] > m ? v[i] : m;
  return m;
}
WARPLOOM_INLINE std::int32_t sum_lanes(I x) {
  std::int32_t v[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(v), _mm256_add_epi32(x.a, x.b));
  std::int32_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += v[i];
  return sum;
}

WARPLOOM_INLINE __m256i broadcast_four(const std::int8_t* x) {
  std::int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

WARPLOOM_INLINE void pin(I& x) { asm volatile("" : "+x"(x.a), "+x"(x.b)); }

#if defined(__AVXVNNI__)
WARPLOOM_INLINE I add_signed_products(I sum, B w, const std::int8_t* x) {
  const __m256i four = broadcast_four(x);
  return {_mm256_dpbusd_avx_epi32(sum.a, four, w.a), _mm256_dpbusd_avx_epi32(sum.b, four, w.b)};
}
WARPLOOM_INLINE I add_products(I sum, B w, const std::int8_t* x) {
  const __m256i four = broadcast_four(x);
  return {_mm256_dpbusd_avx_epi32(sum.a, w.a, four), _mm256_dpbusd_avx_epi32(sum.b, w.b, four)};
}
#else
#define WARPLOOM_PRODUCTS_IN_PAIRS
WARPLOOM_INLINE I add_signed_products(I sum, B w, const std::int8_t* x) {
  const __m256i ones = _mm256_set1_epi16(1), four = broadcast_four(x);
  return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(_mm256_maddubs_epi16(four, w.a), ones)),
          _mm256_add_epi32(sum.b, _mm256_madd_epi16(_mm256_maddubs_epi16(four, w.b), ones))};
}
WARPLOOM_INLINE I pair_products(B w, const std::int8_t* x) {
  const __m256i four = broadcast_four(x);
  return {_mm256_maddubs_epi16(w.a, four), _mm256_maddubs_epi16(w.b, four)};
}
WARPLOOM_INLINE I signed_pair_products(B w, const std::int8_t* x) {
  const __m256i bias = _mm256_set1_epi8(-128), four = broadcast_four(x);
  const __m256i a = _mm256_xor_si256(w.a, bias), b = _mm256_xor_si256(w.b, bias);
  return {_mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(four, a)),
          _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(four, b))};
}
WARPLOOM_INLINE I add_pairs(I x, I y) { return {_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)}; }
WARPLOOM_INLINE __m256i add_halves(I x) { return _mm256_add_epi32(x.a, x.b); }
WARPLOOM_INLINE I subtract_pairs(I x, std::int32_t pairs) {
  const __m256i offset = _mm256_set1_epi32(pairs);
  return {_mm256_sub_epi16(x.a, offset), _mm256_sub_epi16(x.b, offset)};
}
WARPLOOM_INLINE I widen_pairs(I x) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(x.a, ones), _mm256_madd_epi16(x.b, ones)};
}
#endif

}  // namespace warploom::cpu::WARPLOOM_ISA
