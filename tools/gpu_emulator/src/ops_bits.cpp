// Logic, shifts, permutations, bit fields and counts. PTX ISA 9.7.1.14 to 9.7.1.24, 9.7.8, 9.7.9.7 (prmt).
#include <algorithm>
#include <bit>

#include "integers.h"

namespace emulator {
namespace {

using ptx::Type;

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

}  // namespace

void add_bit_ops(EncoderTable& table) {
  table.insert({{"and", encode_logic<Logic::kAnd>},
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
                {"szext", szext}});
}

}  // namespace emulator
