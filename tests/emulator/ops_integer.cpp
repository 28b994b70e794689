// Integer arithmetic, logic and bit fields. PTX ISA 9.7.1 (integer), 9.7.2 (extended precision), 9.7.8 (logic and shift).
#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "decoder.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Calls f with a value of the type; fails for what is no integer of 16 to 64 bits.
template <class F>
Handler for_integer(Encoder& e, Type type, F f) {
  switch (type) {
    case Type::kU16:
    case Type::kB16: return f(uint16_t{});
    case Type::kS16: return f(int16_t{});
    case Type::kU32:
    case Type::kB32: return f(uint32_t{});
    case Type::kS32: return f(int32_t{});
    case Type::kU64:
    case Type::kB64: return f(uint64_t{});
    case Type::kS64: return f(int64_t{});
    default: e.unsupported("type");
  }
}

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

// Emits d, a, b (, c) with all operands of one type.
void emit_same(Encoder& e, Type type, Handler handler, size_t sources) {
  std::vector<uint32_t> s;
  for (size_t i = 1; i <= sources; ++i) s.push_back(e.src(e.operand(i), type));
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, s);
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

#define WARPLOOM_TWO_OPERANDS(name, expression)                                                        \
  void name(Encoder& e) {                                                                              \
    const Type type = e.take_type();                                                                   \
    emit_same(e, type,                                                                                 \
              for_integer(e, type,                                                                     \
                          [](auto t) -> Handler {                                                      \
                            using T = decltype(t);                                                     \
                            return &binary<T, T, [](T a, T b) { return static_cast<T>(expression); }>; \
                          }),                                                                          \
              2);                                                                                      \
  }
#define WARPLOOM_ONE_OPERAND(name, expression)                                                   \
  void name(Encoder& e) {                                                                        \
    const Type type = e.take_type();                                                             \
    emit_same(e, type,                                                                           \
              for_integer(e, type,                                                               \
                          [](auto t) -> Handler {                                                \
                            using T = decltype(t);                                               \
                            return &unary<T, T, [](T a) { return static_cast<T>(expression); }>; \
                          }),                                                                    \
              1);                                                                                \
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

// and, or, xor, not: bits, or predicates (one word for all lanes).
enum class Logic { kAnd, kOr, kXor };
template <Logic kOp, class T>
T logic(T a, T b) {
  return static_cast<T>(kOp == Logic::kAnd ? a & b : kOp == Logic::kOr ? a | b : a ^ b);
}
template <Logic kOp>
void logic_predicates(Warp& w, const Inst& in) {
  set_predicate(w, in.op[0], logic<kOp>(predicate(w, in.op[1]), predicate(w, in.op[2])));
}
template <Logic kOp>
void encode_logic(Encoder& e) {
  const Type type = e.take_type();
  if (type == Type::kPred) {
    e.emit(&logic_predicates<kOp>, {e.dst(e.operand(0), 0)}, {e.src_predicate(e.operand(1)), e.src_predicate(e.operand(2))});
    return;
  }
  emit_same(e, type,
            for_integer(e, type,
                        [](auto t) -> Handler {
                          using T = decltype(t);
                          return &binary<T, T, [](T a, T b) { return logic<kOp>(a, b); }>;
                        }),
            2);
}
void not_predicate(Warp& w, const Inst& in) { set_predicate(w, in.op[0], ~predicate(w, in.op[1])); }
void logical_not(Encoder& e) {
  const Type type = e.take_type();
  if (type == Type::kPred) {
    e.emit(&not_predicate, {e.dst(e.operand(0), 0)}, {e.src_predicate(e.operand(1))});
    return;
  }
  emit_same(e, type,
            for_integer(e, type,
                        [](auto t) -> Handler {
                          using T = decltype(t);
                          return &unary<T, T, [](T a) { return static_cast<T>(~a); }>;
                        }),
            1);
}
WARPLOOM_ONE_OPERAND(cnot, a == 0 ? 1 : 0)

// Shifts clamp: by the width and more, all bits are gone (or are the sign).
template <class T>
T shift_left(T a, uint32_t n) {
  return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(static_cast<uint64_t>(a) << n);
}
template <class T>
T shift_right(T a, uint32_t n) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  return static_cast<T>(n >= kBits ? (std::is_signed_v<T> ? a >> (kBits - 1) : T{0}) : a >> n);
}
void emit_shift(Encoder& e, Type type, Handler handler) {
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))}, {e.src(e.operand(1), type), e.src(e.operand(2), Type::kU32)});
}
void shl(Encoder& e) {
  const Type type = e.take_type();
  emit_shift(e, type, for_integer(e, type, [](auto t) -> Handler {
               using T = Unsigned<decltype(t)>;
               return &binary_mixed<T, T, uint32_t, [](T a, uint32_t n) { return shift_left<T>(a, n); }>;
             }));
}
void shr(Encoder& e) {
  const Type type = e.take_type();
  emit_shift(e, type, for_integer(e, type, [](auto t) -> Handler {
               using T = decltype(t);
               return &binary_mixed<T, T, uint32_t, [](T a, uint32_t n) { return shift_right<T>(a, n); }>;
             }));
}

