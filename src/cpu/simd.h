// Vectors of 16 lanes, the same on every instruction set. Each function gives the same bits everywhere, so a kernel agrees
// with itself bit for bit from plain C++ to AVX-512. Compiled once per instruction set, in a namespace of its own.
// Everything here is forced inline: from several copies of an inline symbol the linker could choose AVX-512 code for older
// machines.
#pragma once

#include <cstdint>

#ifndef WARPLOOM_ISA
#error "WARPLOOM_ISA must name this instruction set's namespace"
#endif

#define WARPLOOM_INLINE static inline __attribute__((always_inline))
#define WARPLOOM_INLINE_MEMBER inline __attribute__((always_inline))

namespace warploom::cpu::WARPLOOM_ISA {
constexpr int kLanes = 16;
}

// Each of these headers defines F (16 floats), I (16 int32), U (16 uint64) and B (64 bytes, 4 a lane), the same functions
// for them, and either
//   I add_products(I sum, B w, const std::int8_t* x)
// which adds to each lane the products of its 4 codes, unsigned bytes, and the 4 inputs at x, each in [-127, 127]; or, if it defines
// WARPLOOM_PRODUCTS_IN_PAIRS, the parts of that for sums of 16 bits, two a lane:
//   I pair_products(B w, const std::int8_t* x)         the sums of two products; those of codes less 128 if signed_
//   I add_pairs(I x, I y), I widen_pairs(I x)          the latter to one sum of 32 bits a lane
//   __m256i add_halves(I x)                            lanes 8 to 15 to lanes 0 to 7
//   I subtract_pairs(I x, std::int32_t pairs)          the two sums of `pairs` from those of each lane
// Always:
//   I add_signed_products(I sum, B w, const std::int8_t* x)   of 4 signed bytes and 4 inputs, each in [0, 127]
//   void pin(I& x)                                     keeps the compiler from putting x off or copying it
#if defined(__AVX512F__)
#include "cpu/simd/avx512.h"
#elif defined(__AVX2__)
#include "cpu/simd/avx2.h"
#else
#include "cpu/simd/generic.h"
#endif
#include "cpu/simd/bf16.h"
#include "cpu/simd/dot.h"

namespace warploom::cpu::WARPLOOM_ISA {

// Sum and maximum over the lanes, always in the same tree: lane i with lane i + 8, then + 4, + 2, + 1.
#if defined(__AVX2__)
WARPLOOM_INLINE float sum_lanes(F a) {
  const __m256 eight = _mm256_add_ps(low_half(a), high_half(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
WARPLOOM_INLINE float max_lanes(F a) {
  const __m256 eight = _mm256_max_ps(low_half(a), high_half(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
#else
WARPLOOM_INLINE float sum_lanes(F a) {
  float v[16];
  store(v, a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return v[0];
}
WARPLOOM_INLINE float max_lanes(F a) {
  float v[16];
  store(v, a);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] > v[i + half] ? v[i] : v[i + half];
  return v[0];
}
#endif

// e^x = result * 2^n, for x in [-87, 88] and NaN; otherwise both are of no use.
WARPLOOM_INLINE F exp_parts(F x, F* n) {
  *n = round_even(mul(x, set(1.44269504f)));
  F r = fma(*n, set(-0.693145752f), x);  // ln 2 in two parts (Cody and Waite): the first has 8 trailing zero bits
  r = fma(*n, set(-1.42860677e-6f), r);
  F p = set(1.0f / 5040);
  p = fma(p, r, set(1.0f / 720));
  p = fma(p, r, set(1.0f / 120));
  p = fma(p, r, set(1.0f / 24));
  p = fma(p, r, set(1.0f / 6));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  return fma(p, r, set(1.0f));
}

// e^x with a relative error below 2e-7; 0 below -87, e^88 above 88; NaN stays NaN.
WARPLOOM_INLINE F exp(F x) {
  F n;
  // max and min return their second operand if one is NaN.
  const F p = exp_parts(min(set(88.0f), max(set(-87.0f), x)), &n);
  return select_less(x, set(-87.0f), zero(), scale_by(p, n));
}
// The same for x <= 0 and NaN, in fewer instructions.
WARPLOOM_INLINE F exp_of_negative(F x) {
  F n;
#if defined(__AVX512F__)
  const F p = exp_parts(x, &n);
  return {_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x.v, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ), p.v, n.v)};
#else
  const F p = exp_parts(max(set(-87.0f), x), &n);
  return select_less(x, set(-87.0f), zero(), scale_by(p, n));
#endif
}

}  // namespace warploom::cpu::WARPLOOM_ISA
