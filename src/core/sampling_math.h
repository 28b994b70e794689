// The arithmetic of sampling for one token or one row, on host and device: docs/sampling.md bit by bit. Every operation is
// one correctly rounded binary32 operation or exact integer arithmetic.
#pragma once

#include <cstdint>

#include "warploom/host_device.h"

namespace warploom::sampling {

inline constexpr float kLowestExponent = -64.0f;     // weights below 2^-64 of the argmax's are 0
inline constexpr float kRoundToInteger = 0x1.8p23f;  // adding it rounds a float below 2^22 to an integer, half to even
inline constexpr std::uint64_t kArgmaxWeight = std::uint64_t{1} << 40;
inline constexpr double kLog2E = 1.4426950408889634;

#if defined(__CUDA_ARCH__)
__device__ inline float add_rn(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float mul_rn(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float fma_rn(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline float div_rn(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline std::uint32_t float_bits(float a) { return __float_as_uint(a); }
__device__ inline float float_from_bits(std::uint32_t bits) { return __uint_as_float(bits); }
#else
WARPLOOM_HOST_DEVICE inline float add_rn(float a, float b) { return a + b; }
WARPLOOM_HOST_DEVICE inline float mul_rn(float a, float b) { return a * b; }
WARPLOOM_HOST_DEVICE inline float fma_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
WARPLOOM_HOST_DEVICE inline float div_rn(float a, float b) { return a / b; }
WARPLOOM_HOST_DEVICE inline std::uint32_t float_bits(float a) { return __builtin_bit_cast(std::uint32_t, a); }
WARPLOOM_HOST_DEVICE inline float float_from_bits(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
#endif

/// The factor of logit differences. If a tiny temperature would overflow it, only ties of the argmax keep a weight.
WARPLOOM_HOST_DEVICE inline float exponent_scale(float temperature) {
  const double scale = kLog2E / static_cast<double>(temperature);
  return scale > 0x1.fffffep127 ? 0x1.fffffep127f : static_cast<float>(scale);
}

/// 2^t for t in [-126, 0]: significand / 2^23 / 2^octaves_down, correct to 2e-7.
struct Power {
  std::uint32_t significand;  // 24 bits
  std::uint32_t octaves_down;
};
WARPLOOM_HOST_DEVICE inline Power power_of_two(float t) {
  const float shifted = add_rn(t, kRoundToInteger);  // its low bits are the nearest integer
  const float f = add_rn(t, -add_rn(shifted, -kRoundToInteger));
  float q = 0x1.417ca6p-13f;  // 2^f on [-0.5, 0.5]
  q = fma_rn(q, f, 0x1.5f0946p-10f);
  q = fma_rn(q, f, 0x1.3b2dd0p-7f);
  q = fma_rn(q, f, 0x1.c6af7ap-5f);
  q = fma_rn(q, f, 0x1.ebfbdcp-3f);
  q = fma_rn(q, f, 0x1.62e430p-1f);
  q = fma_rn(q, f, 1.0f);
  const std::uint32_t bits = float_bits(q);
  return {(bits & 0x7fffffu) | 0x800000u, float_bits(kRoundToInteger) + 127 - float_bits(shifted) - (bits >> 23)};
}

/// Weight of a logit in units of 2^-40 of the argmax's weight. x <= max; x is neither NaN nor +inf.
WARPLOOM_HOST_DEVICE inline std::uint64_t weight(float x, float max, float scale) {
  const float t = mul_rn(add_rn(x, -max), scale);
  if (!(t >= kLowestExponent)) return 0;
  const Power p = power_of_two(t);
  // q 2^24 is an integer: the 24 bits of q's significand, or twice that if q >= 1. Weights below 2^-41 become 0.
  return p.octaves_down < 64 ? static_cast<std::uint64_t>(p.significand) << 17 >> p.octaves_down : 0;
}

/// The same before truncation to an integer: a logit's probability relative to the argmax's, 0 below 2^-126.
WARPLOOM_HOST_DEVICE inline float relative_probability(float x, float max, float scale) {
  const float t = mul_rn(add_rn(x, -max), scale);
  if (!(t >= -126.0f)) return 0.0f;
  const Power p = power_of_two(t);
  return p.octaves_down <= 126 ? float_from_bits((p.significand & 0x7fffffu) | (127 - p.octaves_down) << 23) : 0.0f;
}

/// Weight of a probability, normalised or not, in units of 2^-40 of the row's maximum, truncated. 0 <= p <= max.
WARPLOOM_HOST_DEVICE inline std::uint64_t probability_weight(float p, float max) {
  return static_cast<std::uint64_t>(mul_rn(div_rn(p, max), 0x1p40f));
}

/// The weight that the kept tokens must reach: ceil(P * total / 2^32) with P = max(1, round(top_p * 2^32)).
WARPLOOM_HOST_DEVICE inline std::uint64_t top_p_threshold(float top_p, std::uint64_t total) {
#if defined(__CUDA_ARCH__)
  const long long rounded = __double2ll_rn(static_cast<double>(top_p) * 0x1p32);
#else
  const long long rounded = __builtin_llrint(static_cast<double>(top_p) * 0x1p32);
#endif
  const auto p = static_cast<unsigned __int128>(rounded < 1 ? 1 : rounded);
  return static_cast<std::uint64_t>((p * total + 0xffffffffu) >> 32);
}

/// The minimum weight that min-p keeps; 1 if it is off.
WARPLOOM_HOST_DEVICE inline std::uint64_t min_p_weight(float min_p) {
#if defined(__CUDA_ARCH__)
  const double min = ceil(static_cast<double>(min_p) * 0x1p40);
#else
  const double min = __builtin_ceil(static_cast<double>(min_p) * 0x1p40);
#endif
  return min < 1.0 ? 1 : static_cast<std::uint64_t>(min);
}

/// Philox4x32-10 (Salmon et al., SC 2011): the first 64 bits for (seed, position, subsequence, use).
WARPLOOM_HOST_DEVICE inline std::uint64_t random_bits(std::uint64_t seed, std::uint64_t position, std::uint32_t subsequence,
                                                      std::uint32_t use = 0) {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  std::uint32_t c0 = static_cast<std::uint32_t>(position), c1 = static_cast<std::uint32_t>(position >> 32), c2 = subsequence,
                c3 = use;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ key0;
    c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ key1;
    c1 = static_cast<std::uint32_t>(b);
    c3 = static_cast<std::uint32_t>(a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return (static_cast<std::uint64_t>(c1) << 32) | c0;
}

/// The draw, in [0, total).
WARPLOOM_HOST_DEVICE inline std::uint64_t draw(std::uint64_t bits, std::uint64_t total) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(bits, total);
#else
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * total) >> 64);
#endif
}

}  // namespace warploom::sampling
