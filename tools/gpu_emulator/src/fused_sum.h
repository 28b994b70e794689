// What tensor cores make of a row of A, a column of B and an element of C, for factors of 16 bits. PTX leaves the order and
// the rounding of the sum open; this is what was found on silicon: Xie et al., "MMA-Sim: Bit-Accurate Reference Model of Tensor
// Cores and Matrix Cores", arXiv:2511.10909.
//
// Products are exact. All addends of a block, C's among them, are aligned to the largest exponent, cut off (towards zero) below
// a number of fractional bits, and added. A product's exponent is the sum of its factors', not that of its leading bit; a
// subnormal has its format's least exponent, a zero the least of all. An f32 result is cut off as well, and begins the next
// block; an f16 one is rounded to nearest even.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "float_bits.h"

namespace emulator {

// 24 fractional bits and blocks of 8 products up to compute capability 8.9, then 25 and 16.
struct FusedSum {
  int fraction, block;
};
inline constexpr FusedSum kAmpereSum{24, 8}, kHopperSum{25, 16};

constexpr int kColumns = 8, kRowsAtOnce = 2, kLanes16 = kColumns * kRowsAtOnce;

// Lane 2n + r is of column n and of row r of two neighbours.
template <class Real>
using Lanes [[gnu::vector_size(kLanes16 * sizeof(Real))]] = Real;

// The same two values, of two rows, for all columns.
template <class Real>
Lanes<Real> for_all_columns(const Real* rows) {
  if constexpr (sizeof(Real) <= 4) {
    using Pair = std::conditional_t<sizeof(Real) == 2, uint32_t, uint64_t>;
    using Pairs [[gnu::vector_size(kColumns * sizeof(Pair))]] = Pair;
    Pair pair;
    std::memcpy(&pair, rows, sizeof pair);
    return std::bit_cast<Lanes<Real>>(pair + Pairs{});
  } else {
    Lanes<Real> v;
    for (int n = 0; n < kColumns; ++n) v[2 * n] = rows[0], v[2 * n + 1] = rows[1];
    return v;
  }
}

template <bool kBfloat>
struct Factor {
  static constexpr int kMantissa = kBfloat ? 7 : 10, kBias = kBfloat ? 127 : 15, kField = kBfloat ? 255 : 31;
  static constexpr int16_t kZero = -1024;  // of any product with it: below all others

  static float value(uint16_t bits) { return kBfloat ? from_bfloat(bits) : from_half(bits); }
  static int16_t exponent(uint16_t bits) {
    const int field = bits >> kMantissa & kField;
    return static_cast<int16_t>((bits & 0x7fff) == 0 ? kZero : std::max(field, 1) - kBias);
  }
};

template <class Mask>
bool any(Mask mask) {
  std::array<uint64_t, sizeof(Mask) / 8> parts;
  std::memcpy(&parts, &mask, sizeof mask);
  uint64_t all = 0;
  for (const uint64_t part : parts) all |= part;
  return all != 0;
}

// A block of products of one row: its sum, in units that shift_ says, and what an f32 has of it.
template <class Real>
class RowSum {
 public:
  // `largest`: an exponent at or above those of C and of all products.
  RowSum(Lanes<int16_t> largest, int fraction)
      : shift_(fraction - __builtin_convertvector(largest, Lanes<int32_t>)), common_(!any(largest < -100 || largest > 120)) {
    if constexpr (sizeof(Real) == 4) {
      const Lanes<int32_t> small = shift_ < 127 ? shift_ : 127;  // beyond, every product is zero
      scale_ = std::bit_cast<Lanes<float>>((small + 127) << 23);
    } else {
      scale_ = power(shift_);
    }
  }
  // Each product is below 2^27 units, and there are up to 16.
  void add(Lanes<Real> a, Lanes<Real> b) { products_ += __builtin_convertvector(a * b * scale_, Lanes<int32_t>); }
  // The sum as an f32, cut off, if 32 bits suffice for all that leads there. False: they do not.
  bool cut(Lanes<float> c, Lanes<float>& sum) const requires(sizeof(Real) == 4) {
    if (!common_) return false;
    const auto total = products_ + __builtin_convertvector(c * scale_, Lanes<int32_t>);
    constexpr int32_t kReach = 1 << 30;
    if (any(total < -kReach || total > kReach) || any(products_ < -kReach || products_ > kReach)) return false;
    const auto nearest = __builtin_convertvector(total, Lanes<float>);
    const auto back = __builtin_convertvector(nearest, Lanes<int32_t>);
    const auto beyond = (total < 0 ? -back : back) > (total < 0 ? -total : total);  // -1 or 0
    sum = std::bit_cast<Lanes<float>>(std::bit_cast<Lanes<int32_t>>(nearest) + beyond) *
          std::bit_cast<Lanes<float>>((127 - shift_) << 23);
    return true;
  }
  Lanes<double> total(Lanes<double> c) const {
    const auto aligned = __builtin_convertvector(c * power(shift_), Lanes<int32_t>);
    return (__builtin_convertvector(products_, Lanes<double>) + __builtin_convertvector(aligned, Lanes<double>)) *
           power(-shift_);
  }

