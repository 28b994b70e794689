// cvt between every kind of type, and comparisons of floats, against the host, bit for bit.
#include <algorithm>
#include <bit>
#include <cfenv>
#include <limits>

#include "half_oracle.h"
#include "instruction_test.h"

namespace {

// Sources and results as 64 bits, whatever their size.
template <class B, int kMantissa = sizeof(B) == 8   ? 52
                                   : sizeof(B) == 4 ? 23
                                                    : 10>
std::vector<uint64_t> sources(uint64_t seed) {
  const auto values = operands<B, kMantissa>(seed);
  return {values.begin(), values.end()};
}
double f32(uint64_t x) { return double{std::bit_cast<float>(static_cast<uint32_t>(x))}; }
double f64(uint64_t x) { return std::bit_cast<double>(x); }
double f16(uint64_t x) { return value16<HalfFormat>(static_cast<uint16_t>(x)); }
double bf16(uint64_t x) { return value16<BfloatFormat>(static_cast<uint16_t>(x)); }

// PTX ISA, cvt: a NaN gives 0, but with f64 sources or 64-bit results the upper bit.
template <class T>
uint64_t to_integer(double v, bool wide_source = false) {
  using U = std::make_unsigned_t<T>;
  if (v != v) return sizeof(T) == 8 || wide_source ? U{1} << (8 * sizeof(T) - 1) : 0;
  const double least = static_cast<double>(std::numeric_limits<T>::min());
  const double beyond = std::ldexp(1.0, std::numeric_limits<T>::digits);  // one more than the largest
  return static_cast<U>(v <= least    ? std::numeric_limits<T>::min()
                        : v >= beyond ? std::numeric_limits<T>::max()
                                      : static_cast<T>(v));
}
template <class F>
uint64_t to_16(double v, Round16 mode = Round16::kNearest) {
  if (v != v) return kNan16;
  if (std::isinf(v)) return (v < 0 ? 0x8000 : 0) | F::kInfinity;
  return round16<F>(v, 0, std::signbit(v) ? 0x8000 : 0, mode);
}
template <class T>
uint64_t to_f32(T v, int mode) {
  std::fesetround(mode);
  const volatile T from = v;
  const volatile float r = static_cast<float>(from);
  std::fesetround(FE_TONEAREST);
  return r != r ? 0x7fffffff : std::bit_cast<uint32_t>(float{r});
}
template <class T>
uint64_t to_f64(T v, int mode) {
  std::fesetround(mode);
  const volatile T from = v;
  const volatile double r = static_cast<double>(from);
  std::fesetround(FE_TONEAREST);
  return std::bit_cast<uint64_t>(double{r});
}
uint64_t flushed16(uint64_t v) { return (v & 0x7c00) == 0 ? v & 0x8000 : v; }
uint64_t flushed32(uint64_t v) { return (v & 0x7f800000) == 0 ? v & 0x80000000 : v; }

#define WARPLOOM_CVT(name, opcode, D, d_register, S, s_register, expression)      \
  struct name {                                                                   \
    static __device__ uint64_t device(uint64_t a, uint64_t, uint64_t) {           \
      D d;                                                                        \
      asm(opcode " %0, %1;" : "=" d_register(d) : s_register(static_cast<S>(a))); \
      return d;                                                                   \
    }                                                                             \
    static uint64_t host(uint64_t x, uint64_t, uint64_t) { return expression; }   \
  };

// To 16 bits.
WARPLOOM_CVT(HalfOfFloat, "cvt.rn.f16.f32", uint16_t, "h", uint32_t, "r", to_16<HalfFormat>(f32(x)))
WARPLOOM_CVT(HalfOfFloatRz, "cvt.rz.f16.f32", uint16_t, "h", uint32_t, "r", to_16<HalfFormat>(f32(x), Round16::kZero))
WARPLOOM_CVT(BfloatOfFloat, "cvt.rn.bf16.f32", uint16_t, "h", uint32_t, "r", to_16<BfloatFormat>(f32(x)))
WARPLOOM_CVT(BfloatOfFloatRz, "cvt.rz.bf16.f32", uint16_t, "h", uint32_t, "r", to_16<BfloatFormat>(f32(x), Round16::kZero))
WARPLOOM_CVT(BfloatRelu, "cvt.rn.relu.bf16.f32", uint16_t, "h", uint32_t, "r", f32(x) <= 0 ? 0 : to_16<BfloatFormat>(f32(x)))
WARPLOOM_CVT(HalfOfDouble, "cvt.rn.f16.f64", uint16_t, "h", uint64_t, "l", to_16<HalfFormat>(f64(x)))
WARPLOOM_CVT(HalfOfInt, "cvt.rn.f16.s32", uint16_t, "h", uint32_t, "r",
             to_16<HalfFormat>(static_cast<double>(static_cast<int32_t>(x))))
WARPLOOM_CVT(HalfOfShort, "cvt.rn.f16.u16", uint16_t, "h", uint16_t, "h", to_16<HalfFormat>(static_cast<double>(x)))
TEST(Convert, ToSixteenBits) {
  const auto singles = sources<uint32_t>(1);
  compare<uint64_t, HalfOfFloat>("f16.f32", singles);
  compare<uint64_t, HalfOfFloatRz>("rz.f16.f32", singles);
  compare<uint64_t, BfloatOfFloat>("bf16.f32", singles);
  compare<uint64_t, BfloatOfFloatRz>("rz.bf16.f32", singles);
  compare<uint64_t, BfloatRelu>("relu.bf16.f32", singles);
  compare<uint64_t, HalfOfDouble>("f16.f64", sources<uint64_t>(2));
  compare<uint64_t, HalfOfInt>("f16.s32", singles);
  compare<uint64_t, HalfOfShort>("f16.u16", sources<uint16_t>(3));
  // Most floats are far outside of f16: also those near its values, and near the middles between them.
  std::mt19937_64 random(4);
  std::vector<uint64_t> near(kCount);
  for (uint64_t& v : near) {
    const float value = static_cast<float>(value16<HalfFormat>(static_cast<uint16_t>(random() % 0x7c00)));
    v = std::bit_cast<uint32_t>(value) + (random() % 2 ? 0x1000 : 0) + random() % 3 - 1;
    v &= 0xffffffff;
  }
  compare<uint64_t, HalfOfFloat>("f16.f32 near halves", near);
  compare<uint64_t, HalfOfFloatRz>("rz.f16.f32 near halves", near);
}

__device__ uint64_t pack_halves(uint64_t a, uint64_t b) {
  uint32_t d;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "r"(static_cast<uint32_t>(a)), "r"(static_cast<uint32_t>(b)));
  return d;
}
__device__ uint64_t pack_bfloats(uint64_t a, uint64_t b) {
  uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "r"(static_cast<uint32_t>(a)), "r"(static_cast<uint32_t>(b)));
  return d;
}
struct PackHalves {
  static __device__ uint64_t device(uint64_t a, uint64_t b, uint64_t) { return pack_halves(a, b); }
  static uint64_t host(uint64_t x, uint64_t y, uint64_t) {
    return to_16<HalfFormat>(f32(x)) << 16 | to_16<HalfFormat>(f32(y));
  }
};
struct PackBfloats {
  static __device__ uint64_t device(uint64_t a, uint64_t b, uint64_t) { return pack_bfloats(a, b); }
  static uint64_t host(uint64_t x, uint64_t y, uint64_t) {
    return to_16<BfloatFormat>(f32(x)) << 16 | to_16<BfloatFormat>(f32(y));
  }
};
TEST(Convert, Pairs) {
  compare<uint64_t, PackHalves>("f16x2.f32", sources<uint32_t>(1), sources<uint32_t>(2));
  compare<uint64_t, PackBfloats>("bf16x2.f32", sources<uint32_t>(1), sources<uint32_t>(2));
}