using U = uint32_t;
template <bool kLeft, bool kClamp>
U funnel(U lo, U hi, U n) {
  n = kClamp ? std::min<U>(n, 32) : n & 31;
  const uint64_t both = uint64_t{hi} << 32 | lo;
  return static_cast<U>(kLeft ? (both << n) >> 32 : both >> n);
}
void shf(Encoder& e) {
  const bool left = e.take_one({"l", "r"}) == "l", clamp = e.take_one({"clamp", "wrap"}) == "clamp";
  e.take_type();
  emit_same(e, Type::kU32,
            left ? (clamp ? &ternary<U, U, U, U, [](U a, U b, U n) { return funnel<true, true>(a, b, n); }>
                          : &ternary<U, U, U, U, [](U a, U b, U n) { return funnel<true, false>(a, b, n); }>)
                 : (clamp ? &ternary<U, U, U, U, [](U a, U b, U n) { return funnel<false, true>(a, b, n); }>
                          : &ternary<U, U, U, U, [](U a, U b, U n) { return funnel<false, false>(a, b, n); }>),
            3);
}

// lop3: any function of three bits, a truth table in the last operand.
void lop3_handler(Warp& w, const Inst& in) {
  const U table = static_cast<U>(in.imm);
  auto full = [table](int bit) { return (table >> bit) & 1 ? kAllLanes : 0; };
  const U t[8] = {full(0), full(1), full(2), full(3), full(4), full(5), full(6), full(7)};
  map_lanes<U>(
      w, in.op[0],
      [&t](U a, U b, U c) {
        return (~a & ~b & ~c & t[0]) | (~a & ~b & c & t[1]) | (~a & b & ~c & t[2]) | (~a & b & c & t[3]) |
               (a & ~b & ~c & t[4]) | (a & ~b & c & t[5]) | (a & b & ~c & t[6]) | (a & b & c & t[7]);
      },
      reg<U>(w, in.op[1]), reg<U>(w, in.op[2]), reg<U>(w, in.op[3]));
}
void lop3(Encoder& e) {
  e.take_type();
  if (e.operands() != 5) e.unsupported("with a predicate");
  emit_same(e, Type::kU32, &lop3_handler, 3);
  e.last().inst.imm = e.operand(4).value;
}

