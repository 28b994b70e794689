// Bits of floating-point formats: flushing, canonical NaNs, f16 and bf16.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

constexpr uint32_t kCanonicalNan = 0x7fffffff;
constexpr uint16_t kCanonicalHalfNan = 0x7fff;  // f16 and bf16

inline float flush(float v) {  // subnormals become zeros of their sign
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}
inline float canonical(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  return std::bit_cast<float>((bits & 0x7fffffff) > 0x7f800000 ? kCanonicalNan : bits);
}

enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp, kAway };

// A value of double to a 16-bit format with `kMantissa` bits, to nearest even.
template <int kExponent, int kMantissa>
uint16_t narrow_to_nearest(double value) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1, kShift = 52 - kMantissa;
  constexpr uint64_t kInfinity = ((uint64_t{1} << kExponent) - 1) << kMantissa;
  const uint64_t bits = std::bit_cast<uint64_t>(value), magnitude = bits << 1 >> 1;
  const uint16_t sign = static_cast<uint16_t>(bits >> 63 << 15);
  if (magnitude > uint64_t{0x7ff} << 52) return kCanonicalHalfNan;
  uint64_t rounded;
  if (magnitude >> 52 >= 1024 - kBias) {
    rounded = (magnitude + ((uint64_t{1} << (kShift - 1)) - 1) + (magnitude >> kShift & 1)) >> kShift;
    rounded -= uint64_t{1023 - kBias} << kMantissa;
  } else {  // adding it leaves units of the least value; the sum rounds
    constexpr double kAlign = std::bit_cast<double>(uint64_t{1023 + 1 - kBias - kMantissa + 52} << 52);
    rounded = std::bit_cast<uint64_t>(std::bit_cast<double>(magnitude) + kAlign) - std::bit_cast<uint64_t>(kAlign);
  }
  return sign | static_cast<uint16_t>(std::min(rounded, kInfinity));
}
// The same, rounded once as `mode` says.
template <int kExponent, int kMantissa>
uint16_t narrow(double value, Rounding mode = Rounding::kNearest) {
  if (mode == Rounding::kNearest) return narrow_to_nearest<kExponent, kMantissa>(value);
  constexpr int kBias = (1 << (kExponent - 1)) - 1, kMinExponent = 1 - kBias, kMaxExponent = kBias;
  constexpr uint16_t kInfinity = static_cast<uint16_t>(((1 << kExponent) - 1) << kMantissa);
  if (value != value) return kCanonicalHalfNan;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  const bool up = mode == Rounding::kUp ? sign == 0 : mode == Rounding::kDown && sign != 0;
  if (magnitude == 0) return sign;
  if (std::isinf(magnitude)) return sign | kInfinity;
  const int exponent = std::max(static_cast<int>((std::bit_cast<uint64_t>(magnitude) >> 52) & 0x7ff) - 1023, kMinExponent);
  // Units of the last place: scaling by a power of two is exact.
  const double scaled = std::ldexp(magnitude, kMantissa - exponent);
  double whole = std::floor(scaled);
  const double rest = scaled - whole;
  if (mode == Rounding::kAway) {
    if (rest >= 0.5) whole += 1;
  } else if (up && rest > 0) {
    whole += 1;
  }
  const uint32_t units = static_cast<uint32_t>(whole);
  // Whole units above 2^kMantissa carry into the exponent by themselves.
  const uint32_t biased = static_cast<uint32_t>(exponent - kMinExponent);
  const uint32_t bits = (biased << kMantissa) + units;
  if (exponent > kMaxExponent || bits >= kInfinity) {
    const bool to_infinity = mode == Rounding::kAway || up;
    return sign | static_cast<uint16_t>(to_infinity ? kInfinity : kInfinity - 1);
  }
  return sign | static_cast<uint16_t>(bits);
}
inline uint16_t to_half(double value, Rounding mode = Rounding::kNearest) { return narrow<5, 10>(value, mode); }
inline uint16_t to_bfloat(double value, Rounding mode = Rounding::kNearest) { return narrow<8, 7>(value, mode); }

inline float from_bfloat(uint16_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v) << 16); }
[[gnu::always_inline]] inline float from_half(uint16_t v) {
  const uint32_t sign = static_cast<uint32_t>(v & 0x8000) << 16, magnitude = v & 0x7fff;
  // Exponent moved by scaling, which normalises subnormals too; infinities and NaNs by hand.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t bits = magnitude >= 0x7c00 ? 0x7f800000 | (magnitude & 0x3ff) << 13 : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(bits | sign);
}

// To nearest even, without a branch, so that loops over lanes become vector code.
inline uint16_t half_of_float(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
  const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
  // Adding 0.5 leaves units of the least value; the sum rounds.
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  uint32_t half = magnitude < 0x38800000 ? small : normal;
  half = magnitude >= 0x477ff000 ? 0x7c00 : half;
  half |= sign;
  return static_cast<uint16_t>(magnitude > 0x7f800000 ? uint32_t{kCanonicalHalfNan} : half);
}

inline uint16_t bfloat_of_float(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? uint32_t{kCanonicalHalfNan} : rounded);
}

}  // namespace emulator
