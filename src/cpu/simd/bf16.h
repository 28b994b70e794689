// Pairs of bf16 and the sums of their products. Magnitudes below 2^-50 are rounded to 0, so every product and every sum of
// products is 0 or a normal number: instructions that flush subnormal ones give the same bits. Only cpu/simd.h includes this file.
#pragma once

namespace warploom::cpu::WARPLOOM_ISA {

// To the nearest bf16, ties to even; below 2^-50 to 0. NaN stays NaN.
WARPLOOM_INLINE F round_bf16(F x) {
  const I upper = set_int(-0x10000), magnitude = set_int(0x7fffffff), u = bits(x);
  const F near = from_bits(and_(add(add(u, set_int(0x7fff)), and_(shift_right_16(u), set_int(1))), upper));
  const F special = from_bits(and_(bits(add(x, zero())), upper));  // the sum makes NaN quiet, which upper bits keep
  const F r = select_less(from_bits(and_(u, magnitude)), set(__builtin_inff()), near, special);
  return select_less(from_bits(and_(bits(r), magnitude)), set(0x1p-50f), zero(), r);
}

// The upper and the lower bf16 of each lane.
WARPLOOM_INLINE F upper_bf16(I x) { return from_bits(and_(x, set_int(-0x10000))); }
WARPLOOM_INLINE F lower_bf16(I x) { return from_bits(shift_left_16(x)); }

// Pairs: two bf16 a lane. Row r of a row of numbers x, rounded to bf16, is the pair of x[4 (r / 2) + r % 2], which is the upper
// one, and the number 2 further on: even rows walk the even numbers in order, odd rows the odd ones.
#if defined(__AVX512BF16__)
struct Pairs {
  __m512bh v;
};
WARPLOOM_INLINE Pairs load_pairs(const std::uint32_t* p) { return {(__m512bh)_mm512_loadu_si512(p)}; }
inline constexpr bool kPairsArePacked = true;
// x as broadcast_pair() reads it, in half of the room, which may be that of x. Reads and writes whole vectors.
WARPLOOM_INLINE void pack_pairs(const float* x, int count, float* out) {
  for (int i = 0; i < count; i += 16) {
    const __m512i u = _mm512_castps_si512(_mm512_loadu_ps(x + i));
    const __m512i further_on = _mm512_srli_epi32(_mm512_shuffle_epi32(u, _MM_PERM_DCDC), 16);  // numbers 2 and 3 of 4
    const __m512i pairs = _mm512_maskz_compress_epi32(0x3333, _mm512_or_si512(u, further_on));
    _mm256_storeu_ps(out + i / 2, _mm256_castsi256_ps(_mm512_castsi512_si256(pairs)));
  }
}
WARPLOOM_INLINE Pairs broadcast_pair(const float* x, int row) {
  return {(__m512bh)_mm512_castps_si512(_mm512_set1_ps(x[row]))};
}
// a.lower * b.lower + (a.upper * b.upper + c), rounded twice: so AMD's Zen 4 sums up, bit for bit.
WARPLOOM_INLINE F fma_pairs(Pairs a, Pairs b, F c) { return {_mm512_dpbf16_ps(c.v, a.v, b.v)}; }
#else
struct Pairs {
  F upper, lower;
};
WARPLOOM_INLINE Pairs load_pairs(const std::uint32_t* p) {
  const I both = load(p);
  return {upper_bf16(both), lower_bf16(both)};
}
inline constexpr bool kPairsArePacked = false;  // broadcast_pair() reads numbers as they are
WARPLOOM_INLINE void pack_pairs(const float*, int, float*) {}
WARPLOOM_INLINE Pairs broadcast_pair(const float* x, int row) {
  const float* at = x + row / 2 * 4 + row % 2;
  return {set(at[0]), set(at[2])};
}
// a.lower * b.lower + (a.upper * b.upper + c), rounded twice.
WARPLOOM_INLINE F fma_pairs(Pairs a, Pairs b, F c) { return fma(a.lower, b.lower, fma(a.upper, b.upper, c)); }
#endif

}  // namespace warploom::cpu::WARPLOOM_ISA
