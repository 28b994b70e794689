// Integer arithmetic. PTX ISA 9.7.1, 9.7.2 (carry chains).
#include <algorithm>
#include <bit>
#include <limits>

#include "integers.h"

namespace emulator {
namespace {

using ptx::Type;

template <class T>
T wrap_add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
T wrap_sub(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
template <class T>
T wrap_mul(T a, T b) {
  using U = std::conditional_t<sizeof(T) < 4, uint32_t, Unsigned<T>>;  // no signed overflow by promotion
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}
template <class T>
T high_mul(T a, T b) {
  using W = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                               std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                                                  std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;
  return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (8 * sizeof(T)));
}
// Division by zero gives all ones (what the hardware's routine gives; PTX leaves it open), and never stops the host.
template <class T>
T divide(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return wrap_sub<T>(0, a);
  return static_cast<T>(a / b);
}
template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}
int32_t saturate(int64_t v) {
  return static_cast<int32_t>(
      std::clamp<int64_t>(v, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}

// Carry chains: the condition code is one bit a lane.
template <class T, bool kSubtract, bool kIn, bool kOut>
void add_carry(Warp& w, const Inst& in) {
  using U = Unsigned<T>;
  const U *a = reg<U>(w, in.op[kOut ? 2 : 1]), *b = reg<U>(w, in.op[kOut ? 3 : 2]);
  const uint32_t carries = kIn ? *reg<uint32_t>(w, in.op[kOut ? 4 : 3]) : (kSubtract ? kAllLanes : 0);
  alignas(64) U out[kLanes];
  uint32_t carry_out = 0;
  for (int i = 0; i < kLanes; ++i) {  // a - b is a + ~b + 1: the carry then means "no borrow"
    const U x = kSubtract ? static_cast<U>(~b[i]) : b[i];
    const unsigned __int128 sum = static_cast<unsigned __int128>(a[i]) + x + ((carries >> i) & 1);
    out[i] = static_cast<U>(sum);
    carry_out |= static_cast<uint32_t>((sum >> (8 * sizeof(T))) & 1) << i;
  }
  store_lanes(w, in.op[0], out);
  if (kOut) set_predicate(w, in.op[1], carry_out);
}

template <bool kSubtract>
void encode_carry(Encoder& e, bool carry_in, bool carry_out, Type type) {
  const Handler handler = for_integer(e, type, [&](auto t) -> Handler {
    using T = decltype(t);
    return carry_in ? (carry_out ? &add_carry<T, kSubtract, true, true> : &add_carry<T, kSubtract, true, false>)
                    : &add_carry<T, kSubtract, false, true>;
  });
  std::vector<uint32_t> d{e.dst(e.operand(0), ptx::size_of(type))};
  if (carry_out) d.push_back(e.carry());
  std::vector<uint32_t> s{e.src(e.operand(1), type), e.src(e.operand(2), type)};
  if (carry_in) s.push_back(e.carry());
  e.emit(handler, d, s);
}

void add(Encoder& e) {
  const bool cc = e.take("cc"), sat = e.take("sat");
  const Type type = e.take_type();
  if (cc) return encode_carry<false>(e, false, true, type);
  if (sat)
    return emit_same(e, type, &binary<int32_t, int32_t, [](int32_t a, int32_t b) { return saturate(int64_t{a} + b); }>, 2);
  emit_same(e, type,
            for_integer(e, type,
                        [](auto t) -> Handler {
                          using T = decltype(t);
                          return &binary<T, T, [](T a, T b) { return wrap_add<T>(a, b); }>;
                        }),
            2);
}
void sub(Encoder& e) {
  const bool cc = e.take("cc"), sat = e.take("sat");
  const Type type = e.take_type();
  if (cc) return encode_carry<true>(e, false, true, type);
  if (sat)
    return emit_same(e, type, &binary<int32_t, int32_t, [](int32_t a, int32_t b) { return saturate(int64_t{a} - b); }>, 2);
  emit_same(e, type,
            for_integer(e, type,
                        [](auto t) -> Handler {
                          using T = decltype(t);
                          return &binary<T, T, [](T a, T b) { return wrap_sub<T>(a, b); }>;
                        }),
            2);
}
void addc(Encoder& e) {
  const bool cc = e.take("cc");
  encode_carry<false>(e, true, cc, e.take_type());
}
void subc(Encoder& e) {
  const bool cc = e.take("cc");
  encode_carry<true>(e, true, cc, e.take_type());
}

template <class T>
struct WideOf;
template <>
struct WideOf<uint16_t> {
  using type = uint32_t;
};
template <>
struct WideOf<int16_t> {
  using type = int32_t;
};
template <>
struct WideOf<uint32_t> {
  using type = uint64_t;
};
template <>
struct WideOf<int32_t> {
  using type = int64_t;
};

Type wide_type(Encoder& e, Type type) {
  switch (type) {
    case Type::kU16: return Type::kU32;
    case Type::kS16: return Type::kS32;
    case Type::kU32: return Type::kU64;
    case Type::kS32: return Type::kS64;
    default: e.unsupported("type");
  }
}

template <class F>
Handler for_narrow(Encoder& e, Type type, F f) {
  switch (type) {
    case Type::kU16: return f(uint16_t{});
    case Type::kS16: return f(int16_t{});
    case Type::kU32: return f(uint32_t{});
    case Type::kS32: return f(int32_t{});
    default: e.unsupported("type");
  }
}

void mul(Encoder& e) {
  const std::string_view part = e.take_one({"wide", "hi", "lo"});
  const Type type = e.take_type();
  if (part == "wide") {
    const Handler handler = for_narrow(e, type, [](auto t) -> Handler {
      using T = decltype(t);
      using W = typename WideOf<T>::type;
      return &binary<W, T, [](T a, T b) { return static_cast<W>(static_cast<W>(a) * static_cast<W>(b)); }>;
    });
    e.emit(handler, {e.dst(e.operand(0), 2 * ptx::size_of(type))}, {e.src(e.operand(1), type), e.src(e.operand(2), type)});
    return;
  }
  emit_same(e, type,
            for_integer(e, type,
                        [&](auto t) -> Handler {
                          using T = decltype(t);
                          return part == "hi" ? &binary<T, T, [](T a, T b) { return high_mul<T>(a, b); }>
                                              : &binary<T, T, [](T a, T b) { return wrap_mul<T>(a, b); }>;
                        }),
            2);
}

// mad.{lo,hi}{.cc} and madc: the product's half goes to a temporary, then a carry chain adds.
void mad(Encoder& e) {
  const bool madc = e.in().parts[0] == "madc";
  const std::string_view part = e.take_one({"wide", "hi", "lo"});
  const bool cc = e.take("cc"), sat = e.take("sat");
  const Type type = e.take_type();
  if (sat) e.unsupported("sat");
  if (part == "wide") {
    const Type wide = wide_type(e, type);
    const Handler handler = for_narrow(e, type, [](auto t) -> Handler {
      using T = decltype(t);
      using W = typename WideOf<T>::type;
      return &ternary<W, T, T, W, [](T a, T b, W c) { return wrap_add<W>(static_cast<W>(a) * static_cast<W>(b), c); }>;
    });
    e.emit(handler, {e.dst(e.operand(0), ptx::size_of(wide))},
           {e.src(e.operand(1), type), e.src(e.operand(2), type), e.src(e.operand(3), wide)});
    return;
  }
  if (!cc && !madc) {
    emit_same(
        e, type,
        for_integer(e, type,
                    [&](auto t) -> Handler {
                      using T = decltype(t);
                      return part == "hi"
                                 ? &ternary<T, T, T, T, [](T a, T b, T c) { return wrap_add<T>(high_mul<T>(a, b), c); }>
                                 : &ternary<T, T, T, T, [](T a, T b, T c) { return wrap_add<T>(wrap_mul<T>(a, b), c); }>;
                    }),
        3);
    return;
  }
  const uint32_t product = e.temporary(ptx::size_of(type));
  const Handler multiply = for_integer(e, type, [&](auto t) -> Handler {
    using T = decltype(t);
    return part == "hi" ? &binary<T, T, [](T a, T b) { return high_mul<T>(a, b); }>
                        : &binary<T, T, [](T a, T b) { return wrap_mul<T>(a, b); }>;
  });
  e.emit(multiply, {product}, {e.src(e.operand(1), type), e.src(e.operand(2), type)});
  const Handler chain = for_integer(e, type, [&](auto t) -> Handler {
    using T = decltype(t);
    return madc ? (cc ? &add_carry<T, false, true, true> : &add_carry<T, false, true, false>)
                : &add_carry<T, false, false, true>;
  });
  std::vector<uint32_t> d{e.dst(e.operand(0), ptx::size_of(type))}, s{product, e.src(e.operand(3), type)};
  if (cc) d.push_back(e.carry());
  if (madc) s.push_back(e.carry());
  e.emit(chain, d, s);
}

int32_t sign_extend24(uint32_t v) { return static_cast<int32_t>(v << 8) >> 8; }
void mul24(Encoder& e) {
  const bool hi = e.take_one({"hi", "lo"}) == "hi";
  const Type type = e.take_type();
  if (type == Type::kU32)
    emit_same(e, type,
              hi ? &binary<uint32_t, uint32_t,
                           [](uint32_t a, uint32_t b) {
                             return static_cast<uint32_t>((uint64_t{a & 0xffffff} * (b & 0xffffff)) >> 16);
                           }>
                 : &binary<uint32_t, uint32_t, [](uint32_t a, uint32_t b) { return (a & 0xffffff) * (b & 0xffffff); }>,
              2);
  else
    emit_same(e, type,
              hi ? &binary<uint32_t, uint32_t,
                           [](uint32_t a, uint32_t b) {
                             return static_cast<uint32_t>((int64_t{sign_extend24(a)} * sign_extend24(b)) >> 16);
                           }>
                 : &binary<uint32_t, uint32_t,
                           [](uint32_t a, uint32_t b) {
                             return static_cast<uint32_t>(int64_t{sign_extend24(a)} * sign_extend24(b));
                           }>,
              2);
}

WARPLOOM_TWO_OPERANDS(div, divide<T>(a, b))
WARPLOOM_TWO_OPERANDS(rem, remainder<T>(a, b))
WARPLOOM_TWO_OPERANDS(min, a < b ? a : b)
WARPLOOM_TWO_OPERANDS(max, a > b ? a : b)
WARPLOOM_ONE_OPERAND(neg, wrap_sub<T>(0, a))
WARPLOOM_ONE_OPERAND(abs, a < 0 ? wrap_sub<T>(0, a) : a)

void sad(Encoder& e) {
  const Type type = e.take_type();
  emit_same(e, type,
            for_integer(e, type,
                        [](auto t) -> Handler {
                          using T = decltype(t);
                          return &ternary<T, T, T, T, [](T a, T b, T c) {
                            return wrap_add<T>(c, a < b ? wrap_sub<T>(b, a) : wrap_sub<T>(a, b));
                          }>;
                        }),
            3);
}

using U = uint32_t;

// Dot products of bytes (and, dp2a, of two 16-bit values with two of the bytes).
template <bool kASigned, bool kBSigned>
U dot4(U a, U b, U c) {
  for (int i = 0; i < 4; ++i) {
    const int32_t x = kASigned ? static_cast<int8_t>(a >> (8 * i)) : static_cast<uint8_t>(a >> (8 * i));
    const int32_t y = kBSigned ? static_cast<int8_t>(b >> (8 * i)) : static_cast<uint8_t>(b >> (8 * i));
    c += static_cast<U>(x * y);
  }
  return c;
}
template <bool kASigned, bool kBSigned, bool kHigh>
U dot2(U a, U b, U c) {
  for (int i = 0; i < 2; ++i) {
    const int shift = 8 * (i + (kHigh ? 2 : 0));
    const int32_t x = kASigned ? static_cast<int16_t>(a >> (16 * i)) : static_cast<uint16_t>(a >> (16 * i));
    const int32_t y = kBSigned ? static_cast<int8_t>(b >> shift) : static_cast<uint8_t>(b >> shift);
    c += static_cast<U>(x) * static_cast<U>(y);
  }
  return c;
}
template <bool kA, bool kB>
Handler dot_handler(bool two, bool high) {
  if (!two) return &ternary<U, U, U, U, [](U a, U b, U c) { return dot4<kA, kB>(a, b, c); }>;
  return high ? &ternary<U, U, U, U, [](U a, U b, U c) { return dot2<kA, kB, true>(a, b, c); }>
              : &ternary<U, U, U, U, [](U a, U b, U c) { return dot2<kA, kB, false>(a, b, c); }>;
}
void dot(Encoder& e) {
  const bool two = e.in().parts[0] == "dp2a", high = e.take_one({"hi", "lo"}) == "hi";
  const bool a = e.take_type() == Type::kS32, b = e.take_type() == Type::kS32;
  emit_same(e, Type::kU32,
            a ? (b ? dot_handler<true, true>(two, high) : dot_handler<true, false>(two, high))
              : (b ? dot_handler<false, true>(two, high) : dot_handler<false, false>(two, high)),
            3);
}

}  // namespace

void add_integer_ops(EncoderTable& table) {
  table.insert({{"add:i", add},
                {"sub:i", sub},
                {"addc", addc},
                {"subc", subc},
                {"mul:i", mul},
                {"mad:i", mad},
                {"madc", mad},
                {"mul24", mul24},
                {"div:i", div},
                {"rem", rem},
                {"min:i", min},
                {"max:i", max},
                {"neg:i", neg},
                {"abs:i", abs},
                {"sad", sad},
                {"dp4a", dot},
                {"dp2a", dot}});
}

}  // namespace emulator