// To f32 and f64.
WARPLOOM_CVT(FloatOfDouble, "cvt.rn.f32.f64", uint32_t, "r", uint64_t, "l", to_f32(f64(x), FE_TONEAREST))
WARPLOOM_CVT(FloatOfDoubleRz, "cvt.rz.f32.f64", uint32_t, "r", uint64_t, "l", to_f32(f64(x), FE_TOWARDZERO))
WARPLOOM_CVT(FloatOfDoubleRm, "cvt.rm.f32.f64", uint32_t, "r", uint64_t, "l", to_f32(f64(x), FE_DOWNWARD))
WARPLOOM_CVT(FloatOfDoubleRp, "cvt.rp.f32.f64", uint32_t, "r", uint64_t, "l", to_f32(f64(x), FE_UPWARD))
WARPLOOM_CVT(FloatOfDoubleFtz, "cvt.rn.ftz.f32.f64", uint32_t, "r", uint64_t, "l", flushed32(to_f32(f64(x), FE_TONEAREST)))
WARPLOOM_CVT(FloatOfLong, "cvt.rm.f32.s64", uint32_t, "r", uint64_t, "l", to_f32(static_cast<int64_t>(x), FE_DOWNWARD))
WARPLOOM_CVT(FloatOfUlong, "cvt.rp.f32.u64", uint32_t, "r", uint64_t, "l", to_f32(x, FE_UPWARD))
WARPLOOM_CVT(FloatOfByte, "cvt.rn.f32.u8", uint32_t, "r", uint32_t, "r", to_f32(static_cast<uint8_t>(x), FE_TONEAREST))
WARPLOOM_CVT(FloatOfShort, "cvt.rn.f32.s16", uint32_t, "r", uint16_t, "h", to_f32(static_cast<int16_t>(x), FE_TONEAREST))
WARPLOOM_CVT(FloatSat, "cvt.sat.f32.f32", uint32_t, "r", uint32_t, "r",
             to_f32(f32(x) > 0 ? std::min(f32(x), 1.0) : 0.0, FE_TONEAREST))
