#include "latency.h"

#include <algorithm>
#include <bit>

#include "access.h"

namespace emulator {
namespace {

constexpr uint64_t kIssueSlots = 4;    // warp instructions a clock and multiprocessor
constexpr uint64_t kLoopOfLooks = 64;  // instructions of a loop that waits, fewer

void set_begin(WarpClock& t, uint64_t begin) {
  t.passed += t.issued;
  t.issued = 0;
  t.begin = t.last = begin;
}

// Whether the warp is in a loop that looks again; it leaves the loop where it goes on elsewhere, or stores, or meets others.
bool polls_still(Warp& w, const Inst& in, const InstructionCost& cost) {
  WarpClock& t = w.time;
  const auto at = static_cast<uint32_t>(&in - w.code);
  const bool inside = w.frame == t.look_frame ? at >= t.poll_begin && at < t.poll_end : w.frame->depth > t.look_depth;
  if (inside && !cost.is_store && !cost.block_barrier) return true;
  t.polls = false;
  t.look = nullptr;
  return false;
}

}  // namespace

void start_clock(Warp& w) {
  w.time = {};
  w.frames.front()->ready.assign(w.frames.front()->code->place_count, 0);
}

void end_basic_block(Warp& w) {
  WarpClock& t = w.time;
  if (t.issued > 0) set_begin(t, std::max(t.last + 1, t.begin + t.issued));
}

void issue(Warp& w, const InstructionCost& cost, uint32_t latency) {
  WarpClock& t = w.time;
  std::vector<uint64_t>& ready = w.frame->ready;
  const uint16_t* place = w.frame->code->places.data() + cost.places;
  uint64_t time = t.begin;
  for (uint32_t k = 0; k < cost.reads; ++k) time = std::max(time, ready[place[k]]);
  if (cost.stores != 0) {
    uint64_t& stored = t.stored[cost.stores - 1];
    time = std::max(time, stored);
    if (cost.is_store) stored = time;
  }
  const uint64_t done = time + latency;
  for (uint32_t k = cost.reads; k < uint32_t{cost.reads} + cost.writes; ++k) ready[place[k]] = done;
  t.last = std::max(t.last, time);
  if (cost.is_store) t.look = nullptr;
  if (cost.counted) {
    ++t.issued;
    ++w.block->phase_issued;
  }
  if (cost.access == InstructionCost::Access::kCopy) t.copied = std::max(t.copied, done);
  switch (cost.sync) {
    case InstructionCost::Sync::kCommit:
      t.groups.push_back(t.copied);
      t.copied = 0;
      break;
    case InstructionCost::Sync::kWait:
    case InstructionCost::Sync::kWaitAll: {
      const bool all = cost.sync == InstructionCost::Sync::kWaitAll;
      const size_t left = all ? 0 : std::min<size_t>(cost.groups, t.groups.size());
      uint64_t there = all ? t.copied : 0;
      for (size_t k = 0; k + left < t.groups.size(); ++k) there = std::max(there, t.groups[k]);
      t.groups.erase(t.groups.begin(), t.groups.end() - static_cast<ptrdiff_t>(left));
      t.last = std::max(t.last, there);
      break;
    }
    case InstructionCost::Sync::kFence: t.last = std::max(t.last, done); break;
    default: break;
  }
}

bool looks_again(Warp& w, const Inst& in, const InstructionCost& cost) {
  WarpClock& t = w.time;
  if (t.polls) return polls_still(w, in, cost);
  if (cost.sync != InstructionCost::Sync::kLook) return false;
  alignas(64) uint64_t address[kLanes];
  lane_addresses(w, in, in.op[cost.address], address);
  const uint64_t first = address[std::countr_zero(w.exec)], passed = t.passed + t.issued;
  const auto at = static_cast<uint32_t>(&in - w.code);
  t.polls = t.look == &in && t.look_frame == w.frame && t.look_address == first && passed - t.look_passed < kLoopOfLooks &&
            at >= w.loop_begin && at < w.loop_end;
  t.look = &in;
  t.look_frame = w.frame;
  t.look_depth = w.frame->depth;
  t.look_address = first;
  t.look_passed = passed;
  t.poll_begin = w.loop_begin;
  t.poll_end = w.loop_end;
  return t.polls;
}

void arrive_at_phase(Block& block, uint64_t address, uint64_t phase, bool completes, uint64_t time) {
  PhaseTimes& p = block.phases[address];
  p.arrival = std::max(p.arrival, time);
  if (!completes) return;
  p.ends[phase & 1] = p.arrival;
  p.arrival = 0;
}

void wait_for_phase(Warp& w, uint64_t address, uint64_t phase) {
  if (const auto found = w.block->phases.find(address); found != w.block->phases.end())
    go_on_at(w, found->second.ends[phase & 1]);
}

uint64_t copies_end(const WarpClock& t) {
  return t.groups.empty() ? t.copied : std::max(t.copied, *std::max_element(t.groups.begin(), t.groups.end()));
}

void arrive_at(Warp& w, Barrier& b) {
  end_basic_block(w);
  w.time.look = nullptr;
  b.first_arrival = b.warps == 0 ? w.time.begin : std::min(b.first_arrival, w.time.begin);
  b.last_arrival = std::max(b.last_arrival, w.time.begin);
  ++b.warps;
}

uint64_t opening(Block& block, const Barrier& b) {
  uint64_t time =
      std::max(b.last_arrival, b.first_arrival + static_cast<uint64_t>(kBarrierWarpClocks * static_cast<double>(b.warps)));
  const bool all = b.expected == 0 || b.expected >= block.live_threads;
  if (all) time = std::max(time, block.phase_begin + block.phase_issued / kIssueSlots);
  time += kBarrierClocks;
  if (all) block.phase_begin = time, block.phase_issued = 0;
  return time;
}

void go_on_at(Warp& w, uint64_t time) {
  end_basic_block(w);
  w.time.begin = w.time.last = std::max(w.time.begin, time);
}

uint64_t end_block(Block& block) {
  uint64_t clocks = block.phase_begin + block.phase_issued / kIssueSlots;
  for (Warp& w : block.warps) {
    end_basic_block(w);
    clocks = std::max(clocks, w.time.begin);
  }
  block.phase_begin = block.phase_issued = 0;
  block.phases.clear();
  return clocks;
}

}  // namespace emulator
