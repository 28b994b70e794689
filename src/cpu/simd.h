// Vectors of 16 lanes, the same on every instruction set: each function gives the same bits everywhere, so kernels written
// with it once agree bit for bit from plain C++ to AVX-512. Compiled once per instruction set, in a namespace of its own;
// everything here is forced inline because a shared inline symbol would let the linker hand AVX-512 code to older machines.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef WARPLOOM_ISA
#error "WARPLOOM_ISA must name this instruction set's namespace"
#endif

#define WARPLOOM_INLINE static inline __attribute__((always_inline))

namespace warploom::cpu::WARPLOOM_ISA {

constexpr int kLanes = 16;

#if defined(__AVX512F__)

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

WARPLOOM_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
WARPLOOM_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
WARPLOOM_INLINE F set(float x) { return {_mm512_set1_ps(x)}; }
WARPLOOM_INLINE F zero() { return {_mm512_setzero_ps()}; }
WARPLOOM_INLINE F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
WARPLOOM_INLINE F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
WARPLOOM_INLINE F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
WARPLOOM_INLINE F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
WARPLOOM_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// As maxps and minps: the second operand where either is NaN.
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
WARPLOOM_INLINE I max(I a, I b) { return {_mm512_max_epi32(a.v, b.v)}; }
WARPLOOM_INLINE I shift_left_23(I a) { return {_mm512_slli_epi32(a.v, 23)}; }
// a where a lane's index is in [from, to), else b.
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
// (x << 16) >> n with x and n taken as unsigned; 0 where n is above 63.
WARPLOOM_INLINE U widen_shifted(I x, I n) {
  const auto half = [](__m256i v, __m256i by) {
    return _mm512_srlv_epi64(_mm512_slli_epi64(_mm512_cvtepu32_epi64(v), 16), _mm512_cvtepu32_epi64(by));
  };
  return {half(_mm512_castsi512_si256(x.v), _mm512_castsi512_si256(n.v)),
          half(_mm512_extracti64x4_epi64(x.v, 1), _mm512_extracti64x4_epi64(n.v, 1))};
}
WARPLOOM_INLINE void store(std::uint64_t* p, U x) { _mm512_storeu_si512(p, x.a), _mm512_storeu_si512(p + 8, x.b); }
// Lanes below `least` become 0.
WARPLOOM_INLINE U at_least(U x, std::uint64_t least) {
  const __m512i bound = _mm512_set1_epi64(static_cast<long long>(least));
  return {_mm512_maskz_mov_epi64(_mm512_cmpge_epu64_mask(x.a, bound), x.a),
          _mm512_maskz_mov_epi64(_mm512_cmpge_epu64_mask(x.b, bound), x.b)};
}
WARPLOOM_INLINE int count_nonzero(U x) {
  return __builtin_popcount(_mm512_test_epi64_mask(x.a, x.a)) + __builtin_popcount(_mm512_test_epi64_mask(x.b, x.b));
}
// Bits of the lanes where x >= y, and where x is NaN or +inf.
WARPLOOM_INLINE unsigned mask_ge(F x, F y) { return _mm512_cmp_ps_mask(x.v, y.v, _CMP_GE_OQ); }
WARPLOOM_INLINE unsigned mask_bad(F x) { return _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(__builtin_inff()), _CMP_NLT_UQ); }
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
WARPLOOM_INLINE B low_nibbles(B a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(15))}; }
WARPLOOM_INLINE B high_nibbles(B a) { return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(15))}; }
// Adds `value` to the bytes whose bit is set in the 64-bit mask at `mask`.
WARPLOOM_INLINE B add_masked(B a, const std::uint8_t* mask, std::int8_t value) {
  std::uint64_t m;
  __builtin_memcpy(&m, mask, sizeof m);
  return {_mm512_mask_add_epi8(a.v, m, a.v, _mm512_set1_epi8(value))};
}

#elif defined(__AVX2__)

