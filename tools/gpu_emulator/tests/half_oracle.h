// 16-bit floats on the host, from their definition alone: values as doubles, results as the entry of the list of all values
// that lies nearest to p + c, found by bisection.
#pragma once

#include <cmath>
#include <cstdint>

struct HalfFormat {
  static constexpr int kMantissa = 10, kBias = 15;
  static constexpr uint16_t kInfinity = 0x7c00;
};
struct BfloatFormat {
  static constexpr int kMantissa = 7, kBias = 127;
  static constexpr uint16_t kInfinity = 0x7f80;
};
constexpr uint16_t kNan16 = 0x7fff;

template <class F>
bool is_nan16(uint16_t v) {
  return (v & 0x7fff) > F::kInfinity;
}
// Infinity counts as the power of two that would follow the largest value, which is what rounding needs.
template <class F>
double magnitude16(int bits) {
  const int exponent = bits >> F::kMantissa, mantissa = bits & ((1 << F::kMantissa) - 1);
  return exponent == 0 ? std::ldexp(mantissa, 1 - F::kBias - F::kMantissa)
                       : std::ldexp(mantissa + (1 << F::kMantissa), exponent - F::kBias - F::kMantissa);
}
template <class F>
double value16(uint16_t v) {
  if (is_nan16<F>(v)) return NAN;
  const double m = (v & 0x7fff) == F::kInfinity ? INFINITY : magnitude16<F>(v & 0x7fff);
  return (v & 0x8000) != 0 ? -m : m;
}

enum class Round16 { kNearest, kZero };

// Sign of p + c - m, exactly: each has few bits, so the two largest cancel without error or the third doesn't matter.
inline int sign_of_sum(__float128 p, __float128 c, __float128 m) {
  auto magnitude = [](__float128 v) { return v < 0 ? -v : v; };
  m = -m;
  if (magnitude(p) < magnitude(c)) std::swap(p, c);
  if (magnitude(c) < magnitude(m)) std::swap(c, m);
  if (magnitude(p) < magnitude(c)) std::swap(p, c);
  const __float128 sum = (p + c) + m;
  return sum > 0 ? 1 : sum < 0 ? -1 : 0;
}

// p and c finite, not both zero unless `zero` says what their sum is.
template <class F>
uint16_t round16(__float128 p, __float128 c, uint16_t zero = 0, Round16 mode = Round16::kNearest) {
  const int side = sign_of_sum(p, c, 0);
  if (side == 0) return zero;
  const uint16_t sign = side < 0 ? 0x8000 : 0;
  if (side < 0) p = -p, c = -c;
  int low = 0, high = F::kInfinity;  // low is not above; high is
  if (sign_of_sum(p, c, magnitude16<F>(high)) >= 0) return sign | (mode == Round16::kZero ? high - 1 : high);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (sign_of_sum(p, c, magnitude16<F>(middle)) >= 0 ? low : high) = middle;
  }
  if (mode == Round16::kZero) return sign | static_cast<uint16_t>(low);
  const int above = sign_of_sum(p, c, (magnitude16<F>(low) + magnitude16<F>(high)) / 2);
  return sign | static_cast<uint16_t>(above > 0 || (above == 0 && low % 2 == 1) ? high : low);
}

// x * y + z with the special values of IEEE 754.
template <class F>
uint16_t fused16(double x, double y, double z) {
  const double product = x * y;  // exact, and infinite or NaN where it should be
  const double about = product + z;
  if (about != about) return kNan16;
  if (std::isinf(about) && (std::isinf(product) || std::isinf(z))) return (about < 0 ? 0x8000 : 0) | F::kInfinity;
  return round16<F>(product, z, std::signbit(about) ? 0x8000 : 0);
}
