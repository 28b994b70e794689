// f32 and f64 arithmetic. PTX ISA 9.7.3. Round to nearest runs as vector code; the directed roundings set the host's mode.
#include <bit>
#include <cfenv>
#include <cmath>
#include <limits>

#include "decoder.h"
#include "float_bits.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

// Results: f32 NaNs are canonical (PTX ISA 9.7.3.1), f64 NaNs keep the host's payload rule.
template <class T, bool kFtz, bool kSat>
T finish(T r) {
  if constexpr (std::is_same_v<T, float>) {
    if (kFtz) r = flush(r);
    if (kSat) r = r > 0 ? (r < 1 ? r : 1.0f) : 0.0f;  // NaN gives 0
    return canonical(r);
  } else {
    if (kSat) r = r > 0 ? (r < 1 ? r : 1.0) : 0.0;
    return r;
  }
}
template <class T, bool kFtz>
T input(T v) {
  if constexpr (std::is_same_v<T, float>)
    return kFtz ? flush(v) : v;
  else
    return v;
}

int host_rounding(int mode) {
  switch (mode) {
    case 1: return FE_TOWARDZERO;
    case 2: return FE_DOWNWARD;
    case 3: return FE_UPWARD;
    default: return FE_TONEAREST;
  }
}
int take_rounding(Encoder& e) {  // 0 nearest, 1 zero, 2 down, 3 up
  const std::string_view mode = e.take_one({"rn", "rz", "rm", "rp"});
  return mode == "rz" ? 1 : mode == "rm" ? 2 : mode == "rp" ? 3 : 0;
}

// in.imm is the rounding mode. The arrays are opaque to the compiler around the change of mode.
template <class T, auto kOp, bool kFtz, bool kSat, size_t kSources>
void arithmetic(Warp& w, const Inst& in) {
  auto op = [](auto... v) { return finish<T, kFtz, kSat>(kOp(input<T, kFtz>(v)...)); };
  auto run = [&] {
    if constexpr (kSources == 1)
      map_lanes<T>(w, in.op[0], op, reg<T>(w, in.op[1]));
    else if constexpr (kSources == 2)
      map_lanes<T>(w, in.op[0], op, reg<T>(w, in.op[1]), reg<T>(w, in.op[2]));
    else
      map_lanes<T>(w, in.op[0], op, reg<T>(w, in.op[1]), reg<T>(w, in.op[2]), reg<T>(w, in.op[3]));
  };
  if (in.imm == 0) return run();
  alignas(64) T a[kLanes], b[kLanes], c[kLanes], out[kLanes];
  T* sources[3] = {a, b, c};
  for (size_t s = 0; s < kSources; ++s) std::copy_n(reg<T>(w, in.op[s + 1]), kLanes, sources[s]);
  std::fesetround(host_rounding(static_cast<int>(in.imm)));
  asm volatile("" : : "r"(a), "r"(b), "r"(c), "r"(out) : "memory");
  for (int i = 0; i < kLanes; ++i) {
    if constexpr (kSources == 1)
      out[i] = op(a[i]);
    else if constexpr (kSources == 2)
      out[i] = op(a[i], b[i]);
    else
      out[i] = op(a[i], b[i], c[i]);
  }
  asm volatile("" : : "r"(out) : "memory");
  std::fesetround(FE_TONEAREST);
  store_lanes(w, in.op[0], out);
}

template <class T, auto kOp, size_t kSources>
Handler arithmetic_handler(bool ftz, bool sat) {
  if (ftz) return sat ? &arithmetic<T, kOp, true, true, kSources> : &arithmetic<T, kOp, true, false, kSources>;
  return sat ? &arithmetic<T, kOp, false, true, kSources> : &arithmetic<T, kOp, false, false, kSources>;
}

template <auto kOp, size_t kSources>
void encode(Encoder& e) {
  const int rounding = take_rounding(e);
  e.take_one({"approx", "full"});  // computed to full precision, which is within the documented error
  const bool ftz = e.take("ftz"), sat = e.take("sat");
  const Type type = e.take_type();
  Handler handler;
  if (type == Type::kF32)
    handler = arithmetic_handler<float, kOp, kSources>(ftz, sat);
  else if (type == Type::kF64)
    handler = arithmetic_handler<double, kOp, kSources>(false, sat);
  else
    e.unsupported("type");
  std::vector<uint32_t> s;
  for (size_t i = 1; i <= kSources; ++i) s.push_back(e.src(e.operand(i), type));
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, s).imm = rounding;
}

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kRcp = [](auto a) { return 1 / a; };
constexpr auto kSqrt = [](auto a) { return std::sqrt(a); };
constexpr auto kRsqrt = [](auto a) { return static_cast<decltype(a)>(1 / std::sqrt(static_cast<double>(a))); };
constexpr auto kEx2 = [](auto a) { return std::exp2(a); };
constexpr auto kLg2 = [](auto a) { return std::log2(a); };
constexpr auto kSin = [](auto a) { return std::sin(a); };
constexpr auto kCos = [](auto a) { return std::cos(a); };
constexpr auto kTanh = [](auto a) { return std::tanh(a); };