struct F {
  __m256 a, b;
};
struct I {
  __m256i a, b;
};
struct B {
  __m256i a, b;
};

WARPLOOM_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
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
WARPLOOM_INLINE I max(I x, I y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
WARPLOOM_INLINE I shift_left_23(I x) { return {_mm256_slli_epi32(x.a, 23), _mm256_slli_epi32(x.b, 23)}; }
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
WARPLOOM_INLINE __m256i widen_quarter(__m128i v, __m128i by) {
  return _mm256_srlv_epi64(_mm256_slli_epi64(_mm256_cvtepu32_epi64(v), 16), _mm256_cvtepu32_epi64(by));
}
WARPLOOM_INLINE U widen_shifted(I x, I n) {
  return {{widen_quarter(_mm256_castsi256_si128(x.a), _mm256_castsi256_si128(n.a)),
           widen_quarter(_mm256_extracti128_si256(x.a, 1), _mm256_extracti128_si256(n.a, 1)),
           widen_quarter(_mm256_castsi256_si128(x.b), _mm256_castsi256_si128(n.b)),
           widen_quarter(_mm256_extracti128_si256(x.b, 1), _mm256_extracti128_si256(n.b, 1))}};
}
WARPLOOM_INLINE void store(std::uint64_t* p, U x) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 4 * i), x.v[i]);
}
WARPLOOM_INLINE U at_least(U x, std::uint64_t least) {
  // Weights stay below 2^63, so the signed comparison will do.
  const __m256i below = _mm256_set1_epi64x(static_cast<long long>(least) - 1);
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
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
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

#else

struct F {
  float v[16];
};
struct I {
  std::int32_t v[16];
};
struct B {
  std::uint8_t v[64];
};

#define WARPLOOM_EACH for (int i = 0; i < 16; ++i)
WARPLOOM_INLINE F load(const float* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE void store(float* p, F a) { WARPLOOM_EACH p[i] = a.v[i]; }
WARPLOOM_INLINE F set(float x) {
  F r;
  WARPLOOM_EACH r.v[i] = x;
  return r;
}
WARPLOOM_INLINE F zero() { return set(0.0f); }
WARPLOOM_INLINE F add(F a, F b) {
  WARPLOOM_EACH a.v[i] += b.v[i];
  return a;
}
WARPLOOM_INLINE F sub(F a, F b) {
  WARPLOOM_EACH a.v[i] -= b.v[i];
  return a;
}
WARPLOOM_INLINE F mul(F a, F b) {
  WARPLOOM_EACH a.v[i] *= b.v[i];
  return a;
}
WARPLOOM_INLINE F div(F a, F b) {
  WARPLOOM_EACH a.v[i] /= b.v[i];
  return a;
}
WARPLOOM_INLINE F fma(F a, F b, F c) {
  WARPLOOM_EACH a.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return a;
}
WARPLOOM_INLINE F max(F a, F b) {
  WARPLOOM_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE F min(F a, F b) {
  WARPLOOM_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE F round_even(F a) {
  WARPLOOM_EACH a.v[i] = __builtin_nearbyintf(a.v[i]);
  return a;
}
WARPLOOM_INLINE F to_float(I a) {
  F r;
  WARPLOOM_EACH r.v[i] = static_cast<float>(a.v[i]);
  return r;
}
WARPLOOM_INLINE I to_int(F a) {
  I r;
  // Out of range and NaN give the most negative integer, as cvtps2dq does.
  WARPLOOM_EACH r.v[i] =
      a.v[i] >= -0x1p31f && a.v[i] < 0x1p31f ? static_cast<std::int32_t>(__builtin_nearbyintf(a.v[i])) : INT32_MIN;
  return r;
}
WARPLOOM_INLINE I bits(F a) {
  I r;
  __builtin_memcpy(&r, &a, sizeof r);
  return r;
}
WARPLOOM_INLINE F from_bits(I a) {
  F r;
  __builtin_memcpy(&r, &a, sizeof r);
  return r;
}
WARPLOOM_INLINE I set_int(std::int32_t x) {
  I r;
  WARPLOOM_EACH r.v[i] = x;
  return r;
}
WARPLOOM_INLINE I add(I a, I b) {
  WARPLOOM_EACH a.v[i] += b.v[i];
  return a;
}
WARPLOOM_INLINE I and_(I a, I b) {
  WARPLOOM_EACH a.v[i] &= b.v[i];
  return a;
}
WARPLOOM_INLINE I max(I a, I b) {
  WARPLOOM_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE I shift_left_23(I a) {
  WARPLOOM_EACH a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << 23);
  return a;
}
WARPLOOM_INLINE F select_range(int from, int to, F a, F b) {
  WARPLOOM_EACH if (i < from || i >= to) a.v[i] = b.v[i];
  return a;
}
WARPLOOM_INLINE F select_less(F x, F y, F a, F b) {
  WARPLOOM_EACH if (!(x.v[i] < y.v[i])) a.v[i] = b.v[i];
  return a;
}
WARPLOOM_INLINE float widen_f16(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu,
                      mantissa = h & 0x3ffu;
  std::uint32_t out;
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  __builtin_memcpy(&out, &subnormal, sizeof out);
  if (exponent == 0x1f)
    out = 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u);
  else if (exponent)
    out = ((exponent + 112) << 23) | (mantissa << 13);
  out |= sign;
  float f;
  __builtin_memcpy(&f, &out, sizeof f);
  return f;
}
WARPLOOM_INLINE std::uint16_t narrow_f16(float f) {
  std::uint32_t u;
  __builtin_memcpy(&u, &f, sizeof u);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude >= 0x38800000u)
    return static_cast<std::uint16_t>(sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13));
  float aligned;
  __builtin_memcpy(&aligned, &magnitude, sizeof aligned);
  aligned += 0.5f;
  __builtin_memcpy(&u, &aligned, sizeof u);
  return static_cast<std::uint16_t>(sign | (u - 0x3f000000u));
}
WARPLOOM_INLINE F load_f16(const std::uint16_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = widen_f16(p[i]);
  return r;
}
WARPLOOM_INLINE void store_f16(std::uint16_t* p, F a) { WARPLOOM_EACH p[i] = narrow_f16(a.v[i]); }
WARPLOOM_INLINE F load_bf16(const std::uint16_t* p) {
  I r;
  WARPLOOM_EACH r.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(p[i]) << 16);
  return from_bits(r);
}
WARPLOOM_INLINE F load_u8(const std::uint8_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE F load_s8(const std::int8_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE void store_s8(std::int8_t* p, I a) {
  WARPLOOM_EACH p[i] = static_cast<std::int8_t>(a.v[i] < -128 ? -128 : a.v[i] > 127 ? 127 : a.v[i]);
}
struct U {
  std::uint64_t v[16];
};
WARPLOOM_INLINE U zero_wide() {
  U r;
  WARPLOOM_EACH r.v[i] = 0;
  return r;
}
WARPLOOM_INLINE U add(U a, U b) {
  WARPLOOM_EACH a.v[i] += b.v[i];
  return a;
}
WARPLOOM_INLINE U widen_shifted(I x, I n) {
  U r;
  WARPLOOM_EACH {
    const auto by = static_cast<std::uint32_t>(n.v[i]);
    r.v[i] = by > 63 ? 0 : (static_cast<std::uint64_t>(static_cast<std::uint32_t>(x.v[i])) << 16) >> by;
  }
  return r;
}
WARPLOOM_INLINE void store(std::uint64_t* p, U a) { WARPLOOM_EACH p[i] = a.v[i]; }
WARPLOOM_INLINE U at_least(U a, std::uint64_t least) {
  WARPLOOM_EACH a.v[i] = a.v[i] >= least ? a.v[i] : 0;
  return a;
}
WARPLOOM_INLINE int count_nonzero(U a) {
  int n = 0;
  WARPLOOM_EACH n += a.v[i] != 0;
  return n;
}
WARPLOOM_INLINE unsigned mask_ge(F a, F b) {
  unsigned m = 0;
  WARPLOOM_EACH m |= static_cast<unsigned>(a.v[i] >= b.v[i]) << i;
  return m;
}
WARPLOOM_INLINE unsigned mask_bad(F a) {
  unsigned m = 0;
  WARPLOOM_EACH m |= static_cast<unsigned>(!(a.v[i] < __builtin_inff())) << i;
  return m;
}
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) {
  B r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
WARPLOOM_INLINE B low_nibbles(B a) {
  for (int i = 0; i < 64; ++i) a.v[i] &= 15;
  return a;
}
WARPLOOM_INLINE B high_nibbles(B a) {
  for (int i = 0; i < 64; ++i) a.v[i] >>= 4;
  return a;
}
WARPLOOM_INLINE B add_masked(B a, const std::uint8_t* mask, std::int8_t value) {
  for (int i = 0; i < 64; ++i) a.v[i] = static_cast<std::uint8_t>(a.v[i] + ((mask[i / 8] >> (i % 8)) & 1) * value);
  return a;
}
#undef WARPLOOM_EACH

#endif

// acc + sum over 16 inputs: w[q] holds, for lane l, the unsigned codes of inputs 4q to 4q + 3 at bytes 4l to 4l + 3; x holds
// the 16 signed inputs, each in [-127, 127]. Codes are below 2^kBits. Exact.
template <int kBits>
WARPLOOM_INLINE I dot16(const B* w, const std::int8_t* x, I acc) {
#if defined(__AVX512F__) && defined(__AVX512VNNI__)
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    std::int32_t four;
    __builtin_memcpy(&four, x + 4 * q, 4);
    acc.v = _mm512_dpbusd_epi32(acc.v, w[q].v, _mm512_set1_epi32(four));
  }
  return acc;
#elif defined(__AVX512F__)
  __m512i pairs = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    std::int32_t four;
    __builtin_memcpy(&four, x + 4 * q, 4);
    if constexpr (kBits <= 6) {
      // 5 bits: 4 pair sums reach 4 * 2 * 31 * 127 < 2^15. 6 bits: 2 do.
      pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(w[q].v, _mm512_set1_epi32(four)));
      if (q == 3 || (kBits == 6 && q == 1)) {
        acc.v = _mm512_add_epi32(acc.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
        pairs = _mm512_setzero_si512();
      }
    } else {
      const __m512i wide = _mm512_cvtepi8_epi16(_mm256_set1_epi32(four));
      const __m512i low = _mm512_madd_epi16(_mm512_unpacklo_epi8(w[q].v, _mm512_setzero_si512()), wide);
      const __m512i high = _mm512_madd_epi16(_mm512_unpackhi_epi8(w[q].v, _mm512_setzero_si512()), wide);
      const __m512 l = _mm512_castsi512_ps(low), h = _mm512_castsi512_ps(high);
      acc.v = _mm512_add_epi32(acc.v, _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(l, h, 0x88)),
                                                       _mm512_castps_si512(_mm512_shuffle_ps(l, h, 0xdd))));
    }
  }
  return acc;
