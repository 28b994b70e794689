// How mma.sync sums: cases worked out by hand, and random ones with the rule in scalar integers. The numbers of bits are those
// of the emulated device; tests/CMakeLists.txt runs this for two.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cfenv>
#include <cstring>
#include <random>

#include "emulated_device.h"
#include "half_oracle.h"

namespace {

constexpr int kDepth = 16;

// One element of the result: sums of products of 16-bit patterns and a c of 32 bits (f32) or 16 (f16).
struct Dot {
  uint16_t a[kDepth] = {}, b[kDepth] = {};
  uint32_t c = 0;
};

enum class Form { kHalf, kBfloat, kHalfSum, kFlatHalf };

// All rows of A, columns of B and elements of C are the same, so all of D are.
template <Form kForm>
__global__ void dot_kernel(const Dot* dots, uint32_t* out) {
  const Dot& dot = dots[blockIdx.x];
  const int t = 2 * (threadIdx.x % 4);
  const auto pair = [](const uint16_t* v, int at) { return v[at] | static_cast<uint32_t>(v[at + 1]) << 16; };
  const uint32_t a0 = pair(dot.a, t), a2 = pair(dot.a, t + 8), b0 = pair(dot.b, t), b1 = pair(dot.b, t + 8);
  uint32_t d[4] = {}, c = dot.c;
  if constexpr (kForm == Form::kHalf)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4,%5,%5}, {%6,%7}, {%8,%8,%8,%8};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a0), "r"(a2), "r"(b0), "r"(b1), "r"(c));
  if constexpr (kForm == Form::kBfloat)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%5,%5}, {%6,%7}, {%8,%8,%8,%8};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a0), "r"(a2), "r"(b0), "r"(b1), "r"(c));
  if constexpr (kForm == Form::kFlatHalf)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4}, {%5}, {%6,%6,%6,%6};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a0), "r"(b0), "r"(c));
  if constexpr (kForm == Form::kHalfSum) {
    c |= c << 16;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%2,%3,%3}, {%4,%5}, {%6,%6};"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(a0), "r"(a2), "r"(b0), "r"(b1), "r"(c));
    d[2] = d[1] >> 16, d[3] = d[1] & 0xffff, d[1] = d[0] >> 16, d[0] &= 0xffff;
  }
  for (int k = 0; k < 4; ++k) out[(blockIdx.x * 32 + threadIdx.x) * 4 + k] = d[k];
}

template <Form kForm>
std::vector<uint32_t> multiply(const std::vector<Dot>& dots) {
  DeviceBuffer<Dot> in(dots);
  DeviceBuffer<uint32_t> out(128 * dots.size());
  dot_kernel<kForm><<<dots.size(), 32>>>(in.data(), out.data());
  const auto all = out.host();
  EXPECT_STREQ(warploom_emulator_report(), "");
  std::vector<uint32_t> first;
  for (size_t i = 0; i < dots.size(); ++i) {
    first.push_back(all[128 * i]);
    EXPECT_EQ(std::count(all.begin() + 128 * i, all.begin() + 128 * (i + 1), first.back()), 128) << "dot " << i;
  }
  return first;
}

bool is_hopper() {
  cudaDeviceProp properties;
  EXPECT_CUDA(cudaGetDeviceProperties(&properties, 0));
  return properties.major >= 9;
}

