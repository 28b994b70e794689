// Numbers as whole codes times a step that they share.
#pragma once

#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

// Magnitudes compare as integers: NaN is above infinity, which is above all others.
WARPLOOM_INLINE I magnitude_bits(F x) { return and_(bits(x), set_int(0x7fffffff)); }

// Codes of magnitudes up to `codes`, for numbers of which the largest has the magnitude_bits() `top`. With a NaN or an infinity
// among them, codes are 0 and the step is NaN.
struct CodeScale {
  static constexpr std::int32_t kNotFinite = 0x7f800000;
  static constexpr std::int32_t kTiny = 0x0d000000;  // reciprocals of numbers below could overflow, so these count as zero

  float step, inverse;
  bool finite;

  WARPLOOM_INLINE_MEMBER CodeScale(std::int32_t top, float codes) : finite(top < kNotFinite) {
    float largest;
    __builtin_memcpy(&largest, &top, sizeof largest);
    const bool tiny = top < kTiny;
    inverse = finite && !tiny ? codes / largest : 0.0f;
    step = finite ? (tiny ? 0.0f : largest / codes) : __builtin_nanf("");
  }
  WARPLOOM_INLINE_MEMBER I codes(F x) const { return finite ? to_int(mul(x, set(inverse))) : set_int(0); }
};

}  // namespace warploom::cpu::WARPLOOM_ISA
