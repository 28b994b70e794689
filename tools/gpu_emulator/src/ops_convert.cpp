// cvt. PTX ISA 9.7.9.21: integer sizes, saturation, every pair of float formats, rounding in both senses.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <limits>
#include <utility>

#include "decoder.h"
#include "float_bits.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

// in.target holds these flags, in.imm the rounding.
constexpr uint32_t kFtz = 1, kSat = 2, kRelu = 4, kSatFinite = 8, kIntegral = 16;

template <class T>
struct Storage {
  using type = T;
};  // as the register holds it: bytes are in 16-bit registers
template <>
struct Storage<int8_t> {
  using type = int16_t;
};
template <>
struct Storage<uint8_t> {
  using type = uint16_t;
};
template <class T>
using StorageOf = typename Storage<T>::type;

template <class T>
double widen(T v) {
  return static_cast<double>(v);
}
template <>
double widen(Half v) {
  return static_cast<double>(from_half(v.bits));
}
template <>
double widen(Bfloat v) {
  return static_cast<double>(from_bfloat(v.bits));
}

double round_integral(double v, Rounding mode) {
  switch (mode) {
    case Rounding::kNearest: return std::nearbyint(v);
    case Rounding::kZero: return std::trunc(v);
    case Rounding::kDown: return std::floor(v);
    case Rounding::kUp: return std::ceil(v);
    default: return std::round(v);
  }
}

// NaN gives zero, or the sign bit where source or destination has 64 bits.
template <class D>
D saturate_to_integer(double v, bool wide) {
  constexpr double kLow = static_cast<double>(std::numeric_limits<D>::min());
  constexpr double kAbove = 2.0 * static_cast<double>(uint64_t{1} << (std::numeric_limits<D>::digits - 1));
  const D for_nan = wide ? static_cast<D>(uint64_t{1} << (8 * sizeof(D) - 1)) : D{0};
  return v != v        ? for_nan
         : v < kLow    ? std::numeric_limits<D>::min()
         : v >= kAbove ? std::numeric_limits<D>::max()
                       : static_cast<D>(v);
}

template <class D, class S>
D with_mode(S v, Rounding mode) {
  std::fesetround(mode == Rounding::kZero   ? FE_TOWARDZERO
                  : mode == Rounding::kDown ? FE_DOWNWARD
                  : mode == Rounding::kUp   ? FE_UPWARD
                                            : FE_TONEAREST);
  volatile long double wide = static_cast<long double>(v);  // exact for every source
  volatile D r = static_cast<D>(wide);
  std::fesetround(FE_TONEAREST);
  return r;
}