// prmt: picks bytes of {b,a} by nibbles; the modes make the nibbles from the selector's low bits.
U permute(U a, U b, U selector, int mode) {
  const uint64_t both = uint64_t{b} << 32 | a;
  U out = 0;
  const U s = selector & 3;
  for (U i = 0; i < 4; ++i) {
    U pick = 0;
    switch (mode) {
      case 0: pick = (selector >> (4 * i)) & 15; break;
      case 1: pick = s + i; break;                   // f4e
      case 2: pick = (s - i) & 7; break;             // b4e
      case 3: pick = s; break;                       // rc8
      case 4: pick = std::max(s, i); break;          // ecl
      case 5: pick = std::min(s, i); break;          // ecr
      default: pick = (s & 1) * 2 + (i & 1); break;  // rc16
    }
    U byte = static_cast<U>(both >> (8 * (pick & 7))) & 0xff;
    if ((pick & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
    out |= byte << (8 * i);
  }
  return out;
}
template <int kMode>
Handler prmt_handler() {
  return &ternary<U, U, U, U, [](U a, U b, U c) { return permute(a, b, c, kMode); }>;
}
void prmt(Encoder& e) {
  e.take_type();
  const std::string_view mode = e.take_one({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  emit_same(e, Type::kU32,
            mode == "f4e"    ? prmt_handler<1>()
            : mode == "b4e"  ? prmt_handler<2>()
            : mode == "rc8"  ? prmt_handler<3>()
            : mode == "ecl"  ? prmt_handler<4>()
            : mode == "ecr"  ? prmt_handler<5>()
            : mode == "rc16" ? prmt_handler<6>()
                             : prmt_handler<0>(),
            3);
}

// Bit fields. Position and length are taken from the low eight bits.
template <class T>
T extract(T a, U pos, U len) {
  constexpr U kBits = 8 * sizeof(T);
  using N = Unsigned<T>;
  pos &= 255;
  len &= 255;
  N out = pos >= kBits || len == 0 ? N{0} : static_cast<N>(static_cast<N>(a) >> pos);
  if (len < kBits) out &= static_cast<N>((N{1} << len) - 1);
  if (std::is_signed_v<T> && len > 0) {  // the sign is the field's last bit, or a's where the field runs out of it
    const U last = std::min(pos + len - 1, kBits - 1);
    const bool sign = ((static_cast<N>(a) >> last) & 1) != 0;
    const U have = last >= pos ? last - pos + 1 : 0;
    if (sign && have < kBits) out |= static_cast<N>(~N{0} << have);
  }
  return static_cast<T>(out);
}
template <class T>
T insert(T f, T base, U pos, U len) {
  constexpr U kBits = 8 * sizeof(T);
  pos &= 255;
  len &= 255;
  if (pos >= kBits || len == 0) return base;
  const T ones = len >= kBits ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << len) - 1);
  const T mask = static_cast<T>(ones << pos);
  return static_cast<T>((base & ~mask) | ((f << pos) & mask));
}
void bfe(Encoder& e) {
  const Type type = e.take_type();
  const Handler handler = for_integer(e, type, [](auto t) -> Handler {
    using T = decltype(t);
    return &ternary<T, T, U, U, [](T a, U p, U n) { return extract<T>(a, p, n); }>;
  });
  e.emit(handler, {e.dst(e.operand(0), ptx::size_of(type))},
         {e.src(e.operand(1), type), e.src(e.operand(2), Type::kU32), e.src(e.operand(3), Type::kU32)});
}
template <class T>
void insert_handler(Warp& w, const Inst& in) {
  map_lanes<T>(
      w, in.op[0], [](T f, T b, U p, U n) { return insert<T>(f, b, p, n); }, reg<T>(w, in.op[1]), reg<T>(w, in.op[2]),
      reg<U>(w, in.op[3]), reg<U>(w, in.op[4]));
}
void bfi(Encoder& e) {
  const Type type = e.take_type();
  e.emit(type == Type::kB64 ? &insert_handler<uint64_t> : &insert_handler<U>, {e.dst(e.operand(0), ptx::size_of(type))},
         {e.src(e.operand(1), type), e.src(e.operand(2), type), e.src(e.operand(3), Type::kU32),
          e.src(e.operand(4), Type::kU32)});
}
template <class T>
U find_leading(T a, bool shift_amount) {
  constexpr int kBits = 8 * sizeof(T);
  Unsigned<T> v = static_cast<Unsigned<T>>(std::is_signed_v<T> && a < 0 ? ~a : a);
  if (v == 0) return 0xffffffff;
  const int from_top = std::countl_zero(v);
  return static_cast<U>(shift_amount ? from_top : kBits - 1 - from_top);
}
// Results of 32 bits from a source of 32 or 64.
void emit_count(Encoder& e, Type type, Handler handler) {
  e.emit(handler, {e.dst(e.operand(0), 4)}, {e.src(e.operand(1), type)});
}
void bfind(Encoder& e) {
  const bool amount = e.take("shiftamt");
  const Type type = e.take_type();
  emit_count(e, type, for_integer(e, type, [&](auto t) -> Handler {
               using T = decltype(t);
               return amount ? &unary<U, T, [](T a) { return find_leading<T>(a, true); }>
                             : &unary<U, T, [](T a) { return find_leading<T>(a, false); }>;
             }));
}
void clz(Encoder& e) {
  const Type type = e.take_type();
  emit_count(e, type,
             type == Type::kB64 ? &unary<U, uint64_t, [](uint64_t a) { return std::countl_zero(a); }>
                                : &unary<U, U, [](U a) { return std::countl_zero(a); }>);
}
void popc(Encoder& e) {
  const Type type = e.take_type();
  emit_count(e, type,
             type == Type::kB64 ? &unary<U, uint64_t, [](uint64_t a) { return std::popcount(a); }>
                                : &unary<U, U, [](U a) { return std::popcount(a); }>);
}
template <class T>
T reverse_bits(T v) {
  T out = 0;
  for (size_t i = 0; i < 8 * sizeof(T); ++i, v = static_cast<T>(v >> 1)) out = static_cast<T>(out << 1 | (v & 1));
  return out;
}
void brev(Encoder& e) {
  const Type type = e.take_type();
  emit_same(e, type,
            type == Type::kB64 ? &unary<uint64_t, uint64_t, [](uint64_t a) { return reverse_bits(a); }>
                               : &unary<U, U, [](U a) { return reverse_bits(a); }>,
            1);
}
// fns: the offset-th set bit from base, upwards or (offset negative) downwards; 0xffffffff where there is none.
U find_nth(U mask, U base, int32_t offset) {
  if (offset == 0) return base < 32 && ((mask >> base) & 1) != 0 ? base : 0xffffffff;
  const int step = offset > 0 ? 1 : -1;
  int count = 0;
  for (int32_t pos = static_cast<int32_t>(base); pos >= 0 && pos < 32; pos += step)
    if (((mask >> pos) & 1) != 0 && ++count == std::abs(offset)) return static_cast<U>(pos);
  return 0xffffffff;
}
void fns(Encoder& e) {
  e.take_type();
  emit_same(e, Type::kU32, &ternary<U, U, U, int32_t, [](U m, U b, int32_t o) { return find_nth(m, b, o); }>, 3);
}
void bmsk(Encoder& e) {  // `length` ones from bit `position` up
  const bool clamp = e.take_one({"clamp", "wrap"}) == "clamp";
  e.take_type();
  emit_same(
      e, Type::kU32,
      clamp ? &binary<U, U,
                      [](U pos, U len) {
                        return static_cast<U>(pos >= 32 ? 0 : ((uint64_t{1} << std::min<U>(len, 32)) - 1) << pos);
                      }>
            : &binary<U, U, [](U pos, U len) { return static_cast<U>(((uint64_t{1} << (len & 31)) - 1) << (pos & 31)); }>,
      2);
}
void szext(Encoder& e) {
  const bool clamp = e.take_one({"clamp", "wrap"}) == "clamp";
  const Type type = e.take_type();
  if (!clamp) e.unsupported("wrap");
  emit_same(e, type,
            type == Type::kS32 ? &binary<U, U,
                                         [](U a, U n) {
                                           return n >= 32  ? a
                                                  : n == 0 ? 0
                                                           : static_cast<U>(static_cast<int32_t>(a << (32 - n)) >> (32 - n));
                                         }>
                               : &binary<U, U, [](U a, U n) { return n >= 32 ? a : a & ((U{1} << n) - 1); }>,
            2);
}

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
                {"and", encode_logic<Logic::kAnd>},
                {"or", encode_logic<Logic::kOr>},
                {"xor", encode_logic<Logic::kXor>},
                {"not", logical_not},
                {"cnot", cnot},
                {"shl", shl},
                {"shr", shr},
                {"shf", shf},
                {"lop3", lop3},
                {"prmt", prmt},
                {"bfe", bfe},
                {"bfi", bfi},
                {"bfind", bfind},
                {"clz", clz},
                {"popc", popc},
                {"brev", brev},
                {"fns", fns},
                {"bmsk", bmsk},
                {"szext", szext},
                {"dp4a", dot},
                {"dp2a", dot}});
}

}  // namespace emulator