 private:
  static Lanes<double> power(Lanes<int32_t> exponent) {
    return std::bit_cast<Lanes<double>>((__builtin_convertvector(exponent, Lanes<int64_t>) + 1023) << 52);
  }

  Lanes<int32_t> shift_;
  Lanes<Real> scale_;
  Lanes<int32_t> products_ = {};
  bool common_;  // exponents are far from the ends of f32's range
};

// Towards zero; from 2^128 on infinite.
inline Lanes<float> cut_to_float(Lanes<double> v) {
  const auto nearest = __builtin_convertvector(v, Lanes<float>);
  const auto magnitude = [](Lanes<double> x) { return x < 0 ? -x : x; };
  const auto beyond = magnitude(__builtin_convertvector(nearest, Lanes<double>)) > magnitude(v);
  const auto step = __builtin_convertvector(beyond & (magnitude(v) < 0x1p128), Lanes<int32_t>);  // -1 or 0
  return std::bit_cast<Lanes<float>>(std::bit_cast<Lanes<int32_t>>(nearest) + step);
}

inline bool all_finite(Lanes<float> v) { return !any((std::bit_cast<Lanes<int32_t>>(v) & 0x7f800000) == 0x7f800000); }

template <int kDepth>
struct Factors {
  alignas(64) uint16_t a[16][kDepth];
  alignas(64) uint16_t b[kDepth][kColumns];
};

// Factors as Lanes take them: a: two rows side by side; b: each column twice. Loops over flat arrays become vector code.
template <int kDepth, bool kBfloat, class Real>
struct LaneFactors {
  static constexpr int kPair = kDepth * kRowsAtOnce, kColumn = kDepth * kLanes16;
  alignas(64) Real a[16 / kRowsAtOnce][kPair], b[kColumn];
  alignas(64) int16_t a_exponent[16 / kRowsAtOnce][kPair], b_exponent[kColumn];

  explicit LaneFactors(const Factors<kDepth>& f) {
    for (int p = 0; p < 16 / kRowsAtOnce; ++p) {
      alignas(64) uint16_t rows[kPair];
      for (int k = 0; k < kDepth; ++k) rows[2 * k] = f.a[2 * p][k], rows[2 * k + 1] = f.a[2 * p + 1][k];
      split<kPair>(rows, a[p], a_exponent[p]);
    }
    alignas(64) uint16_t columns[kColumn];
    for (int k = 0; k < kDepth; ++k)
      for (int n = 0; n < kColumns; ++n) columns[k * kLanes16 + 2 * n] = columns[k * kLanes16 + 2 * n + 1] = f.b[k][n];
    split<kColumn>(columns, b, b_exponent);
  }