template <class D, class S>
D convert(S source, Rounding mode, uint32_t flags) {
  if constexpr (std::is_integral_v<D> && std::is_integral_v<S>) {
    if ((flags & kSat) == 0) return static_cast<D>(source);
    if (std::cmp_less(source, std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
    if (std::cmp_greater(source, std::numeric_limits<D>::max())) return std::numeric_limits<D>::max();
    return static_cast<D>(source);
  } else {
    double v = widen(source);
    if constexpr (std::is_same_v<S, float>) {
      if ((flags & kFtz) != 0) v = static_cast<double>(flush(source));
    }
    if constexpr (std::is_integral_v<D>) {
      return saturate_to_integer<D>(round_integral(v, mode), sizeof(D) == 8 || std::is_same_v<S, double>);
    } else {
      if ((flags & kIntegral) != 0) {
        v = round_integral(v, mode);
        mode = Rounding::kNearest;
      }
      if ((flags & kSat) != 0) v = v > 0 ? std::min(v, 1.0) : 0.0;
      if ((flags & kRelu) != 0 && !(v > 0) && v == v) v = 0.0;
      if constexpr (std::is_same_v<D, Half> || std::is_same_v<D, Bfloat>) {
        uint16_t bits = std::is_same_v<D, Half> ? to_half(v, mode) : to_bfloat(v, mode);
        if ((flags & kSatFinite) != 0 && (bits & 0x7fff) == (std::is_same_v<D, Half> ? 0x7c00 : 0x7f80)) --bits;
        return D{bits};
      } else if constexpr (std::is_same_v<D, float>) {
        float r;
        if constexpr (std::is_integral_v<S>)
          r = mode == Rounding::kNearest ? static_cast<float>(source) : with_mode<float>(source, mode);
        else
          r = mode == Rounding::kNearest ? static_cast<float>(v) : with_mode<float>(v, mode);
        return canonical((flags & kFtz) != 0 ? flush(r) : r);
      } else {
        if constexpr (std::is_integral_v<S> && sizeof(S) == 8)
          if (mode != Rounding::kNearest) return with_mode<double>(source, mode);
        return v;
      }
    }
  }
}

// One loop for the plain case, which becomes vector code; one for the rest.
template <class D, class S>
void cvt_handler(Warp& w, const Inst& in) {
  using DS = std::conditional_t<std::is_integral_v<D>, StorageOf<D>, D>;
  using SS = std::conditional_t<std::is_integral_v<S>, StorageOf<S>, S>;
  constexpr Rounding kUsual = std::is_integral_v<D> && !std::is_integral_v<S> ? Rounding::kZero : Rounding::kNearest;
  const Rounding mode = static_cast<Rounding>(in.imm);
  const uint32_t flags = in.target;
  const SS* s = reg<SS>(w, in.op[1]);
  auto from = [](SS v) {
    if constexpr (std::is_integral_v<S>)
      return static_cast<S>(v);
    else
      return v;
  };
  if (flags == 0 && mode == kUsual)
    map_lanes<DS>(
        w, in.op[0], [&](SS v) { return convert<D, S>(from(v), kUsual, 0); }, s);
  else
    map_lanes<DS>(
        w, in.op[0], [&](SS v) { return convert<D, S>(from(v), mode, flags); }, s);
}

template <class F>
Handler for_type(Encoder& e, Type type, F f) {
  switch (type) {
    case Type::kU8:
    case Type::kB8: return f(uint8_t{});
    case Type::kS8: return f(int8_t{});
    case Type::kU16:
    case Type::kB16: return f(uint16_t{});
    case Type::kS16: return f(int16_t{});
    case Type::kU32:
    case Type::kB32: return f(uint32_t{});
    case Type::kS32: return f(int32_t{});
    case Type::kU64:
    case Type::kB64: return f(uint64_t{});
    case Type::kS64: return f(int64_t{});
    case Type::kF16: return f(Half{});
    case Type::kBF16: return f(Bfloat{});
    case Type::kF32: return f(float{});
    case Type::kF64: return f(double{});
    default: e.unsupported("type");
  }
}

int storage_bytes(Type type) { return std::max(ptx::size_of(type), 2); }
bool is_signed(Type type) { return type >= Type::kS8 && type <= Type::kS64; }

template <class D, class S>
void resize_handler(Warp& w, const Inst& in) {
  map_lanes<D>(
      w, in.op[0], [](S v) { return v; }, reg<S>(w, in.op[1]));
}
template <class D>
Handler resize_from(int bytes, bool sign) {
  if (bytes == 2) return sign ? &resize_handler<D, int16_t> : &resize_handler<D, uint16_t>;
  if (bytes == 4) return sign ? &resize_handler<D, int32_t> : &resize_handler<D, uint32_t>;
  return &resize_handler<D, uint64_t>;
}
Handler resize(int to, int from, bool sign) {
  return to == 2   ? resize_from<uint16_t>(from, sign)
         : to == 4 ? resize_from<uint32_t>(from, sign)
                   : resize_from<uint64_t>(from, sign);
}

// d = {narrow(a) in the upper half, narrow(b) in the lower}.
template <class H>
void pack_handler(Warp& w, const Inst& in) {
  const Rounding mode = static_cast<Rounding>(in.imm);
  const uint32_t flags = in.target;
  map_lanes<uint32_t>(
      w, in.op[0],
      [=](float a, float b) {
        return static_cast<uint32_t>(convert<H>(a, mode, flags).bits) << 16 | convert<H>(b, mode, flags).bits;
      },
      reg<float>(w, in.op[1]), reg<float>(w, in.op[2]));
}

// The same to nearest even without modifiers, without branches.
template <auto kNarrow>
void plain_pack_handler(Warp& w, const Inst& in) {
  map_lanes<uint32_t>(
      w, in.op[0], [](float a, float b) { return static_cast<uint32_t>(kNarrow(a)) << 16 | kNarrow(b); },
      reg<float>(w, in.op[1]), reg<float>(w, in.op[2]));
}

void cvt(Encoder& e) {
  const std::string_view names[] = {"rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi"};
  const Rounding modes[] = {Rounding::kNearest, Rounding::kZero, Rounding::kDown, Rounding::kUp, Rounding::kAway,
                            Rounding::kNearest, Rounding::kZero, Rounding::kDown, Rounding::kUp};
  Rounding mode = Rounding::kNearest;
  uint32_t flags = 0;
  for (int i = 0; i < 9; ++i)
    if (e.take(names[i])) {
      mode = modes[i];
      flags |= i >= 5 ? kIntegral : 0;
    }
  flags |= (e.take("ftz") ? kFtz : 0) | (e.take("sat") ? kSat : 0) | (e.take("relu") ? kRelu : 0) |
           (e.take("satfinite") ? kSatFinite : 0);
  const Type to = e.take_type(), from = e.take_type();
  if (to == Type::kF16x2 || to == Type::kBF16x2) {
    if (from != Type::kF32 || e.operands() != 3) e.unsupported();
    const bool plain = mode == Rounding::kNearest && flags == 0;
    const Handler pack = to == Type::kF16x2 ? (plain ? &plain_pack_handler<half_of_float> : &pack_handler<Half>)
                                            : (plain ? &plain_pack_handler<bfloat_of_float> : &pack_handler<Bfloat>);
    Inst& in = e.emit(pack, {e.dst(e.operand(0), 4)}, {e.src(e.operand(1), Type::kF32), e.src(e.operand(2), Type::kF32)});
    in.imm = static_cast<int64_t>(mode);
    in.target = flags;
    return;
  }
  const bool integer_result = to < Type::kB128;
  const bool from_float = from >= Type::kF16;
  if (integer_result) flags &= ~(kIntegral | (from_float ? kSat : 0u));  // from floats every conversion saturates
  const Handler handler = for_type(e, to, [&](auto d) -> Handler {
    using D = decltype(d);
    return for_type(e, from, [](auto s) -> Handler { return &cvt_handler<D, decltype(s)>; });
  });
  // Registers may be wider than the types.
  const ptx::Operand& source = e.operand(1);
  uint32_t s;
  if (source.kind == ptx::Operand::Kind::kRegister && e.width(source) != storage_bytes(from)) {
    s = e.temporary(storage_bytes(from));
    e.emit(resize(storage_bytes(from), e.width(source), false), {s}, {static_cast<uint32_t>(source.reg) << 2});
  } else {
    s = source.kind == ptx::Operand::Kind::kRegister ? static_cast<uint32_t>(source.reg) << 2 : e.src(source, from);
  }
  const int width = std::max(e.width(e.operand(0)), 2);
  const bool wider = width != storage_bytes(to);
  const uint32_t d = wider ? e.temporary(storage_bytes(to)) : e.dst(e.operand(0), width);
  Inst& in = e.emit(handler, {d}, {s});
  in.imm = static_cast<int64_t>(mode);
  in.target = flags;
  if (wider) e.emit(resize(width, storage_bytes(to), is_signed(to)), {e.dst(e.operand(0), width)}, {d});
}

}  // namespace

void add_convert_ops(EncoderTable& table) { table.insert({{"cvt", cvt}}); }

}  // namespace emulator