uint16_t half_bits(double v) { return __half_as_ushort(__float2half_rn(static_cast<float>(v))); }
uint16_t bfloat_bits(double v) { return __bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(v))); }
uint32_t float_bits(double v) {
  const float f = static_cast<float>(v);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

// ---- By hand. A product is of `factor` and `other` at each of `places`.
struct Products {
  double factor, other;
  std::vector<int> places;
};
struct Case {
  const char* what;
  double c;
  std::vector<Products> products;
  double ampere, hopper;
};
constexpr double kTop = 65504;  // of f16

Dot dot_of(const Case& one, uint16_t (*bits)(double), uint32_t c) {
  Dot dot;
  for (const Products& p : one.products)
    for (const int place : p.places) dot.a[place] = bits(p.factor), dot.b[place] = bits(p.other);
  dot.c = c;
  return dot;
}

template <Form kForm>
void expect_cases(const std::vector<Case>& cases) {
  std::vector<Dot> dots;
  for (const Case& one : cases)
    dots.push_back(dot_of(one, kForm == Form::kBfloat ? bfloat_bits : half_bits,
                          kForm == Form::kHalfSum ? half_bits(one.c) : float_bits(one.c)));
  const auto got = multiply<kForm>(dots);
  for (size_t i = 0; i < cases.size(); ++i) {
    const double want = is_hopper() ? cases[i].hopper : cases[i].ampere;
    EXPECT_EQ(got[i], kForm == Form::kHalfSum ? half_bits(want) : float_bits(want)) << cases[i].what;
  }
}

TEST(FusedSum, ByHand) {
  constexpr double u = 0x1p-23;  // the unit of an f32 in [1, 2)
  const std::vector<int> four{0, 1, 2, 3}, eight{0, 1, 2, 3, 4, 5, 6, 7};
  expect_cases<Form::kHalf>({
      {"addends below the last fractional bit are cut off one by one", 1, {{0x1p-12, 0x1p-13, four}}, 1, 1 + u},
      {"so on both", 1, {{0x1p-13, 0x1p-13, eight}}, 1, 1},
      {"addends at it stay", 1, {{0x1p-12, 0x1p-12, {0, 1}}}, 1 + u, 1 + u},
      {"the sum is cut off, not rounded", 1, {{0x1p-12, 0x1p-12, {0, 1, 2}}}, 1 + u, 1 + u},
      {"towards zero below it too", -1, {{0x1p-12, -0x1p-12, {0, 1, 2}}}, -1 - u, -1 - u},
      {"a small addend of the other sign is lost", 1, {{0x1p-13, -0x1p-13, {0}}}, 1, 1},
      {"a larger one is not", 1, {{0x1p-12, -0x1p-12, {0}}}, 1 - u / 2, 1 - u / 2},
      {"each block of products ends in an f32", 1, {{0x1p-12, 0x1p-12, {0, 8}}}, 1, 1 + u},
      {"a product counts by its factors' exponents",
       0,
       {{1.5, 1.5, {0}}, {0x1p-12, 0x1p-12, {1, 2, 3, 4}}},
       2.25 + 4 * u / 2,
       2.25 + 4 * u / 2},
      {"one bit less, or more", 0, {{1.5, 1.5, {0}}, {0x1p-12, 0x1p-13, {1, 2, 3, 4, 5, 6, 7}}}, 2.25, 2.25},
      {"the same with an eighth", 0x1p-25, {{1.5, 1.5, {0}}, {0x1p-12, 0x1p-13, {1, 2, 3, 4, 5, 6, 7}}}, 2.25, 2.25 + 2 * u},
      {"a subnormal has the least exponent", 0, {{0x1p-24, 1, {0}}, {0x1p-24, 0x1p-16, {1}}}, 0x1p-24, 0x1p-24},
      {"its product may reach the last bit",
       0,
       {{0x1p-24, 1, {0}}, {0x1p-24, 0x1p-14, {1}}},
       0x1p-24 * (1 + 0x1p-14),
       0x1p-24 * (1 + 0x1p-14)},
      {"a large C hides all else", 0x1.fffffep127, {{kTop, kTop, eight}}, 0x1.fffffep127, 0x1.fffffep127},
      {"products that cancel leave what was kept", 0x1p-20, {{kTop, kTop, {0}}, {kTop, -kTop, {1}}}, 0, 0},
      {"zero", 0, {{0, 1, {0}}, {-1, 0, {1}}}, 0, 0},
  });
  expect_cases<Form::kFlatHalf>({
      {"m16n8k8 is one block", 1, {{0x1p-12, 0x1p-12, {0, 7}}}, 1 + u, 1 + u},
      {"with the bits of its device", 1, {{0x1p-12, 0x1p-13, four}}, 1, 1 + u},
  });
  expect_cases<Form::kBfloat>({
      {"products beyond f32 may cancel", 1, {{0x1p100, 0x1p100, {0}}, {0x1p100, -0x1p100, {1}}}, 0, 0},
      {"beyond f32 is infinite", 0, {{0x1p64, 0x1p63, {0, 1}}}, INFINITY, INFINITY},
      {"just within is not", 0, {{0x1p64, 0x1p63, {0}}, {-0x1p64, 0x1p63, {1}}, {0x1p64, 0x1p62, {2}}}, 0x1p126, 0x1p126},
      {"subnormal results", 0, {{0x1p-70, 0x1p-70, {0}}, {0x1p-75, 0x1p-75, {1}}}, 0x1p-140, 0x1p-140},
      {"moderate factors", 1, {{0x1p-12, 0x1p-13, four}}, 1, 1 + u},
  });
  expect_cases<Form::kHalfSum>({
      {"a tie goes to even", 1, {{0x1p-5, 0x1p-6, {0}}}, 1, 1},
      {"what lies above does not", 1, {{0x1p-5, 0x1p-6, {0}}, {0x1p-10, 0x1p-10, {1}}}, 1 + 0x1p-10, 1 + 0x1p-10},
      {"each block of products ends in an f16", 1, {{0x1p-5, 0x1p-6, {0, 8}}}, 1, 1 + 0x1p-10},
      {"beyond f16 is infinite", kTop, {{16, 2, {0}}}, INFINITY, INFINITY},
  });
}

// What attention's bits rest on: a zero times anything finite is no addend, and aligns nothing.
TEST(FusedSum, ZeroProductsChangeNothing) {
  std::mt19937 random(5);
  std::vector<Dot> half, bfloat;
  for (int i = 0; i < 4000; ++i) {
    Dot dot;
    uint32_t c = random();
    if ((c & 0x7f800000) == 0x7f800000) c ^= 0x40000000;
    dot.c = c;
    for (int k = 0; k < kDepth; ++k) {
      dot.a[k] = random() % 2 << 15;
      dot.b[k] = random() & 0xffff;
      if ((dot.b[k] & 0x7c00) == 0x7c00) dot.b[k] ^= 0x4000;
      if (random() % 2 == 0) std::swap(dot.a[k], dot.b[k]);
    }
    half.push_back(dot);
    for (int k = 0; k < kDepth; ++k)
      for (uint16_t* v : {&dot.a[k], &dot.b[k]})
        if ((*v & 0x7f80) == 0x7f80) *v ^= 0x4000;
    bfloat.push_back(dot);
  }
  const auto same = [](const std::vector<Dot>& dots, const std::vector<uint32_t>& got) {
    for (size_t i = 0; i < dots.size(); ++i)
      if ((dots[i].c & 0x7fffffff) != 0) EXPECT_EQ(got[i], dots[i].c);
  };
  same(half, multiply<Form::kHalf>(half));
  same(bfloat, multiply<Form::kBfloat>(bfloat));
}

TEST(FusedSum, InfinitiesAndNaNs) {
  constexpr uint32_t kInfinity = 0x7f800000, kNan = 0x7fffffff;
  const uint16_t one = half_bits(1), infinite = 0x7c00, nan = 0x7e00;
  const auto dot = [&](uint16_t a, uint16_t b, uint32_t c) {
    Dot d;
    d.a[3] = a, d.b[3] = b, d.c = c;
    return d;
  };
  std::vector<Dot> dots{dot(infinite, one, float_bits(1)),
                        dot(infinite, 0xbc00, 0),
                        dot(infinite, 0, 0),
                        dot(nan, one, 0),
                        dot(infinite, one, 0xff800000),
                        dot(one, one, kInfinity),
                        dot(one, one, 0x7fc00001),
                        dot(infinite, infinite, 0x3f800000)};
  const std::vector<uint32_t> want{kInfinity, 0xff800000, kNan, kNan, kNan, kInfinity, kNan, kInfinity};
  EXPECT_EQ(multiply<Form::kHalf>(dots), want);
}

// ---- At random: the rule once more, a number at a time.
struct Part {  // significand * 2^(exponent - fraction)
  int64_t significand;
  int exponent, fraction;
};
Part part_of(uint32_t bits, int mantissa, int field_bits, bool is_c) {
  const int bias = (1 << (field_bits - 1)) - 1, field = static_cast<int>(bits >> mantissa) & ((1 << field_bits) - 1);
  int64_t s = bits & ((1u << mantissa) - 1);
  if (field > 0) s |= int64_t{1} << mantissa;
  if ((bits >> (mantissa + field_bits) & 1) != 0) s = -s;
  return {s, is_c && s == 0 ? -126 : std::max(field, 1) - bias, mantissa};
}
int64_t aligned(const Part& p, int largest, int fraction) {
  const int left = fraction - p.fraction + p.exponent - largest;
  const uint64_t magnitude = static_cast<uint64_t>(std::abs(p.significand));
  const uint64_t cut = left >= 0 ? magnitude << left : left > -64 ? magnitude >> -left : 0;
  return p.significand < 0 ? -static_cast<int64_t>(cut) : static_cast<int64_t>(cut);
}
uint32_t to_float_bits(double v) {
  if (std::fabs(v) >= 0x1p128) return v < 0 ? 0xff800000 : 0x7f800000;
  std::fesetround(FE_TOWARDZERO);
  volatile double exact = v;
  const volatile float f = static_cast<float>(exact);
  std::fesetround(FE_TONEAREST);
  uint32_t bits;
  const float copy = f;
  std::memcpy(&bits, &copy, 4);
  return bits;
}
uint32_t by_the_rule(const Dot& dot, Form form) {
  const int mantissa = form == Form::kBfloat ? 7 : 10, field_bits = form == Form::kBfloat ? 8 : 5;
  const int fraction = is_hopper() ? 25 : 24, depth = form == Form::kFlatHalf ? 8 : kDepth;
  const int block = is_hopper() ? depth : 8;
  uint32_t c = dot.c;
  const uint32_t infinity = form == Form::kHalfSum ? 0x7c00 : 0x7f800000;
  for (int from = 0; from < depth && (c & infinity) != infinity; from += block) {
    std::vector<Part> parts{form == Form::kHalfSum ? part_of(c, 10, 5, true) : part_of(c, 23, 8, true)};
    for (int k = from; k < from + block; ++k) {
      const Part a = part_of(dot.a[k], mantissa, field_bits, false), b = part_of(dot.b[k], mantissa, field_bits, false);
      if (a.significand != 0 && b.significand != 0)
        parts.push_back({a.significand * b.significand, a.exponent + b.exponent, 2 * mantissa});
    }
    int largest = -126;
    for (const Part& p : parts) largest = std::max(largest, p.exponent);
    int64_t sum = 0;
    for (const Part& p : parts) sum += aligned(p, largest, fraction);
    const double value = std::ldexp(static_cast<double>(sum), largest - fraction);
    c = form == Form::kHalfSum ? round16<HalfFormat>(value, 0) : to_float_bits(value);
  }
  return c;
}

// Factors whose exponents lie within `spread` of each other, zeros among them; C of the products' size, or far from it.
template <Form kForm>
void expect_the_rule(int spread, int middle) {
  constexpr bool kBfloat = kForm == Form::kBfloat;
  std::mt19937 random(static_cast<unsigned>(spread * 31 + middle));
  const auto factor = [&] {
    const double v =
        std::ldexp(1 + random() % 4096 / 4096.0, middle + static_cast<int>(random() % (spread + 1)) - spread / 2);
    const double with_sign = random() % 2 == 0 ? v : -v;
    return random() % 9 == 0 ? uint16_t{0} : kBfloat ? bfloat_bits(with_sign) : half_bits(with_sign);
  };
  std::vector<Dot> dots(2000);
  std::vector<uint32_t> want;
  for (Dot& dot : dots) {
    for (int k = 0; k < kDepth; ++k) dot.a[k] = factor(), dot.b[k] = factor();
    const double c = std::ldexp(random() / 4294967296.0 - 0.5, 2 * middle + static_cast<int>(random() % 41) - 20);
    dot.c = random() % 5 == 0 ? 0 : kForm == Form::kHalfSum ? half_bits(c) : float_bits(c);
    want.push_back(by_the_rule(dot, kForm));
  }
  const auto got = multiply<kForm>(dots);
  for (size_t i = 0; i < dots.size(); ++i) EXPECT_EQ(got[i], want[i]) << "dot " << i << ", exponents around " << middle;
}
TEST(FusedSum, FollowsTheRule) {
  for (const int spread : {1, 6, 20}) {
    for (const int middle : {-12, -3, 0}) {
      expect_the_rule<Form::kHalf>(spread, middle);
      expect_the_rule<Form::kFlatHalf>(spread, middle);
      expect_the_rule<Form::kHalfSum>(spread, middle);
    }
    for (const int middle : {-120, -66, -40, 0, 30, 58}) expect_the_rule<Form::kBfloat>(spread, middle);
  }
}

}  // namespace
