// f16 and bf16 instructions, single and packed, against the host, bit for bit.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <bit>

#include "half_oracle.h"
#include "instruction_test.h"

namespace {

template <class F>
uint16_t flushed16(uint16_t v) {
  return (v & F::kInfinity) == 0 ? v & 0x8000 : v;
}
template <class F>
uint16_t saturated16(uint16_t v) {  // to [0, 1], NaN to 0
  const double x = value16<F>(v);
  return x > 0 ? (x < 1 ? v : static_cast<uint16_t>(F::kBias << F::kMantissa)) : 0;
}
template <class F>
uint16_t relu16(uint16_t v) {
  return value16<F>(v) <= 0 ? 0 : v;
}
// A NaN gives way to a number; -0 is below +0.
template <class F>
uint16_t smaller16(uint16_t a, uint16_t b, bool keep_nan) {
  const bool na = is_nan16<F>(a), nb = is_nan16<F>(b);
  if (na || nb) return keep_nan || (na && nb) ? kNan16 : na ? b : a;
  const double x = value16<F>(a), y = value16<F>(b);
  return x == y ? ((a & 0x8000) != 0 ? a : b) : x < y ? a : b;
}
template <class F>
uint16_t larger16(uint16_t a, uint16_t b, bool keep_nan) {
  const uint16_t r = smaller16<F>(a ^ 0x8000, b ^ 0x8000, keep_nan);
  return is_nan16<F>(r) ? kNan16 : r ^ 0x8000;
}

template <class F>
std::vector<uint16_t> operands16(uint64_t seed) {
  return operands<uint16_t, F::kMantissa>(seed);
}
std::vector<uint32_t> pairs(const std::vector<uint16_t>& low, uint64_t seed) {
  std::vector<uint32_t> both(low.begin(), low.end());
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < both.size(); ++i) both[i] |= static_cast<uint32_t>(low[random() % low.size()]) << 16;
  return both;
}

// One operation on single values, and its packed form, which is the same on both halves.
template <class F, class Op>
struct Packed {
  static __device__ uint32_t device(uint32_t a, uint32_t b, uint32_t c) { return Op::packed(a, b, c); }
  static uint32_t host(uint32_t a, uint32_t b, uint32_t c) {
    auto high = [](uint32_t v) { return static_cast<uint16_t>(v >> 16); };
    auto low = [](uint32_t v) { return static_cast<uint16_t>(v); };
    return static_cast<uint32_t>(Op::host(high(a), high(b), high(c))) << 16 | Op::host(low(a), low(b), low(c));
  }
};
template <class F, class Op>
void compare16(const char* name) {
  const auto a = operands16<F>(1), b = operands16<F>(2), c = operands16<F>(3);
  compare<uint16_t, Op>(name, a, b, c);
  compare<uint32_t, Packed<F, Op>>((std::string(name) + "x2").c_str(), pairs(a, 4), pairs(b, 5), pairs(c, 6));
}

#define WARPLOOM_16(name, F, opcode, type, args, expression)                                   \
  struct name {                                                                                \
    using Format = F;                                                                          \
    static __device__ uint16_t device(uint16_t a, uint16_t b, uint16_t c) {                    \
      uint16_t d;                                                                              \
      asm("{ .reg .b16 t; mov.b16 t, %2; mov.b16 t, %3; " opcode "." type " %0, " args "; }"   \
          : "=h"(d)                                                                            \
          : "h"(a), "h"(b), "h"(c));                                                           \
      return d;                                                                                \
    }                                                                                          \
    static __device__ uint32_t packed(uint32_t a, uint32_t b, uint32_t c) {                    \
      uint32_t d;                                                                              \
      asm("{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; " opcode "." type "x2 %0, " args "; }" \
          : "=r"(d)                                                                            \
          : "r"(a), "r"(b), "r"(c));                                                           \
      return d;                                                                                \
    }                                                                                          \
    static uint16_t host(uint16_t a, uint16_t b, uint16_t c) {                                 \
      [[maybe_unused]] const double x = value16<F>(a), y = value16<F>(b), z = value16<F>(c);   \
      return expression;                                                                       \
    }                                                                                          \
  };
