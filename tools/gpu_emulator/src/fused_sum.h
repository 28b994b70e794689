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
#include <bit>
#include <cstdint>

#include "float_bits.h"

namespace emulator {

// 24 fractional bits and blocks of 8 products up to compute capability 8.9, then 25 and 16.
struct FusedSum {
  int fraction, block;
};
inline constexpr FusedSum kAmpereSum{24, 8}, kHopperSum{25, 16};

constexpr int kColumns = 8;  // of B, C and D: the lanes of a vector

template <class Real>
using Columns [[gnu::vector_size(kColumns * sizeof(Real))]] = Real;

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

// A block of products of one row: its sum, in units that shift_ says, and what an f32 has of it.
template <class Real>
class RowSum {
 public:
  // `largest`: an exponent at or above those of C and of all products.
  RowSum(Columns<int16_t> largest, int fraction) : shift_(fraction - __builtin_convertvector(largest, Columns<int32_t>)) {
    if constexpr (sizeof(Real) == 4) {
      const Columns<int32_t> small = shift_ < 127 ? shift_ : 127;  // beyond, every product is zero
      scale_ = std::bit_cast<Columns<float>>((small + 127) << 23);
    } else {
      scale_ = power(shift_);
    }
  }
  // Each product is below 2^27 units, and there are up to 16.
  void add(Real a, Columns<Real> b) { products_ += __builtin_convertvector(a * b * scale_, Columns<int32_t>); }
  Columns<double> total(Columns<double> c) const {
    const auto aligned = __builtin_convertvector(c * power(shift_), Columns<int32_t>);
    return (__builtin_convertvector(products_, Columns<double>) + __builtin_convertvector(aligned, Columns<double>)) *
           power(-shift_);
  }

 private:
  static Columns<double> power(Columns<int32_t> exponent) {
    return std::bit_cast<Columns<double>>((__builtin_convertvector(exponent, Columns<int64_t>) + 1023) << 52);
  }

  Columns<int32_t> shift_;
  Columns<Real> scale_;
  Columns<int32_t> products_ = {};
};

// Towards zero; from 2^128 on infinite.
inline Columns<float> cut_to_float(Columns<double> v) {
  const auto nearest = __builtin_convertvector(v, Columns<float>);
  const auto magnitude = [](Columns<double> x) { return x < 0 ? -x : x; };
  const auto beyond = magnitude(__builtin_convertvector(nearest, Columns<double>)) > magnitude(v);
  const auto step = __builtin_convertvector(beyond & (magnitude(v) < 0x1p128), Columns<int32_t>);  // -1 or 0
  return std::bit_cast<Columns<float>>(std::bit_cast<Columns<int32_t>>(nearest) + step);
}

inline bool all_finite(Columns<float> v) {
  const auto bits = std::bit_cast<Columns<int32_t>>(v);
  bool finite = true;
  for (int n = 0; n < kColumns; ++n) finite &= (bits[n] & 0x7f800000) != 0x7f800000;
  return finite;
}

template <int kDepth>
struct Factors {
  alignas(64) uint16_t a[16][kDepth];
  alignas(64) uint16_t b[kDepth][kColumns];
};

// c += a * b. kHalfSum: c holds f16 values.
template <FusedSum kRule, int kDepth, bool kBfloat, bool kHalfSum, class Real>
void add_products(const Factors<kDepth>& f, bool finite, float (&c)[16][kColumns]) {
  using F = Factor<kBfloat>;
  alignas(64) Real a[16][kDepth];
  alignas(64) Columns<Real> b[kDepth];
  alignas(64) int16_t a_exponent[16][kDepth];
  alignas(64) Columns<int16_t> b_exponent[kDepth];
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < kDepth; ++k) a[m][k] = F::value(f.a[m][k]), a_exponent[m][k] = F::exponent(f.a[m][k]);
  for (int k = 0; k < kDepth; ++k)
    for (int n = 0; n < kColumns; ++n) b[k][n] = F::value(f.b[k][n]), b_exponent[k][n] = F::exponent(f.b[k][n]);

  constexpr int kBlock = std::min(kRule.block, kDepth);
  for (int m = 0; m < 16; ++m) {
    Columns<float> sum;
    for (int n = 0; n < kColumns; ++n) sum[n] = c[m][n];
    for (int from = 0; from < kDepth; from += kBlock) {
      const auto bits = std::bit_cast<Columns<int32_t>>(sum);
      const Columns<int32_t> field = bits >> 23 & 255;
      constexpr int kLeast = kHalfSum ? -14 : -126;
      Columns<int32_t> exponent = field - 127;
      exponent = exponent > kLeast ? exponent : kLeast;
      auto largest = __builtin_convertvector((bits & 0x7fffffff) == 0 ? -126 : exponent, Columns<int16_t>);
      for (int k = from; k < from + kBlock; ++k) {
        const Columns<int16_t> e = a_exponent[m][k] + b_exponent[k];
        largest = e > largest ? e : largest;
      }
      RowSum<Real> products(largest, kRule.fraction);
      for (int k = from; k < from + kBlock; ++k) products.add(a[m][k], b[k]);
      const auto before = __builtin_convertvector(sum, Columns<double>);
      Columns<double> total = products.total(before);
      if (!finite || (from > 0 && !all_finite(sum))) {  // what is infinite or not a number is so by IEEE 754's rules
        Columns<double> plain = before;
        for (int k = from; k < from + kBlock; ++k)
          plain += static_cast<double>(a[m][k]) * __builtin_convertvector(b[k], Columns<double>);
        total = plain - plain == 0 ? total : plain;
      }
      if constexpr (kHalfSum) {
        for (int n = 0; n < kColumns; ++n) sum[n] = from_half(to_half(total[n]));
      } else {
        sum = cut_to_float(total);
      }
    }
    for (int n = 0; n < kColumns; ++n) c[m][n] = sum[n];
  }
}

// The same with the numbers that suffice: products of bf16 may leave f32's range.
template <FusedSum kRule, int kDepth, bool kBfloat, bool kHalfSum>
void add_products(const Factors<kDepth>& f, float (&c)[16][kColumns]) {
  using F = Factor<kBfloat>;
  bool finite = true, moderate = true;
  const auto look = [&](uint16_t bits) {
    const int field = bits >> F::kMantissa & F::kField;
    finite &= field != F::kField;
    if constexpr (kBfloat) moderate &= (field >= F::kBias - 50 && field < F::kBias + 63) || (bits & 0x7fff) == 0;
  };
  for (const auto& row : f.a)
    for (const uint16_t bits : row) look(bits);
  for (const auto& row : f.b)
    for (const uint16_t bits : row) look(bits);
  for (const auto& row : c)
    for (const float v : row) finite &= (std::bit_cast<uint32_t>(v) & 0x7f800000) != 0x7f800000;
  if (moderate)
    add_products<kRule, kDepth, kBfloat, kHalfSum, float>(f, finite, c);
  else
    add_products<kRule, kDepth, kBfloat, kHalfSum, double>(f, finite, c);
}

}  // namespace emulator
