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
struct Pairs {
  F upper, lower;
};
WARPLOOM_INLINE Pairs load_pairs(const std::uint32_t* p) {
  const I both = load(p);
  return {upper_bf16(both), lower_bf16(both)};
}
// x as broadcast_pair() reads it: itself, or made in `own`, which may be x.
WARPLOOM_INLINE const float* pair_up(const float* x, int, float*) { return x; }
WARPLOOM_INLINE Pairs broadcast_pair(const float* x, int row) {
  const float* at = x + row / 2 * 4 + row % 2;
  return {set(at[0]), set(at[2])};
}
// a.lower * b.lower + (a.upper * b.upper + c), rounded twice.
WARPLOOM_INLINE F fma_pairs(Pairs a, Pairs b, F c) { return fma(a.lower, b.lower, fma(a.upper, b.upper, c)); }

}  // namespace warploom::cpu::WARPLOOM_ISA