WARPLOOM_CVT(FloatUp, "cvt.rpi.f32.f32", uint32_t, "r", uint32_t, "r", to_f32(std::ceil(f32(x)), FE_TONEAREST))
WARPLOOM_CVT(FloatToZeroFtz, "cvt.rzi.ftz.f32.f32", uint32_t, "r", uint32_t, "r",
             to_f32(std::trunc(f32(flushed32(x))), FE_TONEAREST))
WARPLOOM_CVT(FloatOfHalf, "cvt.f32.f16", uint32_t, "r", uint16_t, "h", to_f32(f16(x), FE_TONEAREST))
WARPLOOM_CVT(FloatOfBfloat, "cvt.f32.bf16", uint32_t, "r", uint16_t, "h", to_f32(bf16(x), FE_TONEAREST))
WARPLOOM_CVT(DoubleOfLong, "cvt.rz.f64.s64", uint64_t, "l", uint64_t, "l", to_f64(static_cast<int64_t>(x), FE_TOWARDZERO))
WARPLOOM_CVT(DoubleOfUlong, "cvt.rn.f64.u64", uint64_t, "l", uint64_t, "l", to_f64(x, FE_TONEAREST))
WARPLOOM_CVT(DoubleOfInt, "cvt.rn.f64.s32", uint64_t, "l", uint32_t, "r", to_f64(static_cast<int32_t>(x), FE_TONEAREST))
TEST(Convert, ToFloats) {
  const auto singles = sources<uint32_t>(1), doubles = sources<uint64_t>(2);
  auto near = singles;  // doubles about floats and about the middles between them
  std::mt19937_64 random(5);
  for (uint64_t& v : near) {
    if (f32(v) == f32(v)) v = std::bit_cast<uint64_t>(f32(v)) + (random() % 2 << 28) + random() % 3 - 1;
  }
  for (const auto& d : {doubles, near}) {
    compare<uint64_t, FloatOfDouble>("rn.f32.f64", d);
    compare<uint64_t, FloatOfDoubleRz>("rz.f32.f64", d);
    compare<uint64_t, FloatOfDoubleRm>("rm.f32.f64", d);
    compare<uint64_t, FloatOfDoubleRp>("rp.f32.f64", d);
    compare<uint64_t, FloatOfDoubleFtz>("ftz.f32.f64", d);
  }
  compare<uint64_t, FloatOfLong>("rm.f32.s64", doubles);
  compare<uint64_t, FloatOfUlong>("rp.f32.u64", doubles);
  compare<uint64_t, FloatOfByte>("f32.u8", singles);
  compare<uint64_t, FloatOfShort>("f32.s16", sources<uint16_t>(3));
  compare<uint64_t, FloatSat>("sat.f32.f32", singles);
  compare<uint64_t, FloatUp>("rpi.f32.f32", singles);
  compare<uint64_t, FloatToZeroFtz>("rzi.ftz.f32.f32", singles);
  compare<uint64_t, FloatOfHalf>("f32.f16", sources<uint16_t>(4));
  compare<uint64_t, FloatOfBfloat>("f32.bf16", sources<uint16_t, 7>(5));
  compare<uint64_t, DoubleOfLong>("rz.f64.s64", doubles);
  compare<uint64_t, DoubleOfUlong>("rn.f64.u64", doubles);
  compare<uint64_t, DoubleOfInt>("f64.s32", singles);
}

