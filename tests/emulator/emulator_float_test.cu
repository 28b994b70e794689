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

#include "emulated_device.h"

namespace {

constexpr int kCount = 1 << 14;

// Random bit patterns, a quarter of them near the special ones: zeros, denormals, ones, the largest, infinities, NaNs.
template <class B>
std::vector<B> operands(uint64_t seed) {
  constexpr int kBits = 8 * sizeof(B), kMantissa = kBits == 64 ? 52 : kBits == 32 ? 23 : 10;
  std::mt19937_64 random(seed);
  std::vector<B> values(kCount);
  const B infinity = static_cast<B>(((B{1} << (kBits - 1 - kMantissa)) - 1) << kMantissa);
  const B special[] = {0,
                       1,
                       static_cast<B>((B{1} << kMantissa) - 1),
                       static_cast<B>(B{1} << kMantissa),
                       static_cast<B>(infinity - 1),
                       infinity,
                       static_cast<B>(infinity + 1),
                       static_cast<B>(infinity / 2)};
  for (B& v : values) {
    v = static_cast<B>(random());
    if (random() % 4 == 0) v = static_cast<B>(special[random() % 8] | (random() % 2 ? B{1} << (kBits - 1) : B{0}));
  }
  return values;
}

float canonical(float v) { return v != v ? std::bit_cast<float>(0x7fffffffu) : v; }
float flushed(float v) { return std::fpclassify(v) == FP_SUBNORMAL ? std::copysign(0.0f, v) : v; }

template <class Bits, class Op>
__global__ void apply_kernel(const Bits* a, const Bits* b, const Bits* c, Bits* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = Op::device(a[i], b[i], c[i]);
}

// Compares an operation's device() with its host(), both on bits.
template <class Bits, class Op>
void compare(const char* name) {
  SCOPED_TRACE(name);
  const auto a = operands<Bits>(1), b = operands<Bits>(2), c = operands<Bits>(3);
  DeviceBuffer<Bits> da(a), db(b), dc(c), out(kCount);
  apply_kernel<Bits, Op><<<(kCount + 255) / 256, 256>>>(da.data(), db.data(), dc.data(), out.data(), kCount);
  const auto got = out.host();
  int wrong = 0;
  for (int i = 0; i < kCount && wrong < 4; ++i) {
    const Bits expected = Op::host(a[i], b[i], c[i]);
    if (got[i] != expected) {
      ++wrong;
      ADD_FAILURE() << std::hex << "a " << +a[i] << " b " << +b[i] << " c " << +c[i] << " got " << +got[i] << " expected "
                    << +expected;
    }
  }
}

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

#define WARPLOOM_OP3(name, bits, constraint, text, host_expression)                \
  struct name {                                                                    \
    static __device__ bits device(bits a, bits b, bits c) {                        \
      bits d;                                                                      \
      asm(text : "=" constraint(d) : constraint(a), constraint(b), constraint(c)); \
      return d;                                                                    \
    }                                                                              \
    static bits host(bits x, bits y, bits z) { return host_expression; }           \
  };
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

// f16 on the host in whole numbers: every finite value is a multiple of 2^-24, so products are multiples of 2^-48 and sums
// of those fit 128 bits. The result is the nearest entry of the list of all halves.
struct Exact {
  __int128 units = 0;  // of 2^-48
  bool nan = false, infinite = false, negative = false;
};
__int128 half_units(int bits) {  // of 2^-48
  const int exponent = bits >> 10, mantissa = bits & 0x3ff;
  return exponent == 0 ? static_cast<__int128>(mantissa) << 24
                       : static_cast<__int128>(mantissa | 0x400) << (24 + exponent - 1);
}
Exact exact(uint16_t v) {
  const int magnitude = v & 0x7fff;
  Exact e;
  e.negative = (v & 0x8000) != 0;
  e.nan = magnitude > 0x7c00;
  e.infinite = magnitude == 0x7c00;
  if (magnitude < 0x7c00) e.units = e.negative ? -half_units(magnitude) : half_units(magnitude);
  return e;
}
Exact add(Exact a, Exact b) {
  Exact r;
  r.nan = a.nan || b.nan || (a.infinite && b.infinite && a.negative != b.negative);
  r.infinite = a.infinite || b.infinite;
  r.units = a.units + b.units;
  r.negative = r.infinite ? (a.infinite ? a.negative : b.negative) : r.units != 0 ? r.units < 0 : a.negative && b.negative;
  return r;
}
Exact multiply(Exact a, Exact b) {
  Exact r;
  const bool zero = (!a.infinite && a.units == 0) || (!b.infinite && b.units == 0);
  r.nan = a.nan || b.nan || ((a.infinite || b.infinite) && zero);
  r.infinite = a.infinite || b.infinite;
  r.negative = a.negative != b.negative;
  r.units = (a.units >> 24) * (b.units >> 24);
  return r;
}
uint16_t rounded(const Exact& e) {
  if (e.nan) return 0x7fff;
  const uint16_t sign = e.negative ? 0x8000 : 0;
  if (e.infinite) return sign | 0x7c00;
  const __int128 magnitude = e.units < 0 ? -e.units : e.units;
  int low = 0, high = 0x7c00;  // the largest half that is not above, by bisection; 0x7c00 stands for 65536
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (half_units(middle) <= magnitude ? low : high) = middle;
  }
  const __int128 below = magnitude - half_units(low), above = half_units(low + 1) - magnitude;
  const bool up = above < below || (above == below && (low & 1) != 0);
  return sign | static_cast<uint16_t>(low + (up ? 1 : 0));
}
Exact negated(Exact e) {
  e.negative = !e.negative;
  e.units = -e.units;
  return e;
}

