// mov, cvta, special registers, addresses. PTX ISA 9.7.9.3 (mov), 9.7.9.20 (cvta), 10 (special registers).
#include "ops_move.h"

#include <algorithm>
#include <chrono>

#include "device_models.h"
#include "memory.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

template <class T>
void move_handler(Warp& w, const Inst& in) {
  store_lanes(w, in.op[0], reg<T>(w, in.op[1]));
}
void move_predicate(Warp& w, const Inst& in) { set_predicate(w, in.op[0], predicate(w, in.op[1])); }

template <class T, class F>
void fill(Warp& w, const Inst& in, F f) {
  alignas(64) T out[kLanes];
  for (int i = 0; i < kLanes; ++i) out[i] = static_cast<T>(f(static_cast<uint32_t>(i)));
  store_lanes(w, in.op[0], out);
}

enum class Special : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneId,
  kWarpId,
  kNwarpId,
  kSmId,
  kNsmId,
  kGridId,
  kMaskEq,
  kMaskLt,
  kMaskLe,
  kMaskGt,
  kMaskGe,
  kClock,
  kGlobalTimer,
  kDynamicShared,
  kTotalShared,
  kWorkspaceHigh,
  kWorkspaceLow,
  kNone
};
Special special(std::string_view name) {
  const std::pair<std::string_view, Special> names[] = {{"%tid.x", Special::kTidX},
                                                        {"%tid.y", Special::kTidY},
                                                        {"%tid.z", Special::kTidZ},
                                                        {"%ntid.x", Special::kNtidX},
                                                        {"%ntid.y", Special::kNtidY},
                                                        {"%ntid.z", Special::kNtidZ},
                                                        {"%ctaid.x", Special::kCtaidX},
                                                        {"%ctaid.y", Special::kCtaidY},
                                                        {"%ctaid.z", Special::kCtaidZ},
                                                        {"%nctaid.x", Special::kNctaidX},
                                                        {"%nctaid.y", Special::kNctaidY},
                                                        {"%nctaid.z", Special::kNctaidZ},
                                                        {"%laneid", Special::kLaneId},
                                                        {"%warpid", Special::kWarpId},
                                                        {"%nwarpid", Special::kNwarpId},
                                                        {"%smid", Special::kSmId},
                                                        {"%nsmid", Special::kNsmId},
                                                        {"%gridid", Special::kGridId},
                                                        {"%lanemask_eq", Special::kMaskEq},
                                                        {"%lanemask_lt", Special::kMaskLt},
                                                        {"%lanemask_le", Special::kMaskLe},
                                                        {"%lanemask_gt", Special::kMaskGt},
                                                        {"%lanemask_ge", Special::kMaskGe},
                                                        {"%clock", Special::kClock},
                                                        {"%clock64", Special::kClock},
                                                        {"%clock_hi", Special::kNone},
                                                        {"%globaltimer", Special::kGlobalTimer},
                                                        {"%globaltimer_lo", Special::kGlobalTimer},
                                                        {"%dynamic_smem_size", Special::kDynamicShared},
                                                        {"%total_smem_size", Special::kTotalShared},
                                                        {"%envreg1", Special::kWorkspaceHigh},
                                                        {"%envreg2", Special::kWorkspaceLow}};
  for (const auto& [text, value] : names)
    if (text == name) return value;
  return Special::kNone;
}

uint64_t special_value(const Warp& w, Special which, uint32_t lane) {
  const Block& b = *w.block;
  const Launch& l = *b.launch;
  const uint32_t k = static_cast<uint32_t>(which);
  if (which <= Special::kTidZ) return w.tid[k][lane];
  if (which <= Special::kNtidZ) return l.block[k - 3];
  if (which <= Special::kCtaidZ) return b.id[k - 6];
  if (which <= Special::kNctaidZ) return l.grid[k - 9];
  switch (which) {
    case Special::kLaneId: return lane;
    case Special::kWarpId: return w.index;
    case Special::kNwarpId: return b.warps.size();
    case Special::kSmId: return b.linear % static_cast<uint64_t>(device_model().processors);
    case Special::kNsmId: return static_cast<uint64_t>(device_model().processors);
    case Special::kGridId: return l.grid_id;
    case Special::kMaskEq: return 1u << lane;
    case Special::kMaskLt: return (1u << lane) - 1;
    case Special::kMaskLe: return (2ull << lane) - 1;
    case Special::kMaskGt: return ~static_cast<uint32_t>((2ull << lane) - 1);
    case Special::kMaskGe: return ~((1u << lane) - 1);
    case Special::kClock: return w.issued * 4;  // as if a warp's instruction took four cycles
    case Special::kGlobalTimer: return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    case Special::kDynamicShared: return l.dynamic_shared;
    case Special::kTotalShared: return l.code->static_shared + l.dynamic_shared;
    case Special::kWorkspaceHigh: return l.workspace >> 32;
    case Special::kWorkspaceLow: return static_cast<uint32_t>(l.workspace);
    default: return 0;
  }
}
template <class T>
void special_handler(Warp& w, const Inst& in) {
  fill<T>(w, in, [&](uint32_t lane) { return special_value(w, static_cast<Special>(in.imm), lane); });
}