 private:
  template <int kCount>
  static void split(const uint16_t* bits, Real* values, int16_t* exponents) {
    for (int i = 0; i < kCount; ++i) values[i] = Factor<kBfloat>::value(bits[i]);
    for (int i = 0; i < kCount; ++i) exponents[i] = Factor<kBfloat>::exponent(bits[i]);
  }
};
template <class Real>
Lanes<Real> load_lanes(const Real* values) {
  Lanes<Real> v;
  std::memcpy(&v, values, sizeof v);
  return v;
}

// c += a * b. kHalfSum: c holds f16 values.
template <FusedSum kRule, int kDepth, bool kBfloat, bool kHalfSum, class Real>
void add_products(const Factors<kDepth>& f, bool finite, float (&c)[16][kColumns]) {
  const LaneFactors<kDepth, kBfloat, Real> factors(f);
  constexpr int kBlock = std::min(kRule.block, kDepth);
  for (int p = 0; p < 16 / kRowsAtOnce; ++p) {
    alignas(64) float two_rows[kLanes16];
    for (int n = 0; n < kColumns; ++n) two_rows[2 * n] = c[2 * p][n], two_rows[2 * n + 1] = c[2 * p + 1][n];
    Lanes<float> sum = load_lanes(two_rows);
    for (int from = 0; from < kDepth; from += kBlock) {
      const auto bits = std::bit_cast<Lanes<int32_t>>(sum);
      const Lanes<int32_t> field = bits >> 23 & 255;
      constexpr int kLeast = kHalfSum ? -14 : -126;
      Lanes<int32_t> exponent = field - 127;
      exponent = exponent > kLeast ? exponent : kLeast;
      auto largest = __builtin_convertvector((bits & 0x7fffffff) == 0 ? -126 : exponent, Lanes<int16_t>);
      for (int k = from; k < from + kBlock; ++k) {
        const Lanes<int16_t> e =
            for_all_columns(factors.a_exponent[p] + kRowsAtOnce * k) + load_lanes(factors.b_exponent + kLanes16 * k);
        largest = e > largest ? e : largest;
      }
      RowSum<Real> products(largest, kRule.fraction);
      for (int k = from; k < from + kBlock; ++k)
        products.add(for_all_columns(factors.a[p] + kRowsAtOnce * k), load_lanes(factors.b + kLanes16 * k));
      if constexpr (!kHalfSum && sizeof(Real) == 4)
        if (finite && products.cut(sum, sum)) continue;
      const auto before = __builtin_convertvector(sum, Lanes<double>);
      Lanes<double> total = products.total(before);
      if (!finite || (from > 0 && !all_finite(sum))) {  // what is infinite or not a number is so by IEEE 754's rules
        Lanes<double> plain = before;
        for (int k = from; k < from + kBlock; ++k)
          plain += __builtin_convertvector(for_all_columns(factors.a[p] + kRowsAtOnce * k), Lanes<double>) *
                   __builtin_convertvector(load_lanes(factors.b + kLanes16 * k), Lanes<double>);
        total = plain - plain == 0 ? total : plain;
      }
      if constexpr (kHalfSum) {
        alignas(64) float rounded[kLanes16];
        for (int n = 0; n < kLanes16; ++n) rounded[n] = from_half(to_half(total[n]));
        sum = load_lanes(rounded);
      } else {
        sum = cut_to_float(total);
      }
    }
    std::memcpy(two_rows, &sum, sizeof sum);
    for (int n = 0; n < kColumns; ++n) c[2 * p][n] = two_rows[2 * n], c[2 * p + 1][n] = two_rows[2 * n + 1];
  }
}

// Which way the sum is made: whether all factors and sums are finite, and products of bf16 within f32's range.
struct Reach {
  bool finite, moderate;
};
template <bool kBfloat, int kRows, int kInRow>
Reach reach_of(const uint16_t (&bits)[kRows][kInRow]) {
  using F = Factor<kBfloat>;
  constexpr uint16_t kInfinity = F::kField << F::kMantissa;
  constexpr int kFrom = (F::kBias - 50) * (1 << F::kMantissa), kTo = (F::kBias + 63) * (1 << F::kMantissa);
  uint16_t largest = 0, least = 0xffff;  // but for zeros
  for (const auto& row : bits) {
    for (const uint16_t v : row) {
      const uint16_t magnitude = v & 0x7fff;
      largest = std::max(largest, magnitude);
      least = std::min(least, static_cast<uint16_t>(magnitude - 1));
    }
  }
  return {largest < kInfinity, !kBfloat || (largest < kTo && least >= kFrom - 1)};
}

// The same with the numbers that suffice.
template <FusedSum kRule, int kDepth, bool kBfloat, bool kHalfSum>
void add_products(const Factors<kDepth>& f, float (&c)[16][kColumns]) {
  const Reach a = reach_of<kBfloat>(f.a);
  const Reach b = reach_of<kBfloat>(f.b);
  uint32_t largest = 0;
  for (const auto& row : c)
    for (const float v : row) largest = std::max(largest, std::bit_cast<uint32_t>(v) & 0x7fffffff);
  const bool finite = a.finite && b.finite && largest < 0x7f800000;
  if (a.moderate && b.moderate)
    add_products<kRule, kDepth, kBfloat, kHalfSum, float>(f, finite, c);
  else
    add_products<kRule, kDepth, kBfloat, kHalfSum, double>(f, finite, c);
}

}  // namespace emulator
