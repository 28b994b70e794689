// Comparison and selection. PTX ISA 9.7.6, 9.7.7 (half precision).
#include "decoder.h"
#include "float_bits.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

enum class Compare : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
enum class Combine : uint8_t { kNone, kAnd, kOr, kXor };

struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};
using emulator::flush;
Half flush(Half v) { return (v.bits & 0x7c00) == 0 ? Half{static_cast<uint16_t>(v.bits & 0x8000)} : v; }
float number(Half v) { return from_half(v.bits); }
float number(Bfloat v) { return from_bfloat(v.bits); }
template <class T>
T number(T v) {
  return v;
}

template <Compare kOp, class T>
bool compare(T x, T y) {
  const auto a = number(x), b = number(y);
  const bool unordered = a != a || b != b;
  switch (kOp) {
    case Compare::kEq: return a == b;
    case Compare::kNe: return a != b && !unordered;
    case Compare::kLt: return a < b;
    case Compare::kLe: return a <= b;
    case Compare::kGt: return a > b;
    case Compare::kGe: return a >= b;
    case Compare::kEqu: return a == b || unordered;
    case Compare::kNeu: return a != b;
    case Compare::kLtu: return !(a >= b);
    case Compare::kLeu: return !(a > b);
    case Compare::kGtu: return !(a <= b);
    case Compare::kGeu: return !(a < b);
    case Compare::kNum: return !unordered;
    case Compare::kNan: return unordered;
  }
  return false;
}

uint32_t combine(uint32_t a, uint32_t c, Combine how) {
  switch (how) {
    case Combine::kAnd: return a & c;
    case Combine::kOr: return a | c;
    case Combine::kXor: return a ^ c;
    default: return a;
  }
}

// setp p|q, a, b, c: p = (a op b) combined with c, q = !(a op b) combined with c.
template <class T, Compare kOp, bool kFtz>
void setp_handler(Warp& w, const Inst& in) {
  const uint32_t mask = mask_of(reg<T>(w, in.op[2]), reg<T>(w, in.op[3]), [](T a, T b) {
    if constexpr (kFtz)
      return compare<kOp>(flush(a), flush(b));
    else
      return compare<kOp>(a, b);
  });
  const Combine how = static_cast<Combine>(in.imm);
  const uint32_t c = how == Combine::kNone ? 0 : predicate(w, in.op[4]);
  set_predicate(w, in.op[0], combine(mask, c, how));
  if (in.target != 0) set_predicate(w, in.op[1], combine(~mask, c, how));
}

template <class T, bool kFtz, Compare... kOps>
Handler pick(Compare op, std::integer_sequence<Compare, kOps...>) {
  Handler handler = nullptr;
  ((op == kOps ? handler = &setp_handler<T, kOps, kFtz> : nullptr), ...);
  return handler;
}
using Ordered =
    std::integer_sequence<Compare, Compare::kEq, Compare::kNe, Compare::kLt, Compare::kLe, Compare::kGt, Compare::kGe>;
using Floats = std::integer_sequence<Compare, Compare::kEq, Compare::kNe, Compare::kLt, Compare::kLe, Compare::kGt,
                                     Compare::kGe, Compare::kEqu, Compare::kNeu, Compare::kLtu, Compare::kLeu, Compare::kGtu,
                                     Compare::kGeu, Compare::kNum, Compare::kNan>;

Handler compare_handler(Encoder& e, Type type, Compare op, bool ftz) {
  Handler handler = nullptr;
  switch (type) {
    case Type::kU16:
    case Type::kB16: handler = pick<uint16_t, false>(op, Ordered{}); break;
    case Type::kS16: handler = pick<int16_t, false>(op, Ordered{}); break;
    case Type::kU32:
    case Type::kB32: handler = pick<uint32_t, false>(op, Ordered{}); break;
    case Type::kS32: handler = pick<int32_t, false>(op, Ordered{}); break;
    case Type::kU64:
    case Type::kB64: handler = pick<uint64_t, false>(op, Ordered{}); break;
    case Type::kS64: handler = pick<int64_t, false>(op, Ordered{}); break;
    case Type::kF32: handler = ftz ? pick<float, true>(op, Floats{}) : pick<float, false>(op, Floats{}); break;
    case Type::kF64: handler = pick<double, false>(op, Floats{}); break;
    case Type::kF16: handler = ftz ? pick<Half, true>(op, Floats{}) : pick<Half, false>(op, Floats{}); break;
    case Type::kBF16: handler = pick<Bfloat, false>(op, Floats{}); break;
    default: break;
  }
  if (handler == nullptr) e.unsupported("comparison");
  return handler;
}

