// CUDA's mathematical functions, as nvcc compiles them, against the host's within the errors that the CUDA programming guide
// documents ("Mathematical Functions"): long chains of instructions, of which one wrong bit shows.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <random>

#include "emulated_device.h"

namespace {

constexpr int kCount = 1 << 12;

template <class T, class Op>
__global__ void apply_kernel(const T* a, const T* b, T* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = Op::device(a[i], b[i]);
}

// The documentation's measure: from the correctly rounded result, in units of its last place.
template <class T>
double ulps(T got, long double expected) {
  const T nearest = static_cast<T>(expected);
  if (std::isnan(nearest) || std::isnan(got)) return std::isnan(nearest) == std::isnan(got) ? 0 : INFINITY;
  if (got == nearest) return 0;
  if (std::isinf(nearest) || std::isinf(got)) {
    const T other = std::isinf(nearest) ? got : nearest;  // one step from the largest
    return std::isinf(std::nextafter(other, other > 0 ? T(INFINITY) : -T(INFINITY))) ? 1 : INFINITY;
  }
  const T magnitude = std::fabs(nearest);
  const T unit = std::nextafter(magnitude, T(INFINITY)) - magnitude;
  return static_cast<double>(std::fabs(got - nearest) / unit);
}

template <class T, class Op>
void check(const char* name, double bound, double low, double high) {
  std::mt19937_64 random(11);
  std::vector<T> a(kCount), b(kCount);
  for (T& v : a) v = static_cast<T>(std::uniform_real_distribution<double>(low, high)(random));
  for (T& v : b) v = static_cast<T>(std::uniform_real_distribution<double>(low, high)(random));
  const T special[] = {T(0), -T(0), T(1), -T(1), T(INFINITY), -T(INFINITY), T(NAN), std::numeric_limits<T>::min() / 2};
  for (size_t i = 0; i < std::size(special); ++i)
    if (special[i] >= low && special[i] <= high) a[i] = special[i];
  DeviceBuffer<T> da(a), db(b), out(kCount);
  apply_kernel<T, Op><<<kCount / 128, 128>>>(da.data(), db.data(), out.data());
  const auto got = out.host();
  ASSERT_STREQ(warploom_emulator_report(), "") << name;
  double worst = 0;
  int at = 0;
  for (int i = 0; i < kCount; ++i) {
    const double distance = ulps(got[i], Op::host(static_cast<long double>(a[i]), static_cast<long double>(b[i])));
    if (!(distance <= worst)) worst = distance, at = i;
  }
  EXPECT_LE(worst, bound) << name << "(" << a[at] << ", " << b[at] << ") is " << got[at];
}

#define WARPLOOM_FUNCTION(name, T, device_expression, host_expression)                                 \
  struct name {                                                                                        \
    static __device__ T device(T x, [[maybe_unused]] T y) { return device_expression; }                \
    static long double host(long double x, [[maybe_unused]] long double y) { return host_expression; } \
  };
WARPLOOM_FUNCTION(Exp, float, expf(x), expl(x))
WARPLOOM_FUNCTION(Exp2, float, exp2f(x), exp2l(x))
WARPLOOM_FUNCTION(Exp10, float, exp10f(x), powl(10, x))
WARPLOOM_FUNCTION(Expm1, float, expm1f(x), expm1l(x))
WARPLOOM_FUNCTION(Log, float, logf(x), logl(x))
WARPLOOM_FUNCTION(Log2, float, log2f(x), log2l(x))
WARPLOOM_FUNCTION(Log10, float, log10f(x), log10l(x))
WARPLOOM_FUNCTION(Log1p, float, log1pf(x), log1pl(x))
WARPLOOM_FUNCTION(Sqrt, float, sqrtf(x), sqrtl(x))
WARPLOOM_FUNCTION(Rsqrt, float, rsqrtf(x), 1 / sqrtl(x))
WARPLOOM_FUNCTION(Cbrt, float, cbrtf(x), cbrtl(x))
WARPLOOM_FUNCTION(Sin, float, sinf(x), sinl(x))
WARPLOOM_FUNCTION(Cos, float, cosf(x), cosl(x))
WARPLOOM_FUNCTION(Tan, float, tanf(x), tanl(x))
WARPLOOM_FUNCTION(Asin, float, asinf(x), asinl(x))
WARPLOOM_FUNCTION(Acos, float, acosf(x), acosl(x))
WARPLOOM_FUNCTION(Atan2, float, atan2f(x, y), atan2l(x, y))
WARPLOOM_FUNCTION(Sinh, float, sinhf(x), sinhl(x))
WARPLOOM_FUNCTION(Tanh, float, tanhf(x), tanhl(x))
WARPLOOM_FUNCTION(Erf, float, erff(x), erfl(x))
WARPLOOM_FUNCTION(Erfc, float, erfcf(x), erfcl(x))
WARPLOOM_FUNCTION(Lgamma, float, lgammaf(x), lgammal(x))
WARPLOOM_FUNCTION(Tgamma, float, tgammaf(x), tgammal(x))
WARPLOOM_FUNCTION(Pow, float, powf(x, y), powl(x, y))
WARPLOOM_FUNCTION(Fmod, float, fmodf(x, y), fmodl(x, y))
WARPLOOM_FUNCTION(Remainder, float, remainderf(x, y), remainderl(x, y))
WARPLOOM_FUNCTION(Hypot, float, hypotf(x, y), hypotl(x, y))
WARPLOOM_FUNCTION(Divide, float, x / y, x / y)
WARPLOOM_FUNCTION(Round, float, roundf(x), roundl(x))
WARPLOOM_FUNCTION(Rint, float, rintf(x), rintl(x))
WARPLOOM_FUNCTION(Ldexp, float, ldexpf(x, static_cast<int>(y)), ldexpl(x, static_cast<int>(y)))
WARPLOOM_FUNCTION(Logb, float, logbf(x), logbl(x))

TEST(Math, Float) {
  check<float, Exp>("expf", 1, -110, 100);
  check<float, Exp2>("exp2f", 2, -150, 130);
  check<float, Exp10>("exp10f", 2, -46, 40);
  check<float, Expm1>("expm1f", 1, -20, 90);
  check<float, Log>("logf", 1, 0, 1e6);
  check<float, Log2>("log2f", 1, 0, 1e6);
  check<float, Log10>("log10f", 2, 0, 1e6);
  check<float, Log1p>("log1pf", 1, -1, 100);
  check<float, Sqrt>("sqrtf", 0, 0, 1e30);
  check<float, Rsqrt>("rsqrtf", 2, 0, 1e6);
  check<float, Cbrt>("cbrtf", 1, -1e6, 1e6);
  check<float, Sin>("sinf", 2, -1e6, 1e6);
  check<float, Cos>("cosf", 2, -1e6, 1e6);
  check<float, Tan>("tanf", 4, -1e4, 1e4);
  check<float, Asin>("asinf", 2, -1, 1);
  check<float, Acos>("acosf", 2, -1, 1);
  check<float, Atan2>("atan2f", 3, -10, 10);
  check<float, Sinh>("sinhf", 3, -80, 80);
  check<float, Tanh>("tanhf", 2, -10, 10);
  check<float, Erf>("erff", 2, -5, 5);
  check<float, Erfc>("erfcf", 4, -5, 9);
  check<float, Lgamma>("lgammaf", 6, 3, 1000);
  check<float, Tgamma>("tgammaf", 5, 0.1, 36);
  check<float, Pow>("powf", 4, 0, 20);
  check<float, Fmod>("fmodf", 0, -1e6, 1e6);
  check<float, Remainder>("remainderf", 0, -1e6, 1e6);
  check<float, Hypot>("hypotf", 3, -1e6, 1e6);
  check<float, Divide>("division", 0, -1e6, 1e6);
  check<float, Round>("roundf", 0, -1e6, 1e6);
  check<float, Rint>("rintf", 0, -1e6, 1e6);
  check<float, Ldexp>("ldexpf", 0, -100, 100);
  check<float, Logb>("logbf", 0, -1e6, 1e6);
}

WARPLOOM_FUNCTION(ExpDouble, double, exp(x), expl(x))
WARPLOOM_FUNCTION(LogDouble, double, log(x), logl(x))
WARPLOOM_FUNCTION(PowDouble, double, pow(x, y), powl(x, y))
WARPLOOM_FUNCTION(SinDouble, double, sin(x), sinl(x))
WARPLOOM_FUNCTION(TanhDouble, double, tanh(x), tanhl(x))
WARPLOOM_FUNCTION(ErfDouble, double, erf(x), erfl(x))
WARPLOOM_FUNCTION(TgammaDouble, double, tgamma(x), tgammal(x))
WARPLOOM_FUNCTION(SqrtDouble, double, sqrt(x), sqrtl(x))
WARPLOOM_FUNCTION(RsqrtDouble, double, rsqrt(x), 1 / sqrtl(x))
WARPLOOM_FUNCTION(DivideDouble, double, x / y, x / y)
WARPLOOM_FUNCTION(FmodDouble, double, fmod(x, y), fmodl(x, y))
TEST(Math, Double) {
  check<double, ExpDouble>("exp", 1, -740, 700);
  check<double, LogDouble>("log", 1, 0, 1e9);
  check<double, PowDouble>("pow", 2, 0, 50);
  check<double, SinDouble>("sin", 2, -1e5, 1e5);
  check<double, TanhDouble>("tanh", 2, -20, 20);
  check<double, ErfDouble>("erf", 2, -6, 6);
  check<double, TgammaDouble>("tgamma", 10, 0.1, 160);
  check<double, SqrtDouble>("sqrt", 1, 0, 1e300);
  check<double, RsqrtDouble>("rsqrt", 1, 0, 1e9);
  check<double, DivideDouble>("division", 1 /* the oracle rounds twice */, -1e9, 1e9);
  check<double, FmodDouble>("fmod", 0, -1e9, 1e9);
}

// The fast intrinsics, whose error is documented for ranges alone.
WARPLOOM_FUNCTION(FastExp, float, __expf(x), expl(x))
WARPLOOM_FUNCTION(FastLog, float, __logf(x), logl(x))
WARPLOOM_FUNCTION(FastDivide, float, __fdividef(x, y), x / y)
WARPLOOM_FUNCTION(FastPow, float, __powf(x, y), powl(x, y))
WARPLOOM_FUNCTION(Saturate, float, __saturatef(x), x > 0 ? (x < 1 ? x : 1) : 0)
TEST(Math, FastIntrinsics) {
  check<float, FastExp>("__expf", 2 + 1.173 * 20, -20, 20);
  check<float, FastLog>("__logf", 3, 2, 1e6);
  check<float, FastDivide>("__fdividef", 2, 1, 1e6);
  check<float, FastPow>("__powf", 400, 1, 8);
  check<float, Saturate>("__saturatef", 0, -2, 2);
}

// Halves by the headers' functions: exact to the nearest half but for the last place.
template <class H>
__global__ void half_kernel(const H* in, H* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const H x = in[i];
  H* o = out + 8 * i;
  o[0] = hexp(x), o[1] = hlog(x), o[2] = hsqrt(x), o[3] = hrsqrt(x), o[4] = hrcp(x), o[5] = hsin(x), o[6] = hrint(x);
  o[7] = __hfma(x, x, x);
}
template <class H>
void test_halves(double last_place) {
  std::vector<H> in(kCount);
  std::mt19937 random(13);
  for (H& v : in) v = H(std::uniform_real_distribution<float>(0.01f, 9.0f)(random));
  DeviceBuffer<H> din(in), out(8 * kCount);
  half_kernel<H><<<kCount / 128, 128>>>(din.data(), out.data());
  const auto got = out.host();
  ASSERT_STREQ(warploom_emulator_report(), "");
  for (int i = 0; i < kCount; ++i) {
    const double x = static_cast<float>(in[i]);
    const double expected[] = {std::exp(x), std::log(x), std::sqrt(x),      1 / std::sqrt(x),
                               1 / x,       std::sin(x), std::nearbyint(x), x * x + x};
    for (int k = 0; k < 8; ++k)
      ASSERT_NEAR(static_cast<float>(got[8 * i + k]), expected[k], 2 * last_place * std::fabs(expected[k]) + last_place / 4)
          << k << " of " << x;
  }
}
TEST(Math, Halves) {
  test_halves<__half>(0x1p-11);
  test_halves<__nv_bfloat16>(0x1p-8);
}

}  // namespace