#elif defined(__AVX2__) && defined(__AVXVNNI__)
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    std::int32_t four;
    __builtin_memcpy(&four, x + 4 * q, 4);
    acc.a = _mm256_dpbusd_avx_epi32(acc.a, w[q].a, _mm256_set1_epi32(four));
    acc.b = _mm256_dpbusd_avx_epi32(acc.b, w[q].b, _mm256_set1_epi32(four));
  }
  return acc;
#elif defined(__AVX2__)
  __m256i pairs_a = _mm256_setzero_si256(), pairs_b = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    std::int32_t four;
    __builtin_memcpy(&four, x + 4 * q, 4);
    if constexpr (kBits <= 6) {
      pairs_a = _mm256_add_epi16(pairs_a, _mm256_maddubs_epi16(w[q].a, _mm256_set1_epi32(four)));
      pairs_b = _mm256_add_epi16(pairs_b, _mm256_maddubs_epi16(w[q].b, _mm256_set1_epi32(four)));
      if (q == 3 || (kBits == 6 && q == 1)) {
        acc.a = _mm256_add_epi32(acc.a, _mm256_madd_epi16(pairs_a, _mm256_set1_epi16(1)));
        acc.b = _mm256_add_epi32(acc.b, _mm256_madd_epi16(pairs_b, _mm256_set1_epi16(1)));
        pairs_a = pairs_b = _mm256_setzero_si256();
      }
    } else {
      const __m256i wide = _mm256_cvtepi8_epi16(_mm_set1_epi32(four)), none = _mm256_setzero_si256();
      acc.a = _mm256_add_epi32(acc.a, _mm256_hadd_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi8(w[q].a, none), wide),
                                                        _mm256_madd_epi16(_mm256_unpackhi_epi8(w[q].a, none), wide)));
      acc.b = _mm256_add_epi32(acc.b, _mm256_hadd_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi8(w[q].b, none), wide),
                                                        _mm256_madd_epi16(_mm256_unpackhi_epi8(w[q].b, none), wide)));
    }
  }
  return acc;