Compare take_compare(Encoder& e) {
  const std::pair<std::string_view, Compare> names[] = {
      {"eq", Compare::kEq},   {"ne", Compare::kNe},   {"lt", Compare::kLt},   {"le", Compare::kLe},   {"gt", Compare::kGt},
      {"ge", Compare::kGe},   {"lo", Compare::kLt},   {"ls", Compare::kLe},   {"hi", Compare::kGt},   {"hs", Compare::kGe},
      {"equ", Compare::kEqu}, {"neu", Compare::kNeu}, {"ltu", Compare::kLtu}, {"leu", Compare::kLeu}, {"gtu", Compare::kGtu},
      {"geu", Compare::kGeu}, {"num", Compare::kNum}, {"nan", Compare::kNan}};
  for (const auto& [name, op] : names)
    if (e.take(name)) return op;
  e.unsupported("comparison");
}
Combine take_combine(Encoder& e) {
  return e.take("and") ? Combine::kAnd : e.take("or") ? Combine::kOr : e.take("xor") ? Combine::kXor : Combine::kNone;
}

void emit_compare(Encoder& e, Handler handler, uint32_t a, uint32_t b, Combine how, uint32_t p, uint32_t q, bool both) {
  std::vector<uint32_t> s{a, b};
  if (how != Combine::kNone) s.push_back(e.src_predicate(e.operand(3)));
  Inst& in = e.emit(handler, {p, q}, s);
  in.imm = static_cast<int64_t>(how);
  in.target = both ? 1 : 0;
}

// Packed halves: the lower ones give `low`, the upper ones `high`.
template <int kShift>
void half_of(Warp& w, const Inst& in) {
  map_lanes<uint16_t>(
      w, in.op[0], [](uint32_t v) { return static_cast<uint16_t>(v >> kShift); }, reg<uint32_t>(w, in.op[1]));
}
bool is_packed(Type type) { return type == Type::kF16x2 || type == Type::kBF16x2; }
void emit_packed_compare(Encoder& e, Compare op, Type packed, bool ftz, Combine how, uint32_t low, uint32_t high) {
  const Handler handler = compare_handler(e, packed == Type::kF16x2 ? Type::kF16 : Type::kBF16, op, ftz);
  const uint32_t a = e.src(e.operand(1), packed), b = e.src(e.operand(2), packed);
  for (const bool upper : {false, true}) {
    const uint32_t x = e.temporary(2), y = e.temporary(2);
    e.emit(upper ? &half_of<16> : &half_of<0>, {x}, {a});
    e.emit(upper ? &half_of<16> : &half_of<0>, {y}, {b});
    emit_compare(e, handler, x, y, how, upper ? high : low, e.temporary(0), false);
  }
}

void setp(Encoder& e) {
  const Compare op = take_compare(e);
  const Combine how = take_combine(e);
  const bool ftz = e.take("ftz");
  const Type type = e.take_type();
  const ptx::Operand& d = e.operand(0);
  const bool both = d.second >= 0;
  const uint32_t q = both ? static_cast<uint32_t>(d.second) << 2 : e.temporary(0);
  if (is_packed(type))
    emit_packed_compare(e, op, type, ftz, how, e.dst(d, 0), q);
  else
    emit_compare(e, compare_handler(e, type, op, ftz), e.src(e.operand(1), type), e.src(e.operand(2), type), how,
                 e.dst(d, 0), q, both);
}

