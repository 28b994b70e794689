// f16 and bf16 arithmetic, single and packed. PTX ISA 9.7.4. Computed in double and rounded once.
#include <cmath>

#include "decoder.h"
#include "float_bits.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

constexpr uint32_t kFtz = 1, kSat = 2, kRelu = 4, kNan = 8;  // in.target

struct Half {
  static double wide(uint16_t v) { return static_cast<double>(from_half(v)); }
  static uint16_t narrow(double v) { return to_half(v); }
  static constexpr uint16_t kExponent = 0x7c00, kOne = 0x3c00;
};
struct Bfloat {
  static double wide(uint16_t v) { return static_cast<double>(from_bfloat(v)); }
  static uint16_t narrow(double v) { return to_bfloat(v); }
  static constexpr uint16_t kExponent = 0x7f80, kOne = 0x3f80;
};

template <class H>
uint16_t flush_half(uint16_t v) {
  return (v & H::kExponent) == 0 ? v & 0x8000 : v;
}
template <class H>
uint16_t finish(double value, uint32_t flags) {
  uint16_t r = H::narrow(value);
  if ((flags & kFtz) != 0) r = flush_half<H>(r);
  if ((flags & kSat) != 0) r = value > 0 ? (value < 1 ? r : H::kOne) : 0;  // NaN gives 0
  if ((flags & kRelu) != 0 && !(value > 0) && value == value) r = 0;
  return r;
}

