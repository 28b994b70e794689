// Sums of codes times inputs for each lane, exact on every instruction set. Only cpu/simd.h includes this file.
#pragma once

namespace warploom::cpu::WARPLOOM_ISA {

// Dot(start), then add_step<kStep>(w, x) for the steps 0 to kSteps - 1, each 4 inputs, then sum<kSteps>(). Codes are below
// 2^kBits. If it is symmetric, 2^(kBits - 1) is taken off them: start is -2^(kBits - 1) times the sum of all inputs then, + kDotBias if
// the sum is for scaled(), and not for to_float(). Sums that are not symmetric are for scaled().
// scaled(sum, scale, offset_of(scale)) is their product, rounded once, on every instruction set. Scales are finite and have up to 22
// significant bits.
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
inline constexpr std::int32_t kDotBias = 0;
WARPLOOM_INLINE F offset_of(F scale) { return scale; }  // not used
WARPLOOM_INLINE F scaled(I dot, F scale, F) { return mul(to_float(dot), scale); }

// What ActivationBlock has in pairs of 32 inputs, the first 16 of which are in x: |32 * 8 * 127| < 2^15.
WARPLOOM_INLINE void sum_pairs(I x, I y, std::int32_t* first, std::int32_t* second) {
  const __m256i twos = _mm256_hadd_epi32(add_halves(x), add_halves(y));
  const __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(twos), _mm256_extracti128_si256(twos, 1));
  const std::int64_t both = _mm_cvtsi128_si64(_mm_slli_epi16(_mm_packs_epi32(sums, sums), 5));
  *first = static_cast<std::int32_t>(both);
  *second = static_cast<std::int32_t>(both >> 32);
}

// Sums of 16 bits hold the products of several steps: |sum| <= 2 * kPairSteps * (2^kBits - 1) * 127 < 2^15.
template <int kBits, bool kSymmetric>
class Dot {
  static_assert(kBits <= 5);
  static constexpr int kPairSteps = kBits == 4 ? 8 : 4;

 public:
  Dot() = default;
  WARPLOOM_INLINE_MEMBER explicit Dot(std::int32_t start) : start_(start) {}
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void add_step(B w, const std::int8_t* x) {
    const I products = pair_products(w, x);
    pairs_ = kStep % kPairSteps == 0 ? products : add_pairs(pairs_, products);
    pin(pairs_);
    if constexpr ((kStep + 1) % kPairSteps == 0) widen<kStep / kPairSteps>();
  }
  template <int kSteps>
  WARPLOOM_INLINE_MEMBER I sum() {
    if constexpr (kSteps % kPairSteps != 0) widen<kSteps / kPairSteps>();
    return kSymmetric ? add(sum_, set_int(start_)) : sum_;
  }

 private:
  template <int kTimes>
  WARPLOOM_INLINE_MEMBER void widen() {
    sum_ = kTimes == 0 ? widen_pairs(pairs_) : add(sum_, widen_pairs(pairs_));
  }

  std::int32_t start_;
  I pairs_, sum_;
};

// Up to 4 steps: of codes less 32, sums of 16 bits hold all products, since |8 * 32 * 127| < 2^15. On the way they may wrap around.
template <>
class Dot<6, true> {
 public:
  Dot() = default;
  // As pairs: ActivationBlock::first_start or second_start.
  WARPLOOM_INLINE_MEMBER explicit Dot(std::int32_t x_pairs) : x_pairs_(x_pairs) {}
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void add_step(B w, const std::int8_t* x) {
    static_assert(kStep < 4);
    const I products = pair_products(w, x);
    pairs_ = kStep == 0 ? subtract_pairs(products, x_pairs_) : add_pairs(pairs_, products);
    pin(pairs_);
  }
  template <int kSteps>
  WARPLOOM_INLINE_MEMBER I sum() const {
    return widen_pairs(pairs_);
  }

 private:
  std::int32_t x_pairs_;
  I pairs_;
};

// Whole codes, less 128: their magnitude, at most 128, times the input with their sign. |2 * 128 * 127| < 2^15.
template <>
class Dot<8, true> {
 public:
  Dot() = default;
  WARPLOOM_INLINE_MEMBER explicit Dot(std::int32_t) : sum_(set_int(0)) {}
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void add_step(B w, const std::int8_t* x) {
    sum_ = add(sum_, widen_pairs(signed_pair_products(w, x)));
    pin(sum_);
  }
  template <int kSteps>
  WARPLOOM_INLINE_MEMBER I sum() const {
    return sum_;
  }

 private:
  I sum_;
};
#else
// The bits of the float 1.5 * 2^23. Sums that begin with them are floats as they are, 1.5 * 2^23 too large, which one fused multiply-add
// takes off again while it scales: all of this is exact for sums below 2^22.
inline constexpr std::int32_t kDotBias = 0x4b400000;
WARPLOOM_INLINE F offset_of(F scale) { return mul(scale, set(-0x1.8p23f)); }
WARPLOOM_INLINE F scaled(I dot, F scale, F offset) { return fma(from_bits(dot), scale, offset); }

template <int kBits, bool kSymmetric>
class Dot {
 public:
  Dot() = default;
  WARPLOOM_INLINE_MEMBER explicit Dot(std::int32_t start) : sum_(set_int(kSymmetric ? start : kDotBias)) {}
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void add_step(B w, const std::int8_t* x) {
    sum_ = add_products(sum_, w, x);
  }
  template <int kSteps>
  WARPLOOM_INLINE_MEMBER I sum() const {
    return sum_;
  }

 private:
  I sum_;
};
#endif

}  // namespace warploom::cpu::WARPLOOM_ISA
