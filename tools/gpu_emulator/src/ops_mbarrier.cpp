// mbarrier objects in shared memory. PTX ISA 9.7.13.15. Of the 64 bits that PTX leaves open: arrivals still expected in this
// phase, arrivals of a whole phase, number of the phase.
#include "access.h"
#include "decoder.h"
#include "latency.h"
#include "races.h"

namespace emulator {
namespace {

using ptx::Space;
using ptx::Type;

struct State {
  uint64_t pending : 20, expected : 20, phase : 24;
};
static_assert(sizeof(State) == 8);
constexpr uint64_t kMost = (1 << 20) - 1;  // arrivals, by the PTX ISA

State& at(Warp& w, const Inst& in, int lane, uint64_t address, AccessKind kind) {
  const Region shared = region_of(w, Space::kShared);
  if (kind == AccessKind::kWrite)
    check_write(w, in, shared, lane, address, 8, 8);
  else
    check_read(w, in, shared, lane, address, 8, 8, 8);
  return *reinterpret_cast<State*>(address);
}

void init(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[0], address);
  const uint32_t* count = reg<uint32_t>(w, in.op[1]);
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (count[i] == 0 || count[i] > kMost) fault(w, in, i, kFaultInstruction, "mbarrier.init with a count out of range");
    at(w, in, i, address[i], AccessKind::kWrite) = {count[i] & kMost, count[i] & kMost, 0};
    w.block->phases.erase(address[i]);
  }
}
void invalidate(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[0], address);
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    at(w, in, i, address[i], AccessKind::kRead);
    memory().mark(address[i], 8, kUninitialised);
  }
}

// What orders other threads' accesses, as far as the race detector knows.
void ordered(Warp& w) { ++w.block->generation; }

constexpr uint32_t kDrop = 1, kNoComplete = 2;
// `time`: on the warp's clock.
void arrive_once(Warp& w, const Inst& in, int lane, State& s, uint64_t count, uint32_t flags, uint64_t time) {
  if (count > s.pending) fault(w, in, lane, kFaultLaunch, "mbarrier: more arrivals than the phase expects");
  s.pending -= count & kMost;
  if ((flags & kDrop) != 0) s.expected -= count & kMost;
  if (w.block->tally != nullptr) arrive_at_phase(*w.block, reinterpret_cast<uint64_t>(&s), s.phase, s.pending == 0, time);
  if (s.pending > 0) return;
  if ((flags & kNoComplete) != 0) fault(w, in, lane, kFaultLaunch, "mbarrier: a .noComplete arrival completes the phase");
  s.pending = s.expected;
  ++s.phase;
}
// op: state, address, count; the flags are in a constant that `extra` points at.
void arrive_on(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes], states[kLanes] = {};
  lane_addresses(w, in, in.op[1], address);
  const uint32_t* count = reg<uint32_t>(w, in.op[2]);
  const uint32_t flags = static_cast<uint32_t>(*static_cast<const int64_t*>(in.extra));
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    State& s = at(w, in, i, address[i], AccessKind::kRead);
    std::memcpy(&states[i], &s, 8);
    arrive_once(w, in, i, s, count[i], flags, w.time.last + kSharedClocks);
  }
  ordered(w);
  store_lanes(w, in.op[0], states);
}
// cp.async.mbarrier.arrive: the thread's copies so far are made, then it arrives. Without .noinc the phase expects one more.
void arrive_after_copies(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[0], address);
  const bool counted = *static_cast<const int64_t*>(in.extra) != 0;
  const uint64_t time = std::max(w.time.last, copies_end(w.time)) + kSharedClocks;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    finish_async_copies(w, in, i);
    State& s = at(w, in, i, address[i], AccessKind::kRead);
    if (!counted) s.pending = (s.pending + 1) & kMost;
    arrive_once(w, in, i, s, 1, 0, time);
  }
  ordered(w);
}

// op: predicate, address, state or parity.
template <bool kParity>
void test(Warp& w, const Inst& in) {
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[1], address);
  uint32_t done = 0;
  for (uint32_t left = w.exec; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    const State now = at(w, in, i, address[i], AccessKind::kRead);
    bool complete;
    uint64_t phase;
    if constexpr (kParity) {
      phase = reg<uint32_t>(w, in.op[2])[i] & 1;
      complete = (now.phase & 1) != phase;
    } else {
      State then;
      std::memcpy(&then, &reg<uint64_t>(w, in.op[2])[i], 8);
      phase = then.phase;
      complete = now.phase != then.phase;
    }
    if (complete && w.block->tally != nullptr) wait_for_phase(w, address[i], phase);
    done |= static_cast<uint32_t>(complete) << i;
  }
  if (done != 0) ordered(w);
  set_predicate(w, in.op[0], done);
}

void pending_count(Warp& w, const Inst& in) {
  map_lanes<uint32_t>(
      w, in.op[0], [](uint64_t state) { return static_cast<uint32_t>(state & kMost); }, reg<uint64_t>(w, in.op[1]));
}

void mbarrier(Encoder& e) {
  const std::string_view what =
      e.take_one({"init", "inval", "arrive", "arrive_drop", "test_wait", "try_wait", "pending_count"});
  if (what == "pending_count") {
    e.take_type();
    e.emit(&pending_count, {e.dst(e.operand(0), 4)}, {e.src(e.operand(1), Type::kB64)});
    return;
  }
  take_memory_modifiers(e);
  const bool parity = e.take("parity"), incomplete = e.take("noComplete");
  const Space space = take_space(e);
  e.take_type();
  const bool waits = what == "test_wait" || what == "try_wait", arrives = what.starts_with("arrive");
  const size_t first = waits || arrives ? 1 : 0;
  std::vector<uint32_t> sources, destinations;
  int64_t offset = 0;
  const uint32_t mode = encode_address(e, e.operand(first), space, sources, offset);
  if (what == "init") sources.push_back(e.src(e.operand(1), Type::kU32));
  if (arrives) {
    destinations.push_back(e.dst(e.operand(0), 8));
    sources.push_back(e.operands() > 2 ? e.src(e.operand(2), Type::kU32) : e.constant(1, 4));
  }
  if (waits) {
    destinations.push_back(e.dst(e.operand(0), 0));
    sources.push_back(e.src(e.operand(2), parity ? Type::kU32 : Type::kB64));
  }
  const Handler handler = what == "init"    ? &init
                          : what == "inval" ? &invalidate
                          : arrives         ? &arrive_on
                          : parity          ? &test<true>
                                            : &test<false>;
  Inst& in = e.emit(handler, destinations, sources);
  in.target = mode;
  in.imm = offset;
  if (arrives) in.extra = e.keep((what == "arrive_drop" ? kDrop : 0u) | (incomplete ? kNoComplete : 0u));
}

}  // namespace

void encode_copy_arrival(Encoder& e) {
  e.take("arrive");
  const bool counted = e.take("noinc");
  const Space space = take_space(e);
  e.take_type();
  std::vector<uint32_t> sources;
  int64_t offset = 0;
  const uint32_t mode = encode_address(e, e.operand(0), space, sources, offset);
  Inst& in = e.emit(&arrive_after_copies, {}, sources);
  in.target = mode;
  in.imm = offset;
  in.extra = e.keep(counted ? 1 : 0);
}

void add_mbarrier_ops(EncoderTable& table) { table.insert({{"mbarrier", mbarrier}}); }

}  // namespace emulator
