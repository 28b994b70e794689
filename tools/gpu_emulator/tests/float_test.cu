// Floating-point instructions against the host's arithmetic, bit for bit, on random operands with every kind of special
// value.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <random>

#include "instruction_test.h"

namespace {

float canonical(float v) { return v != v ? std::bit_cast<float>(0x7fffffffu) : v; }
float flushed(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

// A NaN gives way to a number; -0 is below +0.
float smaller(float a, float b) { return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b; }

// The host's side of f32: in the rounding mode, with flushing and saturation as PTX has them.
template <class F>
uint32_t f32(F f, int mode = FE_TONEAREST, bool ftz = false, bool sat = false) {
  std::fesetround(mode);
  volatile float r = f();
  std::fesetround(FE_TONEAREST);
  float v = r;
  if (ftz) v = flushed(v);
  if (sat) v = v > 0 ? std::min(v, 1.0f) : 0.0f;
  return std::bit_cast<uint32_t>(canonical(v));
}

// Operands of a three-operand text that does not use all: "{ .. }" keeps them referenced.
#define WARPLOOM_F32(name, opcode, args, mode, ftz, sat, expression)                                                   \
  WARPLOOM_OP3(name, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; " opcode " %0, " args "; }", ([&] {  \
                 volatile float a = std::bit_cast<float>(x), b = std::bit_cast<float>(y), c = std::bit_cast<float>(z); \
                 if (ftz) {                                                                                            \
                   a = flushed(a);                                                                                     \
                   b = flushed(b);                                                                                     \
                   c = flushed(c);                                                                                     \
                 }                                                                                                     \
                 (void)a, (void)b, (void)c;                                                                            \
                 return f32([&] { return expression; }, mode, ftz, sat);                                               \
               }()))

WARPLOOM_F32(AddRn, "add.rn.f32", "%1, %2", FE_TONEAREST, false, false, a + b)
WARPLOOM_F32(AddRz, "add.rz.f32", "%1, %2", FE_TOWARDZERO, false, false, a + b)
WARPLOOM_F32(AddRm, "add.rm.f32", "%1, %2", FE_DOWNWARD, false, false, a + b)
WARPLOOM_F32(AddRp, "add.rp.f32", "%1, %2", FE_UPWARD, false, false, a + b)
WARPLOOM_F32(AddFtz, "add.rn.ftz.f32", "%1, %2", FE_TONEAREST, true, false, a + b)
WARPLOOM_F32(AddSat, "add.rn.sat.f32", "%1, %2", FE_TONEAREST, false, true, a + b)
WARPLOOM_F32(SubRn, "sub.rn.f32", "%1, %2", FE_TONEAREST, false, false, a - b)
WARPLOOM_F32(MulRn, "mul.rn.f32", "%1, %2", FE_TONEAREST, false, false, a* b)
WARPLOOM_F32(MulRz, "mul.rz.f32", "%1, %2", FE_TOWARDZERO, false, false, a* b)
WARPLOOM_F32(MulFtz, "mul.rn.ftz.f32", "%1, %2", FE_TONEAREST, true, false, a* b)
WARPLOOM_F32(FmaRn, "fma.rn.f32", "%1, %2, %3", FE_TONEAREST, false, false, std::fma(a, b, c))
WARPLOOM_F32(FmaRm, "fma.rm.f32", "%1, %2, %3", FE_DOWNWARD, false, false, std::fma(a, b, c))
WARPLOOM_F32(FmaFtzSat, "fma.rn.ftz.sat.f32", "%1, %2, %3", FE_TONEAREST, true, true, std::fma(a, b, c))
WARPLOOM_F32(DivRn, "div.rn.f32", "%1, %2", FE_TONEAREST, false, false, a / b)
WARPLOOM_F32(DivRp, "div.rp.f32", "%1, %2", FE_UPWARD, false, false, a / b)
WARPLOOM_F32(RcpRn, "rcp.rn.f32", "%1", FE_TONEAREST, false, false, 1 / a)
WARPLOOM_F32(SqrtRn, "sqrt.rn.f32", "%1", FE_TONEAREST, false, false, std::sqrt(a))
WARPLOOM_F32(SqrtRz, "sqrt.rz.f32", "%1", FE_TOWARDZERO, false, false, std::sqrt(a))
WARPLOOM_F32(MinF32, "min.f32", "%1, %2", FE_TONEAREST, false, false, smaller(a, b))
WARPLOOM_F32(MaxF32, "max.f32", "%1, %2", FE_TONEAREST, false, false, -smaller(-a, -b))
WARPLOOM_F32(MaxNan, "max.NaN.f32", "%1, %2", FE_TONEAREST, false, false, a != a || b != b ? NAN : -smaller(-a, -b))
WARPLOOM_F32(RoundRni, "cvt.rni.f32.f32", "%1", FE_TONEAREST, false, false, std::nearbyint(a))
WARPLOOM_F32(RoundRmi, "cvt.rmi.f32.f32", "%1", FE_TONEAREST, false, false, std::floor(a))

WARPLOOM_F32(SubRm, "sub.rm.f32", "%1, %2", FE_DOWNWARD, false, false, a - b)
WARPLOOM_F32(SubFtzSat, "sub.rn.ftz.sat.f32", "%1, %2", FE_TONEAREST, true, true, a - b)
WARPLOOM_F32(MulRp, "mul.rp.f32", "%1, %2", FE_UPWARD, false, false, a* b)
WARPLOOM_F32(MulSat, "mul.rn.sat.f32", "%1, %2", FE_TONEAREST, false, true, a* b)
WARPLOOM_F32(FmaRz, "fma.rz.f32", "%1, %2, %3", FE_TOWARDZERO, false, false, std::fma(a, b, c))
WARPLOOM_F32(FmaRp, "fma.rp.f32", "%1, %2, %3", FE_UPWARD, false, false, std::fma(a, b, c))
WARPLOOM_F32(DivRz, "div.rz.f32", "%1, %2", FE_TOWARDZERO, false, false, a / b)
WARPLOOM_F32(DivFtz, "div.rn.ftz.f32", "%1, %2", FE_TONEAREST, true, false, a / b)
WARPLOOM_F32(RcpRm, "rcp.rm.f32", "%1", FE_DOWNWARD, false, false, 1 / a)
WARPLOOM_F32(RcpFtz, "rcp.rn.ftz.f32", "%1", FE_TONEAREST, true, false, 1 / a)
WARPLOOM_F32(SqrtRp, "sqrt.rp.f32", "%1", FE_UPWARD, false, false, std::sqrt(a))
WARPLOOM_F32(SqrtFtz, "sqrt.rn.ftz.f32", "%1", FE_TONEAREST, true, false, std::sqrt(a))
WARPLOOM_F32(MinFtz, "min.ftz.f32", "%1, %2", FE_TONEAREST, true, false, smaller(a, b))
WARPLOOM_F32(RoundRpi, "cvt.rpi.f32.f32", "%1", FE_TONEAREST, false, false, std::ceil(a))
WARPLOOM_F32(RoundRzi, "cvt.rzi.f32.f32", "%1", FE_TONEAREST, false, false, std::trunc(a))
// Signs alone change, of NaNs too (PTX leaves their bits open; a GPU does this).
WARPLOOM_OP3(NegF32, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; neg.f32 %0, %1; }", x ^ 0x80000000)
WARPLOOM_OP3(AbsF32, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; abs.f32 %0, %1; }", x & 0x7fffffff)
WARPLOOM_OP3(CopySign, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %3; copysign.f32 %0, %1, %2; }",
             (y & 0x7fffffff) | (x & 0x80000000))
// A bit for each class of testp.
struct Classes {
  static __device__ uint32_t device(uint32_t a, uint32_t, uint32_t) {
    uint32_t one, all = 0;
#define WARPLOOM_TESTP(name, bit)                                                                \
  asm("{ .reg .pred p; testp." name ".f32 p, %1; selp.b32 %0, 1, 0, p; }" : "=r"(one) : "r"(a)); \
  all |= one << bit;
    WARPLOOM_TESTP("finite", 0)
    WARPLOOM_TESTP("infinite", 1)
    WARPLOOM_TESTP("number", 2)
    WARPLOOM_TESTP("notanumber", 3)
    WARPLOOM_TESTP("normal", 4)
    WARPLOOM_TESTP("subnormal", 5)
#undef WARPLOOM_TESTP
    return all;
  }
  static uint32_t host(uint32_t x, uint32_t, uint32_t) {
    const float v = std::bit_cast<float>(x);
    const bool nan = std::isnan(v);
    const uint32_t normal = std::isnormal(v), zero = v == 0;  // zero is neither normal nor subnormal
    return static_cast<uint32_t>(std::isfinite(v)) | static_cast<uint32_t>(std::isinf(v)) << 1 |
           static_cast<uint32_t>(!nan) << 2 | static_cast<uint32_t>(nan) << 3 | normal << 4 |
           static_cast<uint32_t>(std::isfinite(v) && !normal && !zero) << 5;
  }
};

TEST(Float, F32) {
  compare<uint32_t, AddRn>("add.rn");
  compare<uint32_t, AddRz>("add.rz");
  compare<uint32_t, AddRm>("add.rm");
  compare<uint32_t, AddRp>("add.rp");
  compare<uint32_t, AddFtz>("add.ftz");
  compare<uint32_t, AddSat>("add.sat");
  compare<uint32_t, SubRn>("sub.rn");
  compare<uint32_t, MulRn>("mul.rn");
  compare<uint32_t, MulRz>("mul.rz");
  compare<uint32_t, MulFtz>("mul.ftz");
  compare<uint32_t, FmaRn>("fma.rn");
  compare<uint32_t, FmaRm>("fma.rm");
  compare<uint32_t, FmaFtzSat>("fma.ftz.sat");
  compare<uint32_t, DivRn>("div.rn");
  compare<uint32_t, DivRp>("div.rp");
  compare<uint32_t, RcpRn>("rcp.rn");
  compare<uint32_t, SqrtRn>("sqrt.rn");
  compare<uint32_t, SqrtRz>("sqrt.rz");
  compare<uint32_t, MinF32>("min");
  compare<uint32_t, MaxF32>("max");
  compare<uint32_t, MaxNan>("max.NaN");
  compare<uint32_t, RoundRni>("cvt.rni");
  compare<uint32_t, RoundRmi>("cvt.rmi");
  compare<uint32_t, SubRm>("sub.rm");
  compare<uint32_t, SubFtzSat>("sub.ftz.sat");
  compare<uint32_t, MulRp>("mul.rp");
  compare<uint32_t, MulSat>("mul.sat");
  compare<uint32_t, FmaRz>("fma.rz");
  compare<uint32_t, FmaRp>("fma.rp");
  compare<uint32_t, DivRz>("div.rz");
  compare<uint32_t, DivFtz>("div.ftz");
  compare<uint32_t, RcpRm>("rcp.rm");
  compare<uint32_t, RcpFtz>("rcp.ftz");
  compare<uint32_t, SqrtRp>("sqrt.rp");
  compare<uint32_t, SqrtFtz>("sqrt.ftz");
  compare<uint32_t, MinFtz>("min.ftz");
  compare<uint32_t, RoundRpi>("cvt.rpi");
  compare<uint32_t, RoundRzi>("cvt.rzi");
  compare<uint32_t, NegF32>("neg");
  compare<uint32_t, AbsF32>("abs");
  compare<uint32_t, CopySign>("copysign");
  compare<uint32_t, Classes>("testp");
}

// Integers from floats: saturating, NaN gives 0 (or the sign bit of 64-bit results).
WARPLOOM_OP3(ToS32Rzi, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; cvt.rzi.s32.f32 %0, %1; }", ([&] {
               const double v = std::trunc(double{std::bit_cast<float>(x)});
               return static_cast<uint32_t>(v != v ? 0 : static_cast<int32_t>(std::clamp(v, -2147483648.0, 2147483647.0)));
             }()))