// The flushing f64 approximations have 20 good bits and the low word zero; computed exactly, then cut. rsqrt.approx.f64 is a
// full one.
double cut(double v) { return std::bit_cast<double>(std::bit_cast<uint64_t>(v) & 0xffffffff00000000); }
double flush64(double v) { return std::fabs(v) < std::numeric_limits<double>::min() ? std::copysign(0.0, v) : v; }
template <bool kRoot>
void encode_approximate(Encoder& e) {
  const auto& parts = e.in().parts;
  if (parts.size() > 2 && parts[1] == "approx" && parts[2] == "ftz" && parts.back() == "f64") {
    e.take("approx"), e.take("ftz"), e.take_type();
    constexpr auto op = [](double a) { return flush64(cut(kRoot ? 1 / std::sqrt(flush64(a)) : 1 / flush64(a))); };
    e.emit(&unary<double, double, op>, {e.dst(e.operand(0), 8)}, {e.src(e.operand(1), Type::kF64)});
    return;
  }
  if constexpr (kRoot)
    encode<kRsqrt, 1>(e);
  else
    encode<kRcp, 1>(e);
}

// Sign operations touch bits only: NaNs keep their payload.
void neg(Encoder& e) {
  const bool ftz = e.take("ftz");
  const Type type = e.take_type();
  const Handler handler = type == Type::kF64 ? &unary<uint64_t, uint64_t, [](uint64_t a) { return a ^ (1ull << 63); }>
                          : ftz              ? &unary<float, float, [](float a) { return -flush(a); }>
                                             : &unary<uint32_t, uint32_t, [](uint32_t a) { return a ^ 0x80000000; }>;
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, {e.src(e.operand(1), type)});
}
void abs(Encoder& e) {
  const bool ftz = e.take("ftz");
  const Type type = e.take_type();
  const Handler handler = type == Type::kF64 ? &unary<uint64_t, uint64_t, [](uint64_t a) { return a & ~(1ull << 63); }>
                          : ftz              ? &unary<float, float, [](float a) { return std::fabs(flush(a)); }>
                                             : &unary<uint32_t, uint32_t, [](uint32_t a) { return a & 0x7fffffff; }>;
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, {e.src(e.operand(1), type)});
}

template <class T, bool kMax, bool kNan>
T extremum(T a, T b) {
  const T less = std::signbit(a) ? a : b, more = std::signbit(a) ? b : a;  // where they are equal: -0 < +0
  T r = a < b ? (kMax ? b : a) : a > b ? (kMax ? a : b) : (kMax ? more : less);
  if (a != a) r = kNan ? a : b;
  if (b != b) r = kNan ? b : a;
  if constexpr (std::is_same_v<T, float>) r = canonical(r);
  return r;
}
template <bool kMax>
void min_max(Encoder& e) {
  const bool ftz = e.take("ftz"), nan = e.take("NaN");
  if (e.take("xorsign")) e.unsupported("xorsign");
  const Type type = e.take_type();
  Handler handler;
  if (type == Type::kF64)
    handler = &binary<double, double, [](double a, double b) { return extremum<double, kMax, false>(a, b); }>;
  else if (ftz)
    handler = nan ? &binary<float, float, [](float a, float b) { return extremum<float, kMax, true>(flush(a), flush(b)); }>
                  : &binary<float, float, [](float a, float b) { return extremum<float, kMax, false>(flush(a), flush(b)); }>;
  else
    handler = nan ? &binary<float, float, [](float a, float b) { return extremum<float, kMax, true>(a, b); }>
                  : &binary<float, float, [](float a, float b) { return extremum<float, kMax, false>(a, b); }>;
  std::vector<uint32_t> s{e.src(e.operand(1), type), e.src(e.operand(2), type)};
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, s);
}

void copysign(Encoder& e) {  // the sign of a with the magnitude of b
  const Type type = e.take_type();
  const Handler handler = type == Type::kF64
                              ? &binary<double, double, [](double a, double b) { return std::copysign(b, a); }>
                              : &binary<float, float, [](float a, float b) { return std::copysign(b, a); }>;
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, {e.src(e.operand(1), type), e.src(e.operand(2), type)});
}

template <class T>
void testp_handler(Warp& w, const Inst& in) {
  const T* a = reg<T>(w, in.op[1]);
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) {
    const int c = std::fpclassify(a[i]);
    const bool classes[] = {c == FP_NORMAL || c == FP_SUBNORMAL || c == FP_ZERO,
                            c == FP_INFINITE,
                            c != FP_NAN,
                            c == FP_NAN,
                            c == FP_NORMAL,
                            c == FP_SUBNORMAL};
    mask |= static_cast<uint32_t>(classes[in.imm]) << i;
  }
  set_predicate(w, in.op[0], mask);
}
void testp(Encoder& e) {
  const std::string_view names[] = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};
  int which = -1;
  for (int i = 0; i < 6; ++i)
    if (e.take(names[i])) which = i;
  if (which < 0) e.unsupported();
  const Type type = e.take_type();
  const uint32_t s = e.src(e.operand(1), type);
  e.emit(type == Type::kF64 ? &testp_handler<double> : &testp_handler<float>, {e.dst(e.operand(0), 0)}, {s}).imm = which;
}

}  // namespace

void add_float_ops(EncoderTable& table) {
  table.insert({{"add:f", encode<kAdd, 2>},
                {"sub:f", encode<kSub, 2>},
                {"mul:f", encode<kMul, 2>},
                {"div:f", encode<kDiv, 2>},
                {"fma:f", encode<kFma, 3>},
                {"mad:f", encode<kFma, 3>},
                {"rcp", encode_approximate<false>},
                {"rsqrt", encode_approximate<true>},
                {"sqrt", encode<kSqrt, 1>},
                {"ex2:f", encode<kEx2, 1>},
                {"lg2", encode<kLg2, 1>},
                {"sin", encode<kSin, 1>},
                {"cos", encode<kCos, 1>},
                {"tanh:f", encode<kTanh, 1>},
                {"neg:f", neg},
                {"abs:f", abs},
                {"min:f", min_max<false>},
                {"max:f", min_max<true>},
                {"copysign", copysign},
                {"testp", testp}});
}

}  // namespace emulator