// Flushing forms: operands first, then the result.
#define WARPLOOM_16_FTZ(name, F, opcode, type, args, expression)                                 \
  WARPLOOM_16(name##Plain, F, opcode, type, args, expression)                                    \
  struct name : name##Plain {                                                                    \
    static uint16_t host(uint16_t a, uint16_t b, uint16_t c) {                                   \
      return flushed16<F>(name##Plain::host(flushed16<F>(a), flushed16<F>(b), flushed16<F>(c))); \
    }                                                                                            \
  };

WARPLOOM_16(HalfAdd, HalfFormat, "add.rn", "f16", "%1, %2", fused16<HalfFormat>(1, x, y))
WARPLOOM_16(HalfSub, HalfFormat, "sub.rn", "f16", "%1, %2", fused16<HalfFormat>(1, x, -y))
WARPLOOM_16(HalfMul, HalfFormat, "mul.rn", "f16", "%1, %2",
            fused16<HalfFormat>(x, y, std::signbit(x) != std::signbit(y) ? -0.0 : 0.0))
WARPLOOM_16(HalfFma, HalfFormat, "fma.rn", "f16", "%1, %2, %3", fused16<HalfFormat>(x, y, z))
WARPLOOM_16(HalfFmaRelu, HalfFormat, "fma.rn.relu", "f16", "%1, %2, %3", relu16<HalfFormat>(fused16<HalfFormat>(x, y, z)))
WARPLOOM_16(HalfFmaSat, HalfFormat, "fma.rn.sat", "f16", "%1, %2, %3", saturated16<HalfFormat>(fused16<HalfFormat>(x, y, z)))
WARPLOOM_16(HalfAddSat, HalfFormat, "add.rn.sat", "f16", "%1, %2", saturated16<HalfFormat>(fused16<HalfFormat>(1, x, y)))
WARPLOOM_16_FTZ(HalfFmaFtz, HalfFormat, "fma.rn.ftz", "f16", "%1, %2, %3", fused16<HalfFormat>(x, y, z))
WARPLOOM_16_FTZ(HalfAddFtz, HalfFormat, "add.rn.ftz", "f16", "%1, %2", fused16<HalfFormat>(1, x, y))
WARPLOOM_16(HalfMin, HalfFormat, "min", "f16", "%1, %2", smaller16<HalfFormat>(a, b, false))
WARPLOOM_16(HalfMax, HalfFormat, "max", "f16", "%1, %2", larger16<HalfFormat>(a, b, false))
WARPLOOM_16(HalfMinNan, HalfFormat, "min.NaN", "f16", "%1, %2", smaller16<HalfFormat>(a, b, true))
WARPLOOM_16(HalfMaxNan, HalfFormat, "max.NaN", "f16", "%1, %2", larger16<HalfFormat>(a, b, true))
WARPLOOM_16(HalfNeg, HalfFormat, "neg", "f16", "%1", a ^ 0x8000)
WARPLOOM_16(HalfAbs, HalfFormat, "abs", "f16", "%1", a & 0x7fff)

TEST(Half, F16) {
  compare16<HalfFormat, HalfAdd>("add.f16");
  compare16<HalfFormat, HalfSub>("sub.f16");
  compare16<HalfFormat, HalfMul>("mul.f16");
  compare16<HalfFormat, HalfFma>("fma.f16");
  compare16<HalfFormat, HalfFmaRelu>("fma.relu.f16");
  compare16<HalfFormat, HalfFmaSat>("fma.sat.f16");
  compare16<HalfFormat, HalfAddSat>("add.sat.f16");
  compare16<HalfFormat, HalfFmaFtz>("fma.ftz.f16");
  compare16<HalfFormat, HalfAddFtz>("add.ftz.f16");
  compare16<HalfFormat, HalfMin>("min.f16");
  compare16<HalfFormat, HalfMax>("max.f16");
  compare16<HalfFormat, HalfMinNan>("min.NaN.f16");
  compare16<HalfFormat, HalfMaxNan>("max.NaN.f16");
  compare16<HalfFormat, HalfNeg>("neg.f16");
  compare16<HalfFormat, HalfAbs>("abs.f16");
}

WARPLOOM_16(BfloatAdd, BfloatFormat, "add.rn", "bf16", "%1, %2", fused16<BfloatFormat>(1, x, y))
WARPLOOM_16(BfloatSub, BfloatFormat, "sub.rn", "bf16", "%1, %2", fused16<BfloatFormat>(1, x, -y))
WARPLOOM_16(BfloatMul, BfloatFormat, "mul.rn", "bf16", "%1, %2",
            fused16<BfloatFormat>(x, y, std::signbit(x) != std::signbit(y) ? -0.0 : 0.0))
WARPLOOM_16(BfloatFma, BfloatFormat, "fma.rn", "bf16", "%1, %2, %3", fused16<BfloatFormat>(x, y, z))
WARPLOOM_16(BfloatFmaRelu, BfloatFormat, "fma.rn.relu", "bf16", "%1, %2, %3",
            relu16<BfloatFormat>(fused16<BfloatFormat>(x, y, z)))
WARPLOOM_16(BfloatMin, BfloatFormat, "min", "bf16", "%1, %2", smaller16<BfloatFormat>(a, b, false))
WARPLOOM_16(BfloatMax, BfloatFormat, "max", "bf16", "%1, %2", larger16<BfloatFormat>(a, b, false))
WARPLOOM_16(BfloatMinNan, BfloatFormat, "min.NaN", "bf16", "%1, %2", smaller16<BfloatFormat>(a, b, true))
WARPLOOM_16(BfloatMaxNan, BfloatFormat, "max.NaN", "bf16", "%1, %2", larger16<BfloatFormat>(a, b, true))
WARPLOOM_16(BfloatNeg, BfloatFormat, "neg", "bf16", "%1", a ^ 0x8000)
WARPLOOM_16(BfloatAbs, BfloatFormat, "abs", "bf16", "%1", a & 0x7fff)

TEST(Half, Bf16) {
  compare16<BfloatFormat, BfloatAdd>("add.bf16");
  compare16<BfloatFormat, BfloatSub>("sub.bf16");
  compare16<BfloatFormat, BfloatMul>("mul.bf16");
  compare16<BfloatFormat, BfloatFma>("fma.bf16");
  compare16<BfloatFormat, BfloatFmaRelu>("fma.relu.bf16");
  compare16<BfloatFormat, BfloatMin>("min.bf16");
  compare16<BfloatFormat, BfloatMax>("max.bf16");
  compare16<BfloatFormat, BfloatMinNan>("min.NaN.bf16");
  compare16<BfloatFormat, BfloatMaxNan>("max.NaN.bf16");
  compare16<BfloatFormat, BfloatNeg>("neg.bf16");
  compare16<BfloatFormat, BfloatAbs>("abs.bf16");
}

// Packed comparisons: as 1.0 a half, as a mask, and as one predicate for both, by the headers' own functions.
template <class F, class T>
struct PairComparisons {
  static __device__ T pair(uint32_t v) { return *reinterpret_cast<const T*>(&v); }
  static __device__ uint32_t bits(T v) { return *reinterpret_cast<const uint32_t*>(&v); }
  static __device__ uint32_t device(uint32_t x, uint32_t y, uint32_t) {
    const T a = pair(x), b = pair(y);
    uint32_t all = 0;  // four bits of a form: 1.0 or ones in the lower half, in the upper half, both
    auto add = [&all](uint32_t form, uint32_t v, uint32_t one) {
      all |= (((v & 0xffff) == one ? 1u : 0u) | ((v >> 16) == one ? 2u : 0u)) << (2 * form);
    };
    const uint32_t one = static_cast<uint32_t>(F::kBias << F::kMantissa);
    add(0, bits(__heq2(a, b)), one);
    add(1, bits(__hne2(a, b)), one);
    add(2, bits(__hlt2(a, b)), one);
    add(3, bits(__hgeu2(a, b)), one);
    add(4, __hgt2_mask(a, b), 0xffff);
    add(5, __hleu2_mask(a, b), 0xffff);
    add(6, bits(__hisnan2(a)), one);
    all |= (__hbge2(a, b) ? 1u : 0u) << 14 | (__hbneu2(a, b) ? 1u : 0u) << 15;
    return all;
  }
  static uint32_t host(uint32_t x, uint32_t y, uint32_t) {
    uint32_t all = 0xc000;
    for (int h = 0; h < 2; ++h) {
      const double a = value16<F>(static_cast<uint16_t>(x >> 16 * h)), b = value16<F>(static_cast<uint16_t>(y >> 16 * h));
      const bool nan = a != a || b != b;
      const bool forms[] = {a == b, !nan && a != b, a < b, nan || a >= b, a > b, nan || a <= b, a != a};
      for (int f = 0; f < 7; ++f) all |= static_cast<uint32_t>(forms[f]) << (2 * f + h);
      if (!(a >= b)) all &= ~0x4000u;
      if (!(nan || a != b)) all &= ~0x8000u;
    }
    return all;
  }
};
// Both predicates of setp, with a third combined.
struct SetpPair {
  static __device__ uint32_t device(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("{ .reg .pred p, q, r; .reg .u32 x, y; setp.ne.u32 r, %3, 0; setp.lt.or.f16x2 p|q, %1, %2, r; selp.u32 x, 1, 0, p; "
        "selp.u32 y, 2, 0, q; or.b32 %0, x, y; }"
        : "=r"(d)
        : "r"(a), "r"(b), "r"(c & 1));
    return d;
  }
  static uint32_t host(uint32_t x, uint32_t y, uint32_t z) {
    auto less = [](uint32_t a, uint32_t b) {
      return value16<HalfFormat>(static_cast<uint16_t>(a)) < value16<HalfFormat>(static_cast<uint16_t>(b));
    };
    return (less(x, y) || (z & 1) != 0 ? 1u : 0u) | (less(x >> 16, y >> 16) || (z & 1) != 0 ? 2u : 0u);
  }
};
TEST(Half, PackedComparisons) {
  const auto a = pairs(operands16<HalfFormat>(1), 4), c = pairs(operands16<BfloatFormat>(1), 4);
  auto b = pairs(operands16<HalfFormat>(2), 5), d = pairs(operands16<BfloatFormat>(2), 5);
  for (size_t i = 0; i < a.size(); i += 4)
    b[i] = a[i], d[i] = c[i], b[i + 1] = (b[i + 1] & 0xffff0000) | (a[i + 1] & 0xffff);
  compare<uint32_t, PairComparisons<HalfFormat, __half2>>("f16x2", a, b, a);
  compare<uint32_t, PairComparisons<BfloatFormat, __nv_bfloat162>>("bf16x2", c, d, c);
  compare<uint32_t, SetpPair>("setp.f16x2", a, b, operands<uint32_t>(6));
}

// The approximations, within the error that the PTX ISA documents: relative for ex2, absolute for tanh.
__global__ void approximate_kernel(const uint16_t* half, const uint16_t* bfloat, uint16_t* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  asm("ex2.approx.f16 %0, %1;" : "=h"(out[4 * i]) : "h"(half[i]));
  asm("tanh.approx.f16 %0, %1;" : "=h"(out[4 * i + 1]) : "h"(half[i]));
  asm("ex2.approx.ftz.bf16 %0, %1;" : "=h"(out[4 * i + 2]) : "h"(bfloat[i]));
  asm("tanh.approx.bf16 %0, %1;" : "=h"(out[4 * i + 3]) : "h"(bfloat[i]));
}
template <class F>
void expect_near(uint16_t got, double expected, double bound, const std::string& what) {
  const double is = value16<F>(got);
  if (expected != expected)
    ASSERT_TRUE(is != is) << what;
  else if (std::isinf(static_cast<double>(expected)) || expected > magnitude16<F>(F::kInfinity - 1))
    ASSERT_GE(is, magnitude16<F>(F::kInfinity - 1)) << what;
  else
    ASSERT_NEAR(is, expected, bound) << what;
}
TEST(Half, Approximations) {
  const auto half = operands16<HalfFormat>(1), bfloat = operands16<BfloatFormat>(2);
  DeviceBuffer<uint16_t> dh(half), db(bfloat), out(4 * kCount);
  approximate_kernel<<<kCount / 256, 256>>>(dh.data(), db.data(), out.data());
  const auto got = out.host();
  for (int i = 0; i < kCount; ++i) {
    const double h = value16<HalfFormat>(half[i]), b = value16<BfloatFormat>(flushed16<BfloatFormat>(bfloat[i]));
    const std::string what = "of " + std::to_string(h) + ", " + std::to_string(b);
    const double e = std::exp2(h), eb = std::exp2(b);
    expect_near<HalfFormat>(got[4 * i], e, std::ldexp(e, -9) + 0x1p-24, "ex2.f16 " + what);
    expect_near<HalfFormat>(got[4 * i + 1], std::tanh(h), 0x1p-10, "tanh.f16 " + what);
    expect_near<BfloatFormat>(got[4 * i + 2], eb, std::ldexp(eb, -7) + 0x1p-126, "ex2.bf16 " + what);
    expect_near<BfloatFormat>(got[4 * i + 3], std::tanh(value16<BfloatFormat>(bfloat[i])), 0x1p-8, "tanh.bf16 " + what);
  }
}

// All 65536 halves and bfloats, widened and narrowed again.
__global__ void round_trip_kernel(uint16_t* half, uint16_t* bfloat, float* wide, float* wide_bfloat) {
  const uint16_t bits = static_cast<uint16_t>(blockIdx.x * blockDim.x + threadIdx.x);
  wide[bits] = __half2float(__ushort_as_half(bits));
  wide_bfloat[bits] = __bfloat162float(__ushort_as_bfloat16(bits));
  half[bits] = __half_as_ushort(__float2half_rn(__half2float(__ushort_as_half(bits))));
  bfloat[bits] = __bfloat16_as_ushort(__float2bfloat16_rn(__bfloat162float(__ushort_as_bfloat16(bits))));
}
TEST(Half, RoundTrip) {
  DeviceBuffer<uint16_t> half(65536), bfloat(65536);
  DeviceBuffer<float> wide(65536), wide_bfloat(65536);
  round_trip_kernel<<<256, 256>>>(half.data(), bfloat.data(), wide.data(), wide_bfloat.data());
  const auto h = half.host(), b = bfloat.host();
  const auto w = wide.host(), wb = wide_bfloat.host();
  for (int i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    EXPECT_EQ(h[i], is_nan16<HalfFormat>(bits) ? kNan16 : i);
    EXPECT_EQ(b[i], is_nan16<BfloatFormat>(bits) ? kNan16 : i);
    if (!is_nan16<HalfFormat>(bits)) EXPECT_EQ(double{w[i]}, value16<HalfFormat>(bits));
    if (!is_nan16<BfloatFormat>(bits)) EXPECT_EQ(double{wb[i]}, value16<BfloatFormat>(bits));
  }
}

}  // namespace