WARPLOOM_OP3(ToU32Rni, uint32_t, "r", "{ .reg .b32 t; mov.b32 t, %2; mov.b32 t, %3; cvt.rni.u32.f32 %0, %1; }", ([&] {
               const double v = std::nearbyint(double{std::bit_cast<float>(x)});
               return v != v ? 0u : static_cast<uint32_t>(std::clamp(v, 0.0, 4294967295.0));
             }()))
WARPLOOM_F32(FromS32Rz, "cvt.rz.f32.s32", "%1", FE_TOWARDZERO, false, false, [&] {
  volatile int32_t i = static_cast<int32_t>(x);
  return static_cast<float>(i);
}())
WARPLOOM_F32(FromU32Rn, "cvt.rn.f32.u32", "%1", FE_TONEAREST, false, false, static_cast<float>(x))

TEST(Float, Conversions) {
  compare<uint32_t, ToS32Rzi>("cvt.rzi.s32.f32");
  compare<uint32_t, ToU32Rni>("cvt.rni.u32.f32");
  compare<uint32_t, FromS32Rz>("cvt.rz.f32.s32");
  compare<uint32_t, FromU32Rn>("cvt.rn.f32.u32");
}

// f64.
#define WARPLOOM_F64(name, opcode, args, mode, expression)                                                                 \
  WARPLOOM_OP3(name, uint64_t, "l", "{ .reg .b64 t; mov.b64 t, %2; mov.b64 t, %3; " opcode " %0, " args "; }", ([&] {      \
                 volatile double a = std::bit_cast<double>(x), b = std::bit_cast<double>(y), c = std::bit_cast<double>(z); \
                 (void)a, (void)b, (void)c;                                                                                \
                 std::fesetround(mode);                                                                                    \
                 volatile double r = expression;                                                                           \
                 std::fesetround(FE_TONEAREST);                                                                            \
                 return std::bit_cast<uint64_t>(double{r});                                                                \
               }()))