template <class T>
void dynamic_shared_address(Warp& w, const Inst& in) {
  const uint64_t address = w.block->launch->code->static_shared + static_cast<uint64_t>(in.imm);
  fill<T>(w, in, [&](uint32_t) { return address; });
}
template <class T>
void local_address(Warp& w, const Inst& in) {
  const uint64_t base = w.local_begin + w.frame->local_offset + static_cast<uint64_t>(in.imm);
  fill<T>(w, in, [&](uint32_t lane) { return base + lane * uint64_t{w.local_stride}; });
}
template <class T>
void param_address(Warp& w, const Inst& in) {
  const uint64_t address = w.block->launch->params + static_cast<uint64_t>(in.imm);
  fill<T>(w, in, [&](uint32_t) { return address; });
}

// mov d, {a,b,..} and mov {a,b,..}, s, where an element has half or a quarter of the whole.
template <class W, class P>
void pack(Warp& w, const Inst& in) {
  constexpr size_t kParts = sizeof(W) / sizeof(P);
  alignas(64) W out[kLanes] = {};
  for (size_t k = 0; k < kParts; ++k) {
    const P* part = reg<P>(w, in.op[1 + k]);
    for (int i = 0; i < kLanes; ++i) out[i] = static_cast<W>(out[i] | static_cast<W>(part[i]) << (8 * sizeof(P) * k));
  }
  store_lanes(w, in.op[0], out);
}
template <class W, class P>
void unpack(Warp& w, const Inst& in) {
  constexpr size_t kParts = sizeof(W) / sizeof(P);
  alignas(64) W whole[kLanes];
  std::copy_n(reg<W>(w, in.op[kParts]), kLanes, whole);
  for (size_t k = 0; k < kParts; ++k) {
    alignas(64) P out[kLanes];
    for (int i = 0; i < kLanes; ++i) out[i] = static_cast<P>(whole[i] >> (8 * sizeof(P) * k));
    store_lanes(w, in.op[k], out);
  }
}
Type bits_type(int bytes) { return bytes == 1 ? Type::kB8 : bytes == 2 ? Type::kB16 : bytes == 4 ? Type::kB32 : Type::kB64; }

void move_vector(Encoder& e, Type type) {
  const bool packs = e.operand(1).kind == ptx::Operand::Kind::kVector;
  const ptx::Operand& vector = e.operand(packs ? 1 : 0);
  const int bytes = ptx::size_of(type), parts = static_cast<int>(vector.elements.size()), part = bytes / std::max(parts, 1);
  Handler handler = nullptr;
  if (bytes == 8 && part == 4) handler = packs ? &pack<uint64_t, uint32_t> : &unpack<uint64_t, uint32_t>;
  if (bytes == 8 && part == 2) handler = packs ? &pack<uint64_t, uint16_t> : &unpack<uint64_t, uint16_t>;
  if (bytes == 4 && part == 2) handler = packs ? &pack<uint32_t, uint16_t> : &unpack<uint32_t, uint16_t>;
  if (handler == nullptr) e.unsupported("vector");
  std::vector<uint32_t> d, s;
  for (const auto& element : vector.elements) {
    if (packs)
      s.push_back(e.src(element, bits_type(part)));
    else
      d.push_back(e.dst(element, part));
  }
  if (packs)
    d.push_back(e.dst(e.operand(0), bytes));
  else
    s.push_back(e.src(e.operand(1), type));
  e.emit(handler, d, s);
}

Handler move_of(Encoder& e, int bytes) {
  switch (bytes) {
    case 2: return &move_handler<uint16_t>;
    case 4: return &move_handler<uint32_t>;
    case 8: return &move_handler<uint64_t>;
    default: e.unsupported("type");
  }
}