// To integers.
WARPLOOM_CVT(IntDown, "cvt.rmi.s32.f32", uint32_t, "r", uint32_t, "r", to_integer<int32_t>(std::floor(f32(x))))
WARPLOOM_CVT(IntUp, "cvt.rpi.u32.f32", uint32_t, "r", uint32_t, "r", to_integer<uint32_t>(std::ceil(f32(x))))
WARPLOOM_CVT(IntFtz, "cvt.rpi.ftz.s32.f32", uint32_t, "r", uint32_t, "r", to_integer<int32_t>(std::ceil(f32(flushed32(x)))))
WARPLOOM_CVT(Byte, "cvt.rzi.u8.f32", uint32_t, "r", uint32_t, "r", to_integer<uint8_t>(std::trunc(f32(x))))
WARPLOOM_CVT(SignedByte, "cvt.rni.s8.f32", uint32_t, "r", uint32_t, "r",
             static_cast<uint32_t>(static_cast<int8_t>(to_integer<int8_t>(std::nearbyint(f32(x))))))
WARPLOOM_CVT(Short, "cvt.rni.s16.f32", uint16_t, "h", uint32_t, "r", to_integer<int16_t>(std::nearbyint(f32(x))))
WARPLOOM_CVT(Long, "cvt.rzi.s64.f32", uint64_t, "l", uint32_t, "r", to_integer<int64_t>(std::trunc(f32(x))))
WARPLOOM_CVT(Ulong, "cvt.rni.u64.f32", uint64_t, "l", uint32_t, "r", to_integer<uint64_t>(std::nearbyint(f32(x))))
WARPLOOM_CVT(IntOfDouble, "cvt.rni.s32.f64", uint32_t, "r", uint64_t, "l", to_integer<int32_t>(std::nearbyint(f64(x)), true))
WARPLOOM_CVT(UintOfDouble, "cvt.rmi.u32.f64", uint32_t, "r", uint64_t, "l", to_integer<uint32_t>(std::floor(f64(x)), true))
WARPLOOM_CVT(LongOfDouble, "cvt.rzi.s64.f64", uint64_t, "l", uint64_t, "l", to_integer<int64_t>(std::trunc(f64(x)), true))
WARPLOOM_CVT(UlongOfDouble, "cvt.rpi.u64.f64", uint64_t, "l", uint64_t, "l", to_integer<uint64_t>(std::ceil(f64(x)), true))
WARPLOOM_CVT(IntOfHalf, "cvt.rni.s32.f16", uint32_t, "r", uint16_t, "h", to_integer<int32_t>(std::nearbyint(f16(x))))
WARPLOOM_CVT(ByteOfInt, "cvt.sat.u8.s32", uint32_t, "r", uint32_t, "r",
             static_cast<uint64_t>(std::clamp<int32_t>(static_cast<int32_t>(x), 0, 255)))
WARPLOOM_CVT(IntOfLong, "cvt.sat.s32.s64", uint32_t, "r", uint64_t, "l",
             static_cast<uint32_t>(std::clamp<int64_t>(static_cast<int64_t>(x), INT32_MIN, INT32_MAX)))
