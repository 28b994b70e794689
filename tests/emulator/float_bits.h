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

// A value of double to a 16-bit format with `kMantissa` bits, rounded once.
template <int kExponent, int kMantissa>
uint16_t narrow(double value, Rounding mode = Rounding::kNearest) {
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
  if (mode == Rounding::kNearest) {
    if (rest > 0.5 || (rest == 0.5 && std::fmod(whole, 2) != 0)) whole += 1;
  } else if (mode == Rounding::kAway) {
    if (rest >= 0.5) whole += 1;
  } else if (up && rest > 0) {
    whole += 1;
  }
  const uint32_t units = static_cast<uint32_t>(whole);
  // Whole units above 2^kMantissa carry into the exponent by themselves.
  const uint32_t biased = static_cast<uint32_t>(exponent - kMinExponent);
  const uint32_t bits = (biased << kMantissa) + units;
  if (exponent > kMaxExponent || bits >= kInfinity) {
    const bool to_infinity = mode == Rounding::kNearest || mode == Rounding::kAway || up;
    return sign | static_cast<uint16_t>(to_infinity ? kInfinity : kInfinity - 1);
  }
  return sign | static_cast<uint16_t>(bits);
}

// The same to nearest even without a branch, so that loops over lanes are done by vectors.
template <int kExponent, int kMantissa>
uint16_t narrow_to_nearest(double value) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1, kShift = 52 - kMantissa;
  constexpr uint64_t kInfinity = ((uint64_t{1} << kExponent) - 1) << kMantissa;
  constexpr uint64_t kLeastNormal = uint64_t{1023 + 1 - kBias} << 52;
  const uint64_t bits = std::bit_cast<uint64_t>(value), magnitude = bits & ~(uint64_t{1} << 63), sign = bits >> 48 & 0x8000;
  const uint64_t rounded = magnitude + ((uint64_t{1} << (kShift - 1)) - 1) + (magnitude >> kShift & 1);
  const uint64_t normal = std::min((rounded >> kShift) - (uint64_t{1023 - kBias} << kMantissa), kInfinity);
  // Below, adding what has the least subnormal number as its unit of the last place rounds to it.
  constexpr uint64_t kAligner = uint64_t{1023 + 1 - kBias + kShift} << 52;
  const double aligned = std::bit_cast<double>(magnitude) + std::bit_cast<double>(kAligner);
  const uint64_t subnormal = std::bit_cast<uint64_t>(aligned) - kAligner;
  const uint64_t result = (magnitude < kLeastNormal ? subnormal : normal) | sign;
  return static_cast<uint16_t>(magnitude > (uint64_t{0x7ff} << 52) ? kCanonicalHalfNan : result);
}
inline uint16_t to_half(double value) { return narrow_to_nearest<5, 10>(value); }
inline uint16_t to_bfloat(double value) { return narrow_to_nearest<8, 7>(value); }
inline uint16_t to_half(double value, Rounding mode) { return narrow<5, 10>(value, mode); }
inline uint16_t to_bfloat(double value, Rounding mode) { return narrow<8, 7>(value, mode); }

inline float from_bfloat(uint16_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v) << 16); }
inline float from_half(uint16_t v) {
  const uint32_t sign = static_cast<uint32_t>(v & 0x8000) << 16, magnitude = v & 0x7fff;
  // Exponent moved by scaling, which normalises subnormals too; infinities and NaNs by hand.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t bits = magnitude >= 0x7c00 ? 0x7f800000 | (magnitude & 0x3ff) << 13 : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(bits | sign);
}

}  // namespace emulator
