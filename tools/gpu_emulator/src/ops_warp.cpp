// Exchanges between the lanes of a warp. PTX ISA 9.7.9.6 (shfl), 9.7.13.9 to 9.7.13.13 (vote, match, activemask, redux).
#include <algorithm>
#include <bit>

#include "decoder.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

// The lanes that take part; 0 where some are still missing, and the instruction will be run again.
uint32_t gather(Warp& w, const Inst& in, uint32_t code) {
  const uint32_t* masks = reg<uint32_t>(w, code);
  const uint32_t mask = masks[std::countr_zero(w.exec)];
  bool same = true;
  for (int i = 0; i < kLanes; ++i) same = same && (!lane_in(w.exec, i) || masks[i] == mask);
  if (!same) {  // subsets run one after the other
    const int lane = std::countr_zero(w.exec);
    uint32_t subset = 0;
    for (int i = 0; i < kLanes; ++i)
      if (lane_in(w.exec, i) && masks[i] == masks[lane]) subset |= 1u << i;
    split_off(w, w.pc - 1, w.exec & ~subset);
    w.exec = subset;
  }
  if ((mask & w.exec) != w.exec) {
    const int lane = std::countr_zero(w.exec & ~mask);
    fault(w, in, lane, kFaultInstruction, "a warp-synchronous instruction whose mask lacks the lane that runs it");
  }
  if ((mask & w.existing & ~w.live) != 0)
    fault(w, in, std::countr_zero(w.exec), kFaultInstruction,
          "a warp-synchronous instruction whose mask names lanes that have exited");
  if ((mask & w.live & ~w.exec) != 0) {
    wait_warp(w, in, mask, true);
    return 0;
  }
  return w.exec;
}

enum class Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };
// op: d, p, a, b, c, membermask.
template <Shuffle kMode>
void shfl_handler(Warp& w, const Inst& in) {
  if (gather(w, in, in.op[5]) == 0) return;
  const uint32_t *a = reg<uint32_t>(w, in.op[2]), *b = reg<uint32_t>(w, in.op[3]), *c = reg<uint32_t>(w, in.op[4]);
  alignas(64) uint32_t out[kLanes];
  uint32_t inside = 0;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t offset = b[lane] & 31, clamp = c[lane] & 31, segment = (c[lane] >> 8) & 31;
    const uint32_t max_lane = (lane & segment) | (clamp & ~segment), min_lane = lane & segment;
    uint32_t from = 0;
    bool ok = false;
    switch (kMode) {
      case Shuffle::kUp:
        from = lane - offset;
        ok = static_cast<int32_t>(from) >= static_cast<int32_t>(max_lane);
        break;
      case Shuffle::kDown:
        from = lane + offset;
        ok = from <= max_lane;
        break;
      case Shuffle::kButterfly:
        from = lane ^ offset;
        ok = from <= max_lane;
        break;
      case Shuffle::kIndex:
        from = min_lane | (offset & ~segment);
        ok = from <= max_lane;
        break;
    }
    if (!ok) from = lane;
    // Up and down reach over the edge of a part of a warp by design: what they get there is dropped.
    if ((kMode == Shuffle::kIndex || kMode == Shuffle::kButterfly) && ok && lane_in(w.exec, lane) &&
        !lane_in(w.exec, from & 31)) [[unlikely]]
      fault(w, in, static_cast<int>(lane), kFaultInstruction,
            "a shuffle reads from lane " + std::to_string(from & 31) + ", which takes no part in it");
    out[lane] = a[from & 31];
    inside |= static_cast<uint32_t>(ok) << lane;
  }
  store_lanes(w, in.op[0], out);
  set_predicate(w, in.op[1], inside);
}
void shfl(Encoder& e) {
  if (!e.take("sync")) e.unsupported("without .sync");
  const std::string_view mode = e.take_one({"up", "down", "bfly", "idx"});
  e.take_type();
  const ptx::Operand& d = e.operand(0);
  const uint32_t p = d.second >= 0 ? static_cast<uint32_t>(d.second) << 2 : e.temporary(0);
  e.emit(mode == "up"     ? &shfl_handler<Shuffle::kUp>
         : mode == "down" ? &shfl_handler<Shuffle::kDown>
         : mode == "bfly" ? &shfl_handler<Shuffle::kButterfly>
                          : &shfl_handler<Shuffle::kIndex>,
         {e.dst(d, 4), p},
         {e.src(e.operand(1), Type::kB32), e.src(e.operand(2), Type::kB32), e.src(e.operand(3), Type::kB32),
          e.src(e.operand(4), Type::kB32)});
}

void fill_word(Warp& w, uint32_t code, uint32_t value) {
  alignas(64) uint32_t out[kLanes];
  for (uint32_t& v : out) v = value;
  store_lanes(w, code, out);
}