WARPLOOM_CVT(LongOfByte, "cvt.s64.s8", uint64_t, "l", uint32_t, "r", static_cast<uint64_t>(static_cast<int8_t>(x)))
TEST(Convert, ToIntegers) {
  auto singles = sources<uint32_t>(1);
  std::mt19937_64 random(6);  // also where results don't saturate
  for (size_t i = 0; i < singles.size(); i += 2)
    singles[i] = std::bit_cast<uint32_t>(static_cast<float>(
        std::ldexp(static_cast<double>(static_cast<int64_t>(random())), -static_cast<int>(random() % 70))));
  auto doubles = sources<uint64_t>(2);
  for (size_t i = 0; i < doubles.size(); i += 2)
    doubles[i] = std::bit_cast<uint64_t>(
        std::ldexp(static_cast<double>(static_cast<int64_t>(random())), 1 - static_cast<int>(random() % 70)));
  compare<uint64_t, IntDown>("rmi.s32.f32", singles);
  compare<uint64_t, IntUp>("rpi.u32.f32", singles);
  compare<uint64_t, IntFtz>("rpi.ftz.s32.f32", singles);
  compare<uint64_t, Byte>("rzi.u8.f32", singles);
  compare<uint64_t, SignedByte>("rni.s8.f32", singles);
  compare<uint64_t, Short>("rni.s16.f32", singles);
  compare<uint64_t, Long>("rzi.s64.f32", singles);
  compare<uint64_t, Ulong>("rni.u64.f32", singles);
  compare<uint64_t, IntOfDouble>("rni.s32.f64", doubles);
  compare<uint64_t, UintOfDouble>("rmi.u32.f64", doubles);
  compare<uint64_t, LongOfDouble>("rzi.s64.f64", doubles);
  compare<uint64_t, UlongOfDouble>("rpi.u64.f64", doubles);
  compare<uint64_t, IntOfHalf>("rni.s32.f16", sources<uint16_t>(3));
  compare<uint64_t, ByteOfInt>("sat.u8.s32", singles);
  compare<uint64_t, IntOfLong>("sat.s32.s64", sources<uint64_t>(4));
  compare<uint64_t, LongOfByte>("s64.s8", singles);
}

// Bytes in registers of their own size, as CUB's loads and stores have them.
struct ByteRegister {
  static __device__ uint64_t device(uint64_t a, uint64_t, uint64_t) {
    uint32_t d;
    asm("{ .reg .u8 b; .reg .s8 s; .reg .u32 x, y; cvt.u8.u32 b, %1; cvt.s8.u32 s, %1; cvt.u32.u8 x, b; cvt.s32.s8 y, s; "
        "xor.b32 %0, x, y; }"
        : "=r"(d)
        : "r"(static_cast<uint32_t>(a)));
    return d;
  }
  static uint64_t host(uint64_t x, uint64_t, uint64_t) {
    return static_cast<uint32_t>(static_cast<uint8_t>(x)) ^ static_cast<uint32_t>(int32_t{static_cast<int8_t>(x)});
  }
};
TEST(Convert, RegistersOfBytes) { compare<uint64_t, ByteRegister>("u8 and s8", sources<uint32_t>(1)); }

// All fourteen comparisons at once, a bit each.
#define WARPLOOM_SETP(op, bit)                                                           \
  asm("{ .reg .pred p; setp." op "." WARPLOOM_TYPE " p, %1, %2; selp.b32 %0, 1, 0, p; }" \
      : "=r"(one)                                                                        \
      : WARPLOOM_REGISTER(x), WARPLOOM_REGISTER(y));                                     \
  all |= one << bit;
// clang-format never settles on where these lines end.
// clang-format off
#define WARPLOOM_ALL_COMPARISONS                                                                                     \
  uint32_t one, all = 0;                                                                                             \
  WARPLOOM_SETP("eq", 0)                                                                                             \
  WARPLOOM_SETP("ne", 1) WARPLOOM_SETP("lt", 2) WARPLOOM_SETP("le", 3) WARPLOOM_SETP("gt", 4) WARPLOOM_SETP("ge", 5) \
      WARPLOOM_SETP("equ", 6) WARPLOOM_SETP("neu", 7) WARPLOOM_SETP("ltu", 8) WARPLOOM_SETP("leu", 9)                \
          WARPLOOM_SETP("gtu", 10) WARPLOOM_SETP("geu", 11) WARPLOOM_SETP("num", 12) WARPLOOM_SETP("nan", 13) return all;
// clang-format on
uint64_t comparisons(double a, double b) {
  const bool nan = a != a || b != b;
  const bool results[] = {a == b,       !nan && a != b, a<b, a <= b, a> b, a >= b,        nan || a == b, nan || a != b,
                          nan || a < b, nan || a <= b,  nan || a > b,      nan || a >= b, !nan,          nan};
  uint64_t all = 0;
  for (int i = 0; i < 14; ++i) all |= static_cast<uint64_t>(results[i]) << i;
  return all;
}
#define WARPLOOM_COMPARISONS(name, S, expression)                                 \
  struct name {                                                                   \
    static __device__ uint64_t device(uint64_t a, uint64_t b, uint64_t) {         \
      const S x = static_cast<S>(a), y = static_cast<S>(b);                       \
      WARPLOOM_ALL_COMPARISONS                                                    \
    }                                                                             \
    static uint64_t host(uint64_t x, uint64_t y, uint64_t) { return expression; } \
  };