WARPLOOM_F64(DoubleAdd, "add.rz.f64", "%1, %2", FE_TOWARDZERO, a + b)
WARPLOOM_F64(DoubleFma, "fma.rn.f64", "%1, %2, %3", FE_TONEAREST, std::fma(a, b, c))
WARPLOOM_F64(DoubleDiv, "div.rm.f64", "%1, %2", FE_DOWNWARD, a / b)
WARPLOOM_F64(DoubleSub, "sub.rp.f64", "%1, %2", FE_UPWARD, a - b)
WARPLOOM_F64(DoubleMul, "mul.rn.f64", "%1, %2", FE_TONEAREST, a* b)
WARPLOOM_F64(DoubleFmaRz, "fma.rz.f64", "%1, %2, %3", FE_TOWARDZERO, std::fma(a, b, c))
WARPLOOM_F64(DoubleRcp, "rcp.rn.f64", "%1", FE_TONEAREST, 1 / a)
WARPLOOM_F64(DoubleDivRn, "div.rn.f64", "%1, %2", FE_TONEAREST, a / b)
WARPLOOM_F64(DoubleMin, "min.f64", "%1, %2", FE_TONEAREST,
             a != a   ? b
             : b != b ? a
             : a == b ? (std::signbit(a) ? a : b)
                      : std::min(double{a}, double{b}))
