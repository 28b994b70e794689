// Vectors of 16 lanes on AVX-512 (F, BW, VL, DQ), with VNNI if it is enabled. Only cpu/simd.h includes this file.
#pragma once

#include <immintrin.h>

namespace warploom::cpu::WARPLOOM_ISA {

// F: 16 floats. I: 16 int32. B: 64 bytes, 4 a lane.
struct F {
  __m512 v;
};
struct I {
  __m512i v;
};
struct B {
  __m512i v;
};

WARPLOOM_INLINE __m256 low_half(F a) { return _mm512_castps512_ps256(a.v); }
WARPLOOM_INLINE __m256 high_half(F a) { return _mm512_extractf32x8_ps(a.v, 1); }
WARPLOOM_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
// Loads the first n lanes; the others are -inf.
WARPLOOM_INLINE F load_part(const float* p, int n) {
  return {_mm512_mask_loadu_ps(_mm512_set1_ps(-__builtin_inff()), static_cast<__mmask16>((1u << n) - 1), p)};
}
WARPLOOM_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
WARPLOOM_INLINE F set(float x) { return {_mm512_set1_ps(x)}; }
WARPLOOM_INLINE F zero() { return {_mm512_setzero_ps()}; }
WARPLOOM_INLINE F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
WARPLOOM_INLINE F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
WARPLOOM_INLINE F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
WARPLOOM_INLINE F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
WARPLOOM_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// As maxps and minps: the second operand if either is NaN.
WARPLOOM_INLINE F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
WARPLOOM_INLINE F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
WARPLOOM_INLINE F round_even(F a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
WARPLOOM_INLINE F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
WARPLOOM_INLINE I to_int(F a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest even
WARPLOOM_INLINE I bits(F a) { return {_mm512_castps_si512(a.v)}; }
WARPLOOM_INLINE F from_bits(I a) { return {_mm512_castsi512_ps(a.v)}; }
WARPLOOM_INLINE I set_int(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
WARPLOOM_INLINE I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
WARPLOOM_INLINE I and_(I a, I b) { return {_mm512_and_si512(a.v, b.v)}; }
WARPLOOM_INLINE I shift_left_16(I a) { return {_mm512_slli_epi32(a.v, 16)}; }
WARPLOOM_INLINE I shift_right_16(I a) { return {_mm512_srli_epi32(a.v, 16)}; }
WARPLOOM_INLINE I shift_left_23(I a) { return {_mm512_slli_epi32(a.v, 23)}; }
WARPLOOM_INLINE I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
// a in the lanes [from, to), b in the others.
WARPLOOM_INLINE F select_range(int from, int to, F a, F b) {
  const unsigned below_to = to >= 16 ? 0xffffu : to <= 0 ? 0u : (1u << to) - 1u;
  const unsigned below_from = from >= 16 ? 0xffffu : from <= 0 ? 0u : (1u << from) - 1u;
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(below_to & ~below_from), b.v, a.v)};
}
WARPLOOM_INLINE F select_less(F x, F y, F a, F b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
}
WARPLOOM_INLINE F load_f16(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
WARPLOOM_INLINE void store_f16(std::uint16_t* p, F a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
WARPLOOM_INLINE F load_bf16(const std::uint16_t* p) {
  const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16))};
}
WARPLOOM_INLINE F load_u8(const std::uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
WARPLOOM_INLINE F load_s8(const std::int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
WARPLOOM_INLINE void store_s8(std::int8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v));
}
// U: 16 unsigned 64-bit integers.
struct U {
  __m512i a, b;
};
WARPLOOM_INLINE U zero_wide() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }
WARPLOOM_INLINE U add(U x, U y) { return {_mm512_add_epi64(x.a, y.a), _mm512_add_epi64(x.b, y.b)}; }
// x * 2^n, exact; n is an integer, and neither x nor the result is 0 or subnormal.
WARPLOOM_INLINE F scale_by(F x, F n) { return {_mm512_scalef_ps(x.v, n.v)}; }
// x, in [0, 2^41), truncated to an integer.
WARPLOOM_INLINE U truncate(F x) {
  return {_mm512_cvttps_epu64(_mm512_castps512_ps256(x.v)), _mm512_cvttps_epu64(_mm512_extractf32x8_ps(x.v, 1))};
}
WARPLOOM_INLINE void store(std::uint64_t* p, U x) { _mm512_storeu_si512(p, x.a), _mm512_storeu_si512(p + 8, x.b); }
// Sets lanes below `min` to 0.
WARPLOOM_INLINE U at_least(U x, std::uint64_t min) {
  const __m512i bound = _mm512_set1_epi64(static_cast<long long>(min));
  return {_mm512_maskz_mov_epi64(_mm512_cmpge_epu64_mask(x.a, bound), x.a),
          _mm512_maskz_mov_epi64(_mm512_cmpge_epu64_mask(x.b, bound), x.b)};
}
WARPLOOM_INLINE int count_nonzero(U x) {
  return __builtin_popcount(_mm512_test_epi64_mask(x.a, x.a)) + __builtin_popcount(_mm512_test_epi64_mask(x.b, x.b));
}
WARPLOOM_INLINE I load(const std::uint32_t* p) { return {_mm512_loadu_si512(p)}; }
// Bit masks of the lanes in which x >= y, and in which x is NaN or +inf.
WARPLOOM_INLINE unsigned mask_ge(F x, F y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_GE_OQ); }
WARPLOOM_INLINE unsigned mask_bad(F x) { return _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(__builtin_inff()), _CMP_NLT_UQ); }
// first, first + 1, ...
WARPLOOM_INLINE I count_from(std::uint32_t first) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)), lanes)};
}
// Writes the lanes whose bit is set next to each other and returns their number. Up to 16 entries are overwritten.
WARPLOOM_INLINE int write_lanes(F x, I id, unsigned mask, float* values, std::uint32_t* ids) {
  const auto m = static_cast<__mmask16>(mask);
  _mm512_storeu_ps(values, _mm512_maskz_compress_ps(m, x.v));
  _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(m, id.v));
  return __builtin_popcount(mask);
}
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
WARPLOOM_INLINE void store(std::uint8_t* p, B a) { _mm512_storeu_si512(p, a.v); }
WARPLOOM_INLINE B low_nibbles(B a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
WARPLOOM_INLINE B high_nibbles(B a) { return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))}; }
// Adds `value` to the bytes whose bit is set in the 64-bit mask at `mask`.
WARPLOOM_INLINE B add_masked(B a, const std::uint8_t* mask, std::int8_t value) {
  std::uint64_t m;
  __builtin_memcpy(&m, mask, sizeof m);
  return {_mm512_mask_add_epi8(a.v, m, a.v, _mm512_set1_epi8(value))};
}
// Adds 16 times the number in bits 2 kPair and 2 kPair + 1 of each byte of b; the bytes of a are below 16.
template <int kPair>
WARPLOOM_INLINE B add_pairs_of_bits(B a, B b) {
  constexpr int kLeft = 4 - 2 * kPair;
  const __m512i at_16 = kLeft > 0   ? _mm512_slli_epi16(b.v, kLeft > 0 ? kLeft : 0)
                        : kLeft < 0 ? _mm512_srli_epi16(b.v, kLeft < 0 ? -kLeft : 0)
                                    : b.v;
  return {_mm512_ternarylogic_epi32(a.v, at_16, _mm512_set1_epi8(0x30), 0xf8)};  // a | (at_16 & 0x30)
}