#define WARPLOOM_F16(name, opcode, args, expression)                                                                  \
  WARPLOOM_OP3(name, uint16_t, "h", "{ .reg .b16 t; mov.b16 t, %2; mov.b16 t, %3; " opcode " %0, " args "; }", ([&] { \
                 const Exact a = exact(x), b = exact(y), c = exact(z);                                                \
                 (void)a, (void)b, (void)c;                                                                           \
                 return rounded(expression);                                                                          \
               }()))
WARPLOOM_F16(HalfAdd, "add.rn.f16", "%1, %2", add(a, b))
WARPLOOM_F16(HalfSub, "sub.rn.f16", "%1, %2", add(a, negated(b)))
WARPLOOM_F16(HalfMul, "mul.rn.f16", "%1, %2", multiply(a, b))
WARPLOOM_F16(HalfFma, "fma.rn.f16", "%1, %2, %3", add(multiply(a, b), c))

TEST(Float, F16) {
  compare<uint16_t, HalfAdd>("add.f16");
  compare<uint16_t, HalfSub>("sub.f16");
  compare<uint16_t, HalfMul>("mul.f16");
  compare<uint16_t, HalfFma>("fma.f16");
}

// All 65536 halves and bfloats, widened and narrowed again.
__global__ void round_trip_kernel(uint16_t* half, uint16_t* bfloat, float* wide) {
  const uint16_t bits = static_cast<uint16_t>(blockIdx.x * blockDim.x + threadIdx.x);
  wide[bits] = __half2float(__ushort_as_half(bits));
  half[bits] = __half_as_ushort(__float2half_rn(__half2float(__ushort_as_half(bits))));
  bfloat[bits] = __bfloat16_as_ushort(__float2bfloat16_rn(__bfloat162float(__ushort_as_bfloat16(bits))));
}
TEST(Float, HalfRoundTrip) {
  DeviceBuffer<uint16_t> half(65536), bfloat(65536);
  DeviceBuffer<float> wide(65536);
  round_trip_kernel<<<256, 256>>>(half.data(), bfloat.data(), wide.data());
  const auto h = half.host(), b = bfloat.host();
  const auto w = wide.host();
  for (int i = 0; i < 65536; ++i) {
    const int magnitude = i & 0x7fff;
    EXPECT_EQ(h[i], magnitude > 0x7c00 ? 0x7fff : i);
    EXPECT_EQ(b[i], magnitude > 0x7f80 ? 0x7fff : i);
    if (magnitude < 0x7c00) EXPECT_EQ(std::fabs(w[i]), std::ldexp(static_cast<double>(half_units(magnitude)), -48));
  }
}

// cvt.rn.bf16.f32: to nearest even on the upper half of the bits.
__global__ void narrow_kernel(const uint32_t* in, uint16_t* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out[i]) : "f"(__uint_as_float(in[i])));
}
TEST(Float, Bfloat) {
  const auto values = operands<uint32_t>(4);
  DeviceBuffer<uint32_t> in(values);
  DeviceBuffer<uint16_t> out(kCount);
  narrow_kernel<<<kCount / 256, 256>>>(in.data(), out.data(), kCount);
  const auto got = out.host();
  for (int i = 0; i < kCount; ++i) {
    const uint32_t v = values[i];
    const uint32_t expected = (v & 0x7fffffff) > 0x7f800000 ? 0x7fff : (v + 0x7fff + ((v >> 16) & 1)) >> 16;
    ASSERT_EQ(got[i], expected) << std::hex << v;
  }
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

// A tile product through the tensor core instructions, small whole numbers so that every order of summation is exact.
template <class T>
__global__ void matrix_kernel(const T* a, const T* b, float* c) {
  __shared__ T sa[256], sb[256];
  for (int i = threadIdx.x; i < 256; i += 32) sa[i] = a[i], sb[i] = b[i];
  __syncwarp();
  // Fragments through ldmatrix, products through mma.sync m16n8k16, for both halves of the 16 columns.
  uint32_t ra[4];
  const uint32_t row = static_cast<uint32_t>(__cvta_generic_to_shared(sa + (threadIdx.x % 16) * 16 + threadIdx.x / 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3])
               : "r"(row));
  for (int half = 0; half < 2; ++half) {
    uint32_t rb[2];
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(sb + (threadIdx.x % 16) * 16 + half * 8));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(at));
    float d[4];
    if constexpr (std::is_same_v<T, __half>)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]), "f"(0.5f));
    else
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]), "f"(0.5f));
    for (int k = 0; k < 4; ++k) c[(threadIdx.x / 4 + (k / 2) * 8) * 16 + half * 8 + threadIdx.x % 4 * 2 + k % 2] = d[k];
  }
}
template <class T>
void test_matrix() {
  std::vector<T> a(256), b(256);
  std::vector<int> x(256), y(256);
  for (int i = 0; i < 256; ++i) {
    x[i] = (i * 7 + i / 16) % 23 - 11, y[i] = (i * 5 + i / 9) % 19 - 9;
    a[i] = T(static_cast<float>(x[i])), b[i] = T(static_cast<float>(y[i]));
  }
  DeviceBuffer<T> da(a), db(b);
  DeviceBuffer<float> dc(256);
  matrix_kernel<T><<<1, 32>>>(da.data(), db.data(), dc.data());
  const auto c = dc.host();
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) sum += x[m * 16 + k] * y[k * 16 + n];
      EXPECT_EQ(c[m * 16 + n], static_cast<float>(sum) + 0.5f) << m << "," << n;
    }
}
TEST(Matrix, Half) { test_matrix<__half>(); }
TEST(Matrix, Bfloat) { test_matrix<__nv_bfloat16>(); }

}  // namespace