// a * b + c, exact but for a last bit that keeps a second rounding from going wrong (rounding to odd).
double fused(double a, double b, double c) {
  const double product = a * b;  // exact: at most 22 bits
  const double sum = product + c;
  if (!std::isfinite(sum)) return sum;
  const double part = sum - product, error = (product - (sum - part)) + (c - part);
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  if (error != 0 && (bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : ~uint64_t{0};
  return std::bit_cast<double>(bits);
}

template <class H, bool kMax>
uint16_t extremum(uint16_t a, uint16_t b, uint32_t flags) {
  if ((flags & kFtz) != 0) a = flush_half<H>(a), b = flush_half<H>(b);
  const double x = H::wide(a), y = H::wide(b);
  if (x != x || y != y) return (flags & kNan) != 0 || (x != x && y != y) ? kCanonicalHalfNan : x != x ? b : a;
  if (x == y) return kMax == ((a & 0x8000) != 0) ? b : a;  // -0 < +0
  return (x < y) == kMax ? b : a;
}

enum class Op : uint8_t { kAdd, kSub, kMul, kFma, kMin, kMax, kNeg, kAbs, kEx2, kTanh };
template <class H, Op kOp>
uint16_t apply(uint16_t a, uint16_t b, uint16_t c, uint32_t flags) {
  if ((flags & kFtz) != 0) a = flush_half<H>(a), b = flush_half<H>(b), c = flush_half<H>(c);
  const double x = H::wide(a), y = H::wide(b), z = H::wide(c);
  switch (kOp) {
    case Op::kAdd: return finish<H>(x + y, flags);
    case Op::kSub: return finish<H>(x - y, flags);
    case Op::kMul: return finish<H>(x * y, flags);
    case Op::kFma: return finish<H>(fused(x, y, z), flags);
    case Op::kMin: return extremum<H, false>(a, b, flags);
    case Op::kMax: return extremum<H, true>(a, b, flags);
    case Op::kNeg: return a ^ 0x8000;
    case Op::kAbs: return a & 0x7fff;
    case Op::kEx2: return finish<H>(std::exp2(x), flags);
    case Op::kTanh: return finish<H>(std::tanh(x), flags);
  }
  return 0;
}
constexpr size_t sources_of(Op op) { return op == Op::kFma ? 3 : op >= Op::kNeg ? 1 : 2; }

template <class H, Op kOp, class T>
void handler(Warp& w, const Inst& in) {
  constexpr size_t kSources = sources_of(kOp);
  const T *a = reg<T>(w, in.op[1]), *b = kSources > 1 ? reg<T>(w, in.op[2]) : a, *c = kSources > 2 ? reg<T>(w, in.op[3]) : a;
  alignas(64) T out[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    out[i] = apply<H, kOp>(static_cast<uint16_t>(a[i]), static_cast<uint16_t>(b[i]), static_cast<uint16_t>(c[i]), in.target);
    if constexpr (sizeof(T) == 4)
      out[i] |= static_cast<T>(apply<H, kOp>(static_cast<uint16_t>(a[i] >> 16), static_cast<uint16_t>(b[i] >> 16),
                                             static_cast<uint16_t>(c[i] >> 16), in.target))
                << 16;
  }
  store_lanes(w, in.op[0], out);
}

// Sums and products of f16 without modifiers, which matrix kernels are full of, in f32 and without branches. Products are exact
// there; a sum is rounded to odd, as above, before it is rounded to f16.
template <Op kOp>
[[gnu::always_inline]] inline uint32_t plain(uint32_t a, uint32_t b, uint32_t c) {
  const float x = from_half(static_cast<uint16_t>(a)), y = from_half(static_cast<uint16_t>(b)),
              z = from_half(static_cast<uint16_t>(c));
  if constexpr (kOp == Op::kMul) return half_of_float(x * y);
  const float first = kOp == Op::kFma ? x * y : x, second = kOp == Op::kFma ? z : kOp == Op::kSub ? -y : y;
  const float sum = first + second, part = sum - first, error = (first - (sum - part)) + (second - part);
  const uint32_t bits = std::bit_cast<uint32_t>(sum), off = std::bit_cast<uint32_t>(error);
  // An error is there, and is a number: the even neighbour was taken, the odd one is on the error's side.
  const uint32_t inexact = (off & 0x7fffffff) - 1 < 0x7f7fffff ? 1 : 0;
  const uint32_t towards = 1 - 2 * ((bits ^ off) >> 31);
  return half_of_float(std::bit_cast<float>(bits + (inexact & ~bits & 1) * towards));
}
template <Op kOp, class T>
void plain_handler(Warp& w, const Inst& in) {
  constexpr size_t kSources = sources_of(kOp);
  const T *a = reg<T>(w, in.op[1]), *b = reg<T>(w, in.op[2]), *c = kSources > 2 ? reg<T>(w, in.op[3]) : b;
  alignas(64) T out[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    uint32_t pair = plain<kOp>(a[i], b[i], c[i]);
    if constexpr (sizeof(T) == 4) pair |= plain<kOp>(a[i] >> 16, b[i] >> 16, c[i] >> 16) << 16;
    out[i] = static_cast<T>(pair);
  }
  store_lanes(w, in.op[0], out);
}
template <Op kOp>
Handler plain_handler_of(Type type) {
  if constexpr (kOp == Op::kAdd || kOp == Op::kSub || kOp == Op::kMul || kOp == Op::kFma)
    return type == Type::kF16     ? &plain_handler<kOp, uint16_t>
           : type == Type::kF16x2 ? &plain_handler<kOp, uint32_t>
                                  : nullptr;
  return nullptr;
}

template <Op kOp>
void encode(Encoder& e) {
  e.take("rn"), e.take("approx"), e.take("noftz");
  const uint32_t flags =
      (e.take("ftz") ? kFtz : 0) | (e.take("sat") ? kSat : 0) | (e.take("relu") ? kRelu : 0) | (e.take("NaN") ? kNan : 0);
  const Type type = e.take_type();
  const Handler fast = flags == 0 ? plain_handler_of<kOp>(type) : nullptr;
  const Handler h = fast != nullptr        ? fast
                    : type == Type::kF16   ? &handler<Half, kOp, uint16_t>
                    : type == Type::kBF16  ? &handler<Bfloat, kOp, uint16_t>
                    : type == Type::kF16x2 ? &handler<Half, kOp, uint32_t>
                                           : &handler<Bfloat, kOp, uint32_t>;
  std::vector<uint32_t> s;
  for (size_t i = 1; i <= sources_of(kOp); ++i) s.push_back(e.src(e.operand(i), type));
  e.emit(h, {e.dst(e.operand(0), ptx::size_of(type))}, s).target = flags;
}

}  // namespace

void add_half_ops(EncoderTable& table) {
  table.insert({{"add:h", encode<Op::kAdd>},
                {"sub:h", encode<Op::kSub>},
                {"mul:h", encode<Op::kMul>},
                {"fma:h", encode<Op::kFma>},
                {"min:h", encode<Op::kMin>},
                {"max:h", encode<Op::kMax>},
                {"neg:h", encode<Op::kNeg>},
                {"abs:h", encode<Op::kAbs>},
                {"ex2:h", encode<Op::kEx2>},
                {"tanh:h", encode<Op::kTanh>}});
}

}  // namespace emulator