WARPLOOM_INLINE std::int32_t max_lanes(I a) { return _mm512_reduce_max_epi32(a.v); }
WARPLOOM_INLINE std::int32_t sum_lanes(I a) { return _mm512_reduce_add_epi32(a.v); }

WARPLOOM_INLINE __m512i broadcast_four(const std::int8_t* x) {
  std::int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

WARPLOOM_INLINE void pin(I& x) { asm volatile("" : "+v"(x.v)); }

#if defined(__AVX512VNNI__)
WARPLOOM_INLINE I add_signed_products(I sum, B w, const std::int8_t* x) {
  return {_mm512_dpbusd_epi32(sum.v, broadcast_four(x), w.v)};
}
WARPLOOM_INLINE I add_products(I sum, B w, const std::int8_t* x) {
  return {_mm512_dpbusd_epi32(sum.v, w.v, broadcast_four(x))};
}
#else
#define WARPLOOM_PRODUCTS_IN_PAIRS
WARPLOOM_INLINE I add_signed_products(I sum, B w, const std::int8_t* x) {
  const __m512i pairs = _mm512_maddubs_epi16(broadcast_four(x), w.v);
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}
WARPLOOM_INLINE I pair_products(B w, const std::int8_t* x) { return {_mm512_maddubs_epi16(w.v, broadcast_four(x))}; }
WARPLOOM_INLINE I signed_pair_products(B w, const std::int8_t* x) {
  const __m512i code = _mm512_xor_si512(w.v, _mm512_set1_epi8(-128)), four = broadcast_four(x);
  const __m512i signed_x = _mm512_mask_sub_epi8(four, _mm512_movepi8_mask(code), _mm512_setzero_si512(), four);
  return {_mm512_maddubs_epi16(_mm512_abs_epi8(code), signed_x)};
}
WARPLOOM_INLINE I add_pairs(I x, I y) { return {_mm512_add_epi16(x.v, y.v)}; }
WARPLOOM_INLINE __m256i add_halves(I x) {
  return _mm256_add_epi32(_mm512_castsi512_si256(x.v), _mm512_extracti64x4_epi64(x.v, 1));
}
WARPLOOM_INLINE I subtract_pairs(I x, std::int32_t pairs) { return {_mm512_sub_epi16(x.v, _mm512_set1_epi32(pairs))}; }
WARPLOOM_INLINE I widen_pairs(I x) { return {_mm512_madd_epi16(x.v, _mm512_set1_epi16(1))}; }
#endif

}  // namespace warploom::cpu::WARPLOOM_ISA