WARPLOOM_F64(DoubleMax, "max.f64", "%1, %2", FE_TONEAREST,
             a != a   ? b
             : b != b ? a
             : a == b ? (std::signbit(a) ? b : a)
                      : std::max(double{a}, double{b}))
WARPLOOM_F64(DoubleSqrt, "sqrt.rp.f64", "%1", FE_UPWARD, std::sqrt(a))
// NaNs keep the host's payload rule, which compilers may apply to either operand: only their being NaN is compared.
template <class Op>
struct AnyNan {
  static uint64_t quiet(uint64_t v) { return (v & 0x7fffffffffffffff) > 0x7ff0000000000000 ? ~uint64_t{0} : v; }
  static __device__ uint64_t device(uint64_t a, uint64_t b, uint64_t c) {
    const uint64_t v = Op::device(a, b, c);
    return (v & 0x7fffffffffffffff) > 0x7ff0000000000000 ? ~uint64_t{0} : v;
  }
  static uint64_t host(uint64_t a, uint64_t b, uint64_t c) { return quiet(Op::host(a, b, c)); }
};
TEST(Float, F64) {
  compare<uint64_t, AnyNan<DoubleAdd>>("add.rz");
  compare<uint64_t, AnyNan<DoubleFma>>("fma.rn");
  compare<uint64_t, AnyNan<DoubleDiv>>("div.rm");
  compare<uint64_t, AnyNan<DoubleSqrt>>("sqrt.rp");
  compare<uint64_t, AnyNan<DoubleSub>>("sub.rp");
  compare<uint64_t, AnyNan<DoubleMul>>("mul.rn");
  compare<uint64_t, AnyNan<DoubleFmaRz>>("fma.rz");
  compare<uint64_t, AnyNan<DoubleRcp>>("rcp.rn");
  compare<uint64_t, AnyNan<DoubleDivRn>>("div.rn");
  compare<uint64_t, AnyNan<DoubleMin>>("min");
  compare<uint64_t, AnyNan<DoubleMax>>("max");
}