// set: all ones or 1.0 where the comparison holds.
template <class T>
void from_predicate(Warp& w, const Inst& in) {
  const uint32_t p = predicate(w, in.op[1]);
  alignas(64) T out[kLanes];
  for (int i = 0; i < kLanes; ++i) out[i] = lane_in(p, i) ? static_cast<T>(in.imm) : T{0};
  store_lanes(w, in.op[0], out);
}
// in.imm: what a half is where the comparison holds.
void from_two_predicates(Warp& w, const Inst& in) {
  const uint32_t low = predicate(w, in.op[1]), high = predicate(w, in.op[2]), one = static_cast<uint32_t>(in.imm);
  alignas(64) uint32_t out[kLanes];
  for (int i = 0; i < kLanes; ++i) out[i] = (lane_in(low, i) ? one : 0) | (lane_in(high, i) ? one << 16 : 0);
  store_lanes(w, in.op[0], out);
}
void set(Encoder& e) {
  const Compare op = take_compare(e);
  const Combine how = take_combine(e);
  const bool ftz = e.take("ftz");
  const Type to = e.take_type(), type = e.take_type();
  const uint32_t p = e.temporary(0);
  if (is_packed(type)) {
    const uint32_t q = e.temporary(0);
    emit_packed_compare(e, op, type, ftz, how, p, q);
    e.emit(&from_two_predicates, {e.dst(e.operand(0), 4)}, {p, q}).imm = to == Type::kF16x2    ? 0x3c00
                                                                         : to == Type::kBF16x2 ? 0x3f80
                                                                                               : 0xffff;
    return;
  }
  emit_compare(e, compare_handler(e, type, op, ftz), e.src(e.operand(1), type), e.src(e.operand(2), type), how, p,
               e.temporary(0), false);
  if (ptx::size_of(to) == 2)
    e.emit(&from_predicate<uint16_t>, {e.dst(e.operand(0), 2)}, {p}).imm = to == Type::kF16    ? 0x3c00
                                                                           : to == Type::kBF16 ? 0x3f80
                                                                                               : 0xffff;
  else
    e.emit(&from_predicate<uint32_t>, {e.dst(e.operand(0), 4)}, {p}).imm = to == Type::kF32 ? 0x3f800000 : 0xffffffff;
}

template <class T>
void selp_handler(Warp& w, const Inst& in) {
  const uint32_t p = predicate(w, in.op[3]);
  const T *a = reg<T>(w, in.op[1]), *b = reg<T>(w, in.op[2]);
  alignas(64) T out[kLanes];
  for (int i = 0; i < kLanes; ++i) out[i] = lane_in(p, i) ? a[i] : b[i];
  store_lanes(w, in.op[0], out);
}
void selp(Encoder& e) {
  const Type type = e.take_type();
  const int bytes = ptx::size_of(type);
  e.emit(bytes == 2   ? &selp_handler<uint16_t>
         : bytes == 4 ? &selp_handler<uint32_t>
                      : &selp_handler<uint64_t>,
         {e.dst(e.operand(0), bytes)},
         {e.src(e.operand(1), type), e.src(e.operand(2), type), e.src_predicate(e.operand(3))});
}

template <class T, class C, bool kFtz = false>
void slct_handler(Warp& w, const Inst& in) {
  map_lanes<T>(
      w, in.op[0],
      [](T a, T b, C c) {
        if constexpr (kFtz) c = flush(c);  // a negative subnormal becomes -0, which counts as >= 0
        return c >= 0 ? a : b;
      },
      reg<T>(w, in.op[1]), reg<T>(w, in.op[2]), reg<C>(w, in.op[3]));
}
void slct(Encoder& e) {
  const bool ftz = e.take("ftz");
  const Type type = e.take_type(), condition = e.take_type();
  const bool wide = ptx::size_of(type) == 8;
  if (ptx::size_of(type) < 4) e.unsupported("type");
  const Handler flushing = wide ? &slct_handler<uint64_t, float, true> : &slct_handler<uint32_t, float, true>;
  e.emit(condition == Type::kF32 ? (ftz    ? flushing
                                    : wide ? &slct_handler<uint64_t, float>
                                           : &slct_handler<uint32_t, float>)
                                 : (wide ? &slct_handler<uint64_t, int32_t> : &slct_handler<uint32_t, int32_t>),
         {e.dst(e.operand(0), ptx::size_of(type))},
         {e.src(e.operand(1), type), e.src(e.operand(2), type), e.src(e.operand(3), condition)});
}

}  // namespace

void add_compare_ops(EncoderTable& table) { table.insert({{"setp", setp}, {"set", set}, {"selp", selp}, {"slct", slct}}); }

}  // namespace emulator