#else
  for (int q = 0; q < 4; ++q)
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 4; ++j) acc.v[i] += w[q].v[4 * i + j] * x[4 * q + j];
  return acc;
#endif
}

// Sum over the lanes, always in the same tree: lane i with lane i + 8, then + 4, + 2, + 1.
WARPLOOM_INLINE float sum_lanes(F a) {
  float v[16];
  store(v, a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return v[0];
}
// Integer sums and maxima know no order.
#if defined(__AVX512F__)
WARPLOOM_INLINE float max_lanes(F a) { return _mm512_reduce_max_ps(a.v); }
WARPLOOM_INLINE std::int32_t max_lanes(I a) { return _mm512_reduce_max_epi32(a.v); }
WARPLOOM_INLINE std::int32_t sum_lanes(I a) { return _mm512_reduce_add_epi32(a.v); }
#else
WARPLOOM_INLINE float max_lanes(F a) {
  float v[16];
  store(v, a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] > v[i + half] ? v[i] : v[i + half];
  return v[0];
}
WARPLOOM_INLINE std::int32_t max_lanes(I a) {
  std::int32_t v[16];
  __builtin_memcpy(v, &a, sizeof v);
  std::int32_t m = v[0];
  for (int i = 1; i < 16; ++i) m = v[i] > m ? v[i] : m;
  return m;
}
WARPLOOM_INLINE std::int32_t sum_lanes(I a) {
  std::int32_t v[16];
  __builtin_memcpy(v, &a, sizeof v);
  std::int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += v[i];
  return sum;
}
#endif

// e^x with a relative error below 2e-7; 0 below -87, e^88 above 88; NaN stays NaN.
WARPLOOM_INLINE F exp(F x) {
  // max and min give their second operand for NaN.
  const F clamped = min(set(88.0f), max(set(-87.0f), x));
  const F n = round_even(mul(clamped, set(1.44269504f)));
  F r = fma(n, set(-0.693145752f), clamped);  // ln 2 in two parts (Cody and Waite): the first has 8 trailing zero bits
  r = fma(n, set(-1.42860677e-6f), r);
  F p = set(1.0f / 5040);
  p = fma(p, r, set(1.0f / 720));
  p = fma(p, r, set(1.0f / 120));
  p = fma(p, r, set(1.0f / 24));
  p = fma(p, r, set(1.0f / 6));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  const F scale = from_bits(shift_left_23(add(to_int(n), set_int(127))));
  const F value = select_less(x, set(-87.0f), zero(), mul(p, scale));
  return value;
}

}  // namespace warploom::cpu::WARPLOOM_ISA