enum class Vote : uint8_t { kAll, kAny, kUni, kBallot };
template <Vote kMode>
void vote_handler(Warp& w, const Inst& in) {
  const uint32_t lanes = gather(w, in, in.op[2]);
  if (lanes == 0) return;
  const uint32_t p = predicate(w, in.op[1]) & lanes;
  if (kMode == Vote::kBallot) return fill_word(w, in.op[0], p);
  const bool value = kMode == Vote::kAll ? p == lanes : kMode == Vote::kAny ? p != 0 : p == 0 || p == lanes;
  set_predicate(w, in.op[0], value ? kAllLanes : 0);
}
void vote(Encoder& e) {
  if (!e.take("sync")) e.unsupported("without .sync");
  const std::string_view mode = e.take_one({"all", "any", "uni", "ballot"});
  e.take_type();
  const bool ballot = mode == "ballot";
  e.emit(ballot          ? &vote_handler<Vote::kBallot>
         : mode == "all" ? &vote_handler<Vote::kAll>
         : mode == "any" ? &vote_handler<Vote::kAny>
                         : &vote_handler<Vote::kUni>,
         {e.dst(e.operand(0), ballot ? 4 : 0)}, {e.src_predicate(e.operand(1)), e.src(e.operand(2), Type::kB32)});
}

// match: op d, p, a, mask.
template <class T, bool kAll>
void match_handler(Warp& w, const Inst& in) {
  const uint32_t lanes = gather(w, in, in.op[3]);
  if (lanes == 0) return;
  const T* a = reg<T>(w, in.op[2]);
  alignas(64) uint32_t out[kLanes] = {};
  for (int i = 0; i < kLanes; ++i)
    for (int k = 0; k < kLanes; ++k) out[i] |= lane_in(lanes, k) && a[k] == a[i] ? 1u << k : 0;
  const bool all = out[std::countr_zero(lanes)] == lanes;
  if (kAll)
    for (uint32_t& v : out) v = all ? lanes : 0;
  store_lanes(w, in.op[0], out);
  set_predicate(w, in.op[1], all ? kAllLanes : 0);
}
void match(Encoder& e) {
  const bool all = e.take_one({"all", "any"}) == "all";
  e.take("sync");
  const Type type = e.take_type();
  const ptx::Operand& d = e.operand(0);
  const uint32_t p = d.second >= 0 ? static_cast<uint32_t>(d.second) << 2 : e.temporary(0);
  const bool wide = type == Type::kB64;
  e.emit(wide ? (all ? &match_handler<uint64_t, true> : &match_handler<uint64_t, false>)
              : (all ? &match_handler<uint32_t, true> : &match_handler<uint32_t, false>),
         {e.dst(d, 4), p}, {e.src(e.operand(1), type), e.src(e.operand(2), Type::kB32)});
}

void activemask_handler(Warp& w, const Inst& in) { fill_word(w, in.op[0], w.exec); }
void activemask(Encoder& e) {
  e.take_type();
  e.emit(&activemask_handler, {e.dst(e.operand(0), 4)}, {});
}

enum class Redux : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor };
template <class T, Redux kOp>
void redux_handler(Warp& w, const Inst& in) {
  const uint32_t lanes = gather(w, in, in.op[2]);
  if (lanes == 0) return;
  const T* a = reg<T>(w, in.op[1]);
  T r = a[std::countr_zero(lanes)];
  for (uint32_t left = lanes & (lanes - 1); left != 0; left &= left - 1) {
    const T v = a[std::countr_zero(left)];
    switch (kOp) {
      case Redux::kAdd: r = static_cast<T>(static_cast<uint32_t>(r) + static_cast<uint32_t>(v)); break;
      case Redux::kMin: r = std::min(r, v); break;
      case Redux::kMax: r = std::max(r, v); break;
      case Redux::kAnd: r &= v; break;
      case Redux::kOr: r |= v; break;
      case Redux::kXor: r ^= v; break;
    }
  }
  fill_word(w, in.op[0], static_cast<uint32_t>(r));
}
void redux(Encoder& e) {
  e.take("sync");
  const std::string_view op = e.take_one({"add", "min", "max", "and", "or", "xor"});
  const bool sign = e.take_type() == Type::kS32;
  Handler h = op == "add"   ? &redux_handler<uint32_t, Redux::kAdd>
              : op == "and" ? &redux_handler<uint32_t, Redux::kAnd>
              : op == "or"  ? &redux_handler<uint32_t, Redux::kOr>
              : op == "xor" ? &redux_handler<uint32_t, Redux::kXor>
              : op == "min" ? (sign ? &redux_handler<int32_t, Redux::kMin> : &redux_handler<uint32_t, Redux::kMin>)
              : op == "max" ? (sign ? &redux_handler<int32_t, Redux::kMax> : &redux_handler<uint32_t, Redux::kMax>)
                            : nullptr;
  if (h == nullptr) e.unsupported("operation");
  e.emit(h, {e.dst(e.operand(0), 4)}, {e.src(e.operand(1), Type::kB32), e.src(e.operand(2), Type::kB32)});
}

}  // namespace

void add_warp_ops(EncoderTable& table) {
  table.insert({{"shfl", shfl}, {"vote", vote}, {"match", match}, {"activemask", activemask}, {"redux", redux}});
}

}  // namespace emulator