// The approximations, within the error that the PTX ISA documents (9.7.3), on ordinary arguments.
__global__ void approximate_kernel(const float* x, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float* o = out + 7 * i;
  asm("ex2.approx.f32 %0, %1;" : "=f"(o[0]) : "f"(x[i]));
  asm("lg2.approx.f32 %0, %1;" : "=f"(o[1]) : "f"(fabsf(x[i])));
  asm("rcp.approx.f32 %0, %1;" : "=f"(o[2]) : "f"(x[i]));
  asm("rsqrt.approx.f32 %0, %1;" : "=f"(o[3]) : "f"(fabsf(x[i])));
  asm("sin.approx.f32 %0, %1;" : "=f"(o[4]) : "f"(x[i]));
  asm("cos.approx.f32 %0, %1;" : "=f"(o[5]) : "f"(x[i]));
  asm("tanh.approx.f32 %0, %1;" : "=f"(o[6]) : "f"(x[i]));
}
TEST(Float, Approximations) {
  std::vector<float> x(kCount);
  std::mt19937 random(5);
  for (float& v : x) v = std::uniform_real_distribution<float>(-3.14f, 3.14f)(random);
  DeviceBuffer<float> in(x), out(7 * kCount);
  approximate_kernel<<<kCount / 256, 256>>>(in.data(), out.data(), kCount);
  const auto got = out.host();
  for (int i = 0; i < kCount; ++i) {
    const double v = x[i];
    const double expected[] = {
        std::exp2(v), std::log2(std::fabs(v)), 1 / v, 1 / std::sqrt(std::fabs(v)), std::sin(v), std::cos(v), std::tanh(v)};
    const double bound[] = {0x1p-21, 0x1p-21, 0x1p-22, 0x1p-21, 0x1p-20, 0x1p-20, 0x1p-10};
    for (int k = 0; k < 7; ++k)
      EXPECT_LE(std::fabs(got[7 * i + k] - expected[k]), bound[k] * std::max(1.0, std::fabs(expected[k])))
          << k << " of " << v;
  }
}

// On random bits, all special values among them: the limits are the PTX ISA's tables of special inputs, else the documented
// error, relative to the result.
__global__ void special_kernel(const uint32_t* x, const uint32_t* y, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = __uint_as_float(x[i]), b = __uint_as_float(y[i]);
  float* o = out + 9 * i;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(o[0]) : "f"(a));
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(o[1]) : "f"(a));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(o[2]) : "f"(a));
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(o[3]) : "f"(a));
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(o[4]) : "f"(a));
  asm("tanh.approx.f32 %0, %1;" : "=f"(o[5]) : "f"(a));
  asm("div.full.ftz.f32 %0, %1, %2;" : "=f"(o[6]) : "f"(a), "f"(b));
  asm("ex2.approx.f32 %0, %1;" : "=f"(o[7]) : "f"(a));
  asm("rcp.approx.f32 %0, %1;" : "=f"(o[8]) : "f"(a));
}
TEST(Float, ApproximationsOfAnyBits) {
  auto x = operands<uint32_t>(7), y = operands<uint32_t>(8);
  std::mt19937 random(9);  // exponents of ex2 that neither overflow nor vanish
  for (size_t i = 0; i < x.size(); i += 3)
    x[i] = std::bit_cast<uint32_t>(std::uniform_real_distribution<float>(-160.0f, 140.0f)(random));
  DeviceBuffer<uint32_t> dx(x), dy(y);
  DeviceBuffer<float> out(9 * kCount);
  special_kernel<<<kCount / 256, 256>>>(dx.data(), dy.data(), out.data(), kCount);
  const auto got = out.host();
  for (int i = 0; i < kCount; ++i) {
    const float plain = std::bit_cast<float>(x[i]), a = flushed(plain), b = flushed(std::bit_cast<float>(y[i]));
    const double d = a;
    // div.full is documented for divisors of 2^-126 to 2^126 alone.
    const bool quotient = std::fabs(b) >= 0x1p-126f && std::fabs(b) <= 0x1p126f;
    const double expected[] = {std::exp2(d),
                               std::log2(d),
                               1 / d,
                               1 / std::sqrt(d),
                               std::sqrt(d),
                               std::tanh(double{plain}),
                               quotient ? d / b : got[9 * i + 6],
                               std::exp2(double{plain}),
                               1 / double{plain}};
    const double bound[] = {0x1p-21, 0x1p-21, 0x1p-22, 0x1p-21, 0x1p-21, 0x1p-10, 0x1p-21, 0x1p-21, 0x1p-22};
    for (int k = 0; k < 9; ++k) {
      const float is = got[9 * i + k];
      const bool ftz = k < 7 && k != 5;
      const float nearest = static_cast<float>(expected[k]), want = ftz ? flushed(nearest) : nearest;
      if (std::isnan(want) || std::isinf(want) || want == 0) {
        ASSERT_TRUE(std::isnan(want) ? std::isnan(is) : is == want && std::signbit(is) == std::signbit(want))
            << k << " of " << plain << ": " << is << ", not " << want;
      } else {
        ASSERT_NEAR(is, expected[k],
                    bound[k] * std::max(std::fabs(expected[k]), k == 1 ? 1.0 : 0.0) + (ftz ? 0x1p-126 : 0x1p-149))
            << k << " of " << plain;
      }
    }
  }
}

}  // namespace