void mov(Encoder& e) {
  const Type type = e.take_type();
  const ptx::Operand &d = e.operand(0), &s = e.operand(1);
  if (type == Type::kPred) {
    e.emit(&move_predicate, {e.dst(d, 0)}, {e.src_predicate(s)});
  } else if (d.kind == ptx::Operand::Kind::kVector || s.kind == ptx::Operand::Kind::kVector) {
    move_vector(e, type);
  } else if (s.kind == ptx::Operand::Kind::kSymbol) {
    emit_symbol(e, s, e.dst(d, ptx::size_of(type)), ptx::size_of(type));
  } else {
    e.emit(move_of(e, ptx::size_of(type)), {e.dst(d, ptx::size_of(type))}, {e.src(s, type)});
  }
}

// Generic addresses are the host's; those of shared memory are offsets in the block's window.
template <bool kToShared>
void cvta_shared(Warp& w, const Inst& in) {
  const uint64_t base = w.shared_begin;
  map_lanes<uint64_t>(
      w, in.op[0], [base](uint64_t a) { return kToShared ? a - base : a + base; }, reg<uint64_t>(w, in.op[1]));
}
void cvta(Encoder& e) {
  const bool to = e.take("to");
  const std::string_view space = e.take_one({"shared::cta", "shared", "global", "local", "const", "param::entry", "param"});
  if (space.empty()) e.unsupported("space");
  if (e.take_type() != Type::kU64) e.unsupported("32-bit addresses");
  const bool shared = space.substr(0, 6) == "shared";
  e.emit(!shared ? &move_handler<uint64_t>
         : to    ? &cvta_shared<true>
                 : &cvta_shared<false>,
         {e.dst(e.operand(0), 8)}, {e.src(e.operand(1), Type::kU64)});
}

void isspacep_handler(Warp& w, const Inst& in) {
  const uint64_t* a = reg<uint64_t>(w, in.op[1]);
  const Memory& m = memory();
  const Region regions[] = {m.global, {w.shared_begin, w.shared_end}, m.local, m.constant};
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(regions[in.imm].holds(a[i], 1)) << i;
  set_predicate(w, in.op[0], mask);
}
void isspacep(Encoder& e) {
  const std::string_view space = e.take_one({"global", "shared::cta", "shared", "local", "const"});
  e.emit(&isspacep_handler, {e.dst(e.operand(0), 0)}, {e.src(e.operand(1), Type::kU64)}).imm = space == "global"  ? 0
                                                                                               : space == "local" ? 2
                                                                                               : space == "const" ? 3
                                                                                                                  : 1;
}

}  // namespace

void emit_symbol(Encoder& e, const ptx::Operand& o, uint32_t destination, int bytes) {
  if (bytes != 4 && bytes != 8) e.unsupported("symbol in a register of this size");
  const bool wide = bytes == 8;
  if (!o.name.empty() && o.name[0] == '%') {
    if (o.name == "%clock_hi") {
      e.emit(&move_handler<uint32_t>, {destination}, {e.constant(0, 4)});
      return;
    }
    const Special which = special(o.name);
    if (which == Special::kNone) e.unsupported("special register " + std::string(o.name));
    e.emit(wide ? &special_handler<uint64_t> : &special_handler<uint32_t>, {destination}, {}).imm =
        static_cast<int64_t>(which);
    return;
  }
  if (o.name == "WARP_SZ") {
    e.emit(move_of(e, bytes), {destination}, {e.constant(kLanes, bytes)});
    return;
  }
  const Encoder::Symbol symbol = e.symbol(o.name);
  const uint64_t value = symbol.value + static_cast<uint64_t>(o.value);
  switch (symbol.kind) {
    case Encoder::Symbol::Kind::kAddress:
    case Encoder::Symbol::Kind::kShared: e.emit(move_of(e, bytes), {destination}, {e.constant(value, bytes)}); return;
    case Encoder::Symbol::Kind::kFunction:
      e.emit(move_of(e, bytes), {destination}, {e.constant(function_address(e.program(), o.name), bytes)});
      return;
    case Encoder::Symbol::Kind::kDynamicShared:
      e.emit(wide ? &dynamic_shared_address<uint64_t> : &dynamic_shared_address<uint32_t>, {destination}, {}).imm =
          static_cast<int64_t>(value);
      return;
    case Encoder::Symbol::Kind::kLocal:
      e.emit(wide ? &local_address<uint64_t> : &local_address<uint32_t>, {destination}, {}).imm =
          static_cast<int64_t>(value);
      return;
    case Encoder::Symbol::Kind::kParam:
      e.emit(wide ? &param_address<uint64_t> : &param_address<uint32_t>, {destination}, {}).imm =
          static_cast<int64_t>(value);
      return;
    default: e.unsupported("unknown name " + std::string(o.name));
  }
}

void add_move_ops(EncoderTable& table) { table.insert({{"mov", mov}, {"cvta", cvta}, {"isspacep", isspacep}}); }

}  // namespace emulator
