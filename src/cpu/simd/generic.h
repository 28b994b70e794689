// Vectors of 16 lanes in plain C++. Only cpu/simd.h includes this file.
#pragma once

namespace warploom::cpu::WARPLOOM_ISA {

struct F {
  float v[16];
};
struct I {
  std::int32_t v[16];
};
struct B {
  std::uint8_t v[64];
};

#define WARPLOOM_EACH for (int i = 0; i < 16; ++i)
WARPLOOM_INLINE F load(const float* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE F load_part(const float* p, int n) {
  float v[16];
  for (int i = 0; i < 16; ++i) v[i] = i < n ? p[i] : -__builtin_inff();
  return load(v);
}
WARPLOOM_INLINE void store(float* p, F a) { WARPLOOM_EACH p[i] = a.v[i]; }
WARPLOOM_INLINE F set(float x) {
  F r;
  WARPLOOM_EACH r.v[i] = x;
  return r;
}
WARPLOOM_INLINE F zero() { return set(0.0f); }
WARPLOOM_INLINE F add(F a, F b) {
  WARPLOOM_EACH a.v[i] += b.v[i];
  return a;
}
WARPLOOM_INLINE F sub(F a, F b) {
  WARPLOOM_EACH a.v[i] -= b.v[i];
  return a;
}
WARPLOOM_INLINE F mul(F a, F b) {
  WARPLOOM_EACH a.v[i] *= b.v[i];
  return a;
}
WARPLOOM_INLINE F div(F a, F b) {
  WARPLOOM_EACH a.v[i] /= b.v[i];
  return a;
}
WARPLOOM_INLINE F fma(F a, F b, F c) {
  WARPLOOM_EACH a.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return a;
}
WARPLOOM_INLINE F max(F a, F b) {
  WARPLOOM_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE F min(F a, F b) {
  WARPLOOM_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE F round_even(F a) {
  WARPLOOM_EACH a.v[i] = __builtin_nearbyintf(a.v[i]);
  return a;
}
WARPLOOM_INLINE F to_float(I a) {
  F r;
  WARPLOOM_EACH r.v[i] = static_cast<float>(a.v[i]);
  return r;
}
WARPLOOM_INLINE I to_int(F a) {
  I r;
  // As cvtps2dq: values out of range and NaN give the smallest integer.
  WARPLOOM_EACH r.v[i] =
      a.v[i] >= -0x1p31f && a.v[i] < 0x1p31f ? static_cast<std::int32_t>(__builtin_nearbyintf(a.v[i])) : INT32_MIN;
  return r;
}
WARPLOOM_INLINE I bits(F a) {
  I r;
  __builtin_memcpy(&r, &a, sizeof r);
  return r;
}
WARPLOOM_INLINE F from_bits(I a) {
  F r;
  __builtin_memcpy(&r, &a, sizeof r);
  return r;
}
WARPLOOM_INLINE I set_int(std::int32_t x) {
  I r;
  WARPLOOM_EACH r.v[i] = x;
  return r;
}
WARPLOOM_INLINE I add(I a, I b) {  // wraps around
  WARPLOOM_EACH a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) + static_cast<std::uint32_t>(b.v[i]));
  return a;
}
WARPLOOM_INLINE I and_(I a, I b) {
  WARPLOOM_EACH a.v[i] &= b.v[i];
  return a;
}
WARPLOOM_INLINE I shift_left_16(I a) {
  WARPLOOM_EACH a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << 16);
  return a;
}
WARPLOOM_INLINE I shift_right_16(I a) {
  WARPLOOM_EACH a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) >> 16);
  return a;
}
WARPLOOM_INLINE I shift_left_23(I a) {
  WARPLOOM_EACH a.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) << 23);
  return a;
}
WARPLOOM_INLINE I max(I a, I b) {
  WARPLOOM_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
WARPLOOM_INLINE F select_range(int from, int to, F a, F b) {
  WARPLOOM_EACH if (i < from || i >= to) a.v[i] = b.v[i];
  return a;
}
WARPLOOM_INLINE F select_less(F x, F y, F a, F b) {
  WARPLOOM_EACH if (!(x.v[i] < y.v[i])) a.v[i] = b.v[i];
  return a;
}
WARPLOOM_INLINE float widen_f16(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu,
                      mantissa = h & 0x3ffu;
  std::uint32_t out;
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  __builtin_memcpy(&out, &subnormal, sizeof out);
  if (exponent == 0x1f)
    out = 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u);
  else if (exponent)
    out = ((exponent + 112) << 23) | (mantissa << 13);
  out |= sign;
  float f;
  __builtin_memcpy(&f, &out, sizeof f);
  return f;
}
WARPLOOM_INLINE std::uint16_t narrow_f16(float f) {
  std::uint32_t u;
  __builtin_memcpy(&u, &f, sizeof u);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude >= 0x38800000u)
    return static_cast<std::uint16_t>(sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13));
  float aligned;
  __builtin_memcpy(&aligned, &magnitude, sizeof aligned);
  aligned += 0.5f;
  __builtin_memcpy(&u, &aligned, sizeof u);
  return static_cast<std::uint16_t>(sign | (u - 0x3f000000u));
}
WARPLOOM_INLINE F load_f16(const std::uint16_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = widen_f16(p[i]);
  return r;
}
WARPLOOM_INLINE void store_f16(std::uint16_t* p, F a) { WARPLOOM_EACH p[i] = narrow_f16(a.v[i]); }
WARPLOOM_INLINE F load_bf16(const std::uint16_t* p) {
  I r;
  WARPLOOM_EACH r.v[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(p[i]) << 16);
  return from_bits(r);
}
WARPLOOM_INLINE F load_u8(const std::uint8_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE F load_s8(const std::int8_t* p) {
  F r;
  WARPLOOM_EACH r.v[i] = p[i];
  return r;
}
WARPLOOM_INLINE void store_s8(std::int8_t* p, I a) {
  WARPLOOM_EACH p[i] = static_cast<std::int8_t>(a.v[i] < -128 ? -128 : a.v[i] > 127 ? 127 : a.v[i]);
}
struct U {
  std::uint64_t v[16];
};
WARPLOOM_INLINE U zero_wide() {
  U r;
  WARPLOOM_EACH r.v[i] = 0;
  return r;
}
WARPLOOM_INLINE U add(U a, U b) {
  WARPLOOM_EACH a.v[i] += b.v[i];
  return a;
}
WARPLOOM_INLINE F scale_by(F x, F n) {
  const I e = to_int(n);
  WARPLOOM_EACH {
    const auto power = static_cast<std::uint32_t>(e.v[i]) << 23;
    x.v[i] = __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x.v[i]) + power);
  }
  return x;
}
WARPLOOM_INLINE U truncate(F x) {
  U r;
  WARPLOOM_EACH r.v[i] = static_cast<std::uint64_t>(x.v[i]);
  return r;
}
WARPLOOM_INLINE void store(std::uint64_t* p, U a) { WARPLOOM_EACH p[i] = a.v[i]; }
WARPLOOM_INLINE U at_least(U a, std::uint64_t min) {
  WARPLOOM_EACH a.v[i] = a.v[i] >= min ? a.v[i] : 0;
  return a;
}
WARPLOOM_INLINE int count_nonzero(U a) {
  int n = 0;
  WARPLOOM_EACH n += a.v[i] != 0;
  return n;
}
WARPLOOM_INLINE I load(const std::uint32_t* p) {
  I r;
  WARPLOOM_EACH r.v[i] = static_cast<std::int32_t>(p[i]);
  return r;
}
WARPLOOM_INLINE unsigned mask_ge(F a, F b) {
  unsigned m = 0;
  WARPLOOM_EACH m |= static_cast<unsigned>(a.v[i] >= b.v[i]) << i;
  return m;
}
WARPLOOM_INLINE unsigned mask_bad(F a) {
  unsigned m = 0;
  WARPLOOM_EACH m |= static_cast<unsigned>(!(a.v[i] < __builtin_inff())) << i;
  return m;
}
WARPLOOM_INLINE I count_from(std::uint32_t first) {
  I r;
  WARPLOOM_EACH r.v[i] = static_cast<std::int32_t>(first) + i;
  return r;
}
WARPLOOM_INLINE int write_lanes(F x, I id, unsigned mask, float* values, std::uint32_t* ids) {
  int count = 0;
  for (; mask != 0; mask &= mask - 1) {
    const int i = __builtin_ctz(mask);
    values[count] = x.v[i];
    ids[count++] = static_cast<std::uint32_t>(id.v[i]);
  }
  return count;
}
WARPLOOM_INLINE B load_bytes(const std::uint8_t* p) {
  B r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
WARPLOOM_INLINE B low_nibbles(B a) {
  for (int i = 0; i < 64; ++i) a.v[i] &= 15;
  return a;
}
WARPLOOM_INLINE B high_nibbles(B a) {
  for (int i = 0; i < 64; ++i) a.v[i] >>= 4;
  return a;
}
WARPLOOM_INLINE B add_masked(B a, const std::uint8_t* mask, std::int8_t value) {
  for (int i = 0; i < 64; ++i) a.v[i] = static_cast<std::uint8_t>(a.v[i] + ((mask[i / 8] >> (i % 8)) & 1) * value);
  return a;
}
template <int kPair>
WARPLOOM_INLINE B add_pairs_of_bits(B a, B b) {
  for (int i = 0; i < 64; ++i) a.v[i] = static_cast<std::uint8_t>(a.v[i] + ((b.v[i] >> (2 * kPair)) & 3) * 16);
  return a;
}

WARPLOOM_INLINE std::int32_t max_lanes(I a) {
  std::int32_t m = a.v[0];
  for (int i = 1; i < 16; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
WARPLOOM_INLINE std::int32_t sum_lanes(I a) {
  std::int32_t sum = 0;
  WARPLOOM_EACH sum += a.v[i];
  return sum;
}

WARPLOOM_INLINE void pin(I&) {}
WARPLOOM_INLINE I add_products(I sum, B w, const std::int8_t* x) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) sum.v[i] += w.v[4 * i + j] * x[j];
  return sum;
}
WARPLOOM_INLINE I add_signed_products(I sum, B w, const std::int8_t* x) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) sum.v[i] += static_cast<std::int8_t>(w.v[4 * i + j]) * x[j];
  return sum;
}
#undef WARPLOOM_EACH

}  // namespace warploom::cpu::WARPLOOM_ISA