#define WARPLOOM_TYPE "f32"
#define WARPLOOM_REGISTER "r"
WARPLOOM_COMPARISONS(CompareFloats, uint32_t, comparisons(f32(x), f32(y)))
#undef WARPLOOM_TYPE
#define WARPLOOM_TYPE "ftz.f32"
WARPLOOM_COMPARISONS(CompareFlushed, uint32_t, comparisons(f32(flushed32(x)), f32(flushed32(y))))
#undef WARPLOOM_TYPE
#undef WARPLOOM_REGISTER
#define WARPLOOM_TYPE "f64"
#define WARPLOOM_REGISTER "l"
WARPLOOM_COMPARISONS(CompareDoubles, uint64_t, comparisons(f64(x), f64(y)))
#undef WARPLOOM_TYPE
#undef WARPLOOM_REGISTER
#define WARPLOOM_TYPE "f16"
#define WARPLOOM_REGISTER "h"
WARPLOOM_COMPARISONS(CompareHalves, uint16_t, comparisons(f16(x), f16(y)))
#undef WARPLOOM_TYPE
#define WARPLOOM_TYPE "ftz.f16"
WARPLOOM_COMPARISONS(CompareFlushedHalves, uint16_t, comparisons(f16(flushed16(x)), f16(flushed16(y))))
#undef WARPLOOM_TYPE
#define WARPLOOM_TYPE "bf16"
WARPLOOM_COMPARISONS(CompareBfloats, uint16_t, comparisons(bf16(x), bf16(y)))

TEST(Compare, Floats) {
  const auto a = sources<uint32_t>(1), c = sources<uint64_t>(2), e = sources<uint16_t>(3), g = sources<uint16_t, 7>(4);
  auto b = sources<uint32_t>(5), d = sources<uint64_t>(6), f = sources<uint16_t>(7), h = sources<uint16_t, 7>(8);
  for (size_t i = 0; i < kCount; i += 4) b[i] = a[i], d[i] = c[i], f[i] = e[i], h[i] = g[i];  // equals
  compare<uint64_t, CompareFloats>("f32", a, b);
  compare<uint64_t, CompareFlushed>("ftz.f32", a, b);
  compare<uint64_t, CompareDoubles>("f64", c, d);
  compare<uint64_t, CompareHalves>("f16", e, f);
  compare<uint64_t, CompareFlushedHalves>("ftz.f16", e, f);
  compare<uint64_t, CompareBfloats>("bf16", g, h);
}

// Selection by sign: of a float, flushed or not, and of an integer.
struct Select {
  static __device__ uint64_t device(uint64_t a, uint64_t b, uint64_t c) {
    uint32_t x, y, z;
    const uint32_t p = static_cast<uint32_t>(a), q = static_cast<uint32_t>(b), r = static_cast<uint32_t>(c);
    asm("slct.u32.f32 %0, %1, %2, %3;" : "=r"(x) : "r"(p), "r"(q), "r"(r));
    asm("slct.ftz.u32.f32 %0, %1, %2, %3;" : "=r"(y) : "r"(p), "r"(q), "r"(r));
    asm("slct.u32.s32 %0, %1, %2, %3;" : "=r"(z) : "r"(p), "r"(q), "r"(r));
    return static_cast<uint64_t>(x ^ 3 * y) << 32 | (y + 5 * z);
  }
  static uint64_t host(uint64_t a, uint64_t b, uint64_t c) {
    const uint32_t p = static_cast<uint32_t>(a), q = static_cast<uint32_t>(b);
    const uint32_t x = f32(c) >= 0 ? p : q, y = f32(flushed32(c)) >= 0 ? p : q, z = static_cast<int32_t>(c) >= 0 ? p : q;
    return static_cast<uint64_t>(x ^ 3 * y) << 32 | (y + 5 * z);
  }
};
TEST(Compare, SelectionBySign) {
  compare<uint64_t, Select>("slct", sources<uint32_t>(1), sources<uint32_t>(2), sources<uint32_t>(3));
}

}  // namespace
