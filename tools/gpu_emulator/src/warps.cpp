// How a warp runs: groups of lanes, which one goes next, divergence, meetings, barriers, calls.
#include "warps.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "counters.h"
#include "latency.h"
#include "memory.h"
#include "registers.h"

namespace emulator {
namespace {

constexpr int kBudget = 256;                // backward branches of a warp before another has its turn
constexpr uint32_t kYieldsPerRotation = 8;  // of a diverged warp, before another of its groups has its turn

void set_frame(Warp& w, Frame* frame) {
  w.frame = frame;
  w.bank[0] = frame->registers;
  w.bank[1] = frame->code->constants;
  w.code = frame->code->insts.data();
}

// Groups at the same place become one.
void merge(std::vector<Group>& groups) {
  for (size_t i = 0; i < groups.size(); ++i)
    for (size_t k = groups.size() - 1; k > i; --k) {
      Group &a = groups[i], &b = groups[k];
      if (a.pc != b.pc || a.frame != b.frame || a.state != b.state || a.same_pc != b.same_pc || a.sync_mask != b.sync_mask ||
          a.barrier != b.barrier)
        continue;
      a.lanes |= b.lanes;
      a.last_run = std::min(a.last_run, b.last_run);
      groups.erase(groups.begin() + static_cast<ptrdiff_t>(k));
    }
}

void make_ready(Group& g) {
  g.state = Group::State::kReady;
  g.sync_mask = 0;
  g.same_pc = false;
  g.barrier = 0;
}

// Lets groups go on whose warp-wide meeting is complete.
void resolve_meetings(Warp& w) {
  for (Group& g : w.pending) {
    if (g.state != Group::State::kWarpSync) continue;
    uint32_t there = g.lanes;
    if (!g.same_pc)
      for (const Group& other : w.pending)
        if (other.state == Group::State::kWarpSync && !other.same_pc && other.sync_mask == g.sync_mask) there |= other.lanes;
    if ((g.sync_mask & w.live & ~there) != 0) continue;
    if (g.same_pc) {
      make_ready(g);  // runs the instruction again, with all of them
      continue;
    }
    const uint32_t mask = g.sync_mask;
    for (Group& other : w.pending)
      if (other.state == Group::State::kWarpSync && !other.same_pc && other.sync_mask == mask) {
        make_ready(other);
        ++other.pc;
        ++w.warp_syncs;
      }
  }
}

// Chooses the group to run: called functions first, then the lowest pc, so that branches meet again; or, when a diverged
// warp has spun for long, the one that has waited longest. False where the warp cannot go on now.
bool schedule(Warp& w) {
  if (w.active != 0) {
    Group g;
    g.pc = w.pc;
    g.lanes = w.active;
    g.frame = w.frame;
    g.last_run = ++w.clock;
    w.pending.push_back(g);
    w.active = 0;
  }
  if (w.pending.size() > 1) merge(w.pending);
  resolve_meetings(w);
  if (w.pending.size() > 1) merge(w.pending);
  if (w.yield) {
    w.yield = false;
    ++w.yields;
    return false;
  }
  const bool rotate = w.yields >= kYieldsPerRotation && w.pending.size() > 1;
  Group* best = nullptr;
  for (Group& g : w.pending) {
    if (g.state != Group::State::kReady) continue;
    if (best == nullptr)
      best = &g;
    else if (rotate)
      best = g.last_run < best->last_run ? &g : best;
    else if (g.frame->depth != best->frame->depth)
      best = g.frame->depth > best->frame->depth ? &g : best;
    else if (g.pc < best->pc)
      best = &g;
  }
  if (best == nullptr) return false;
  if (rotate) w.yields = 0;
  const Group chosen = *best;
  w.pending.erase(w.pending.begin() + (best - w.pending.data()));
  w.limit = kNoLimit;
  if (!rotate)
    for (const Group& g : w.pending)
      if (g.state == Group::State::kReady && g.frame == chosen.frame && g.pc > chosen.pc) w.limit = std::min(w.limit, g.pc);
  if (w.frame != chosen.frame) set_frame(w, chosen.frame);
  w.pc = chosen.pc;
  w.active = chosen.lanes;
  w.budget = kBudget;
  return true;
}

// The counters' part of an instruction, before and after its handler.
void run_counted(Warp& w, const Inst& in, const InstructionCost& cost) {
  Tally& tally = *w.block->tally;
  const uint32_t exec = w.exec;
  if (looks_again(w, in, cost)) return in.handler(w, in);
  if (cost.leads) end_basic_block(w);
  if (cost.access != InstructionCost::Access::kNone)
    count_access(tally, w, in, cost);
  else
    issue(w, cost, cost.latency);
  count_fetch(tally, *w.frame->code, static_cast<size_t>(&in - w.code));
  in.handler(w, in);
  if (!cost.counted) return;
  // Lanes that wait for others of their warp come back to the instruction, and count then.
  if (cost.kind == kWarploomWarp && (w.active & exec) == 0) return;
  ++tally.counts.warp_instructions[cost.kind];
  tally.counts.lane_instructions[cost.kind] += static_cast<uint64_t>(std::popcount(exec));
  tally.counts.barriers += cost.block_barrier ? 1 : 0;
}

// Returns the instructions issued.
template <bool kCounted>
uint64_t run(Warp& w) {
  uint64_t issued = 0, lanes = 0;
  while (schedule(w)) {
    while (w.pc < w.limit) {
      const Inst& in = w.code[w.pc++];
      w.exec = w.active & predicate(w, in.guard);
      ++issued;
      if (w.exec == 0) continue;
      lanes += static_cast<uint64_t>(std::popcount(w.exec));
      if constexpr (kCounted)
        run_counted(w, in, w.frame->code->costs[static_cast<size_t>(&in - w.code)]);
      else
        in.handler(w, in);
    }
  }
  w.issued += issued;
  w.lanes_issued += lanes;
  return issued;
}

void open(Block& block, uint32_t id) {
  const Barrier barrier = block.barriers[id];
  const uint64_t time = block.tally != nullptr ? opening(block, barrier) : 0;
  block.barriers[id] = {};
  for (Warp& w : block.warps)
    for (Group& g : w.pending) {
      if (g.state != Group::State::kBarrier || g.barrier != id) continue;
      uint8_t* saved = w.bank[0];
      w.bank[0] = g.frame->registers;
      finish_barrier(w, g.frame->code->insts[g.pc - 1], g.lanes, barrier);
      w.bank[0] = saved;
      make_ready(g);
      if (block.tally != nullptr) go_on_at(w, time);
    }
  ++block.opened;
  ++block.generation;
}

}  // namespace

bool can_run(const Warp& w) {
  return std::any_of(w.pending.begin(), w.pending.end(), [](const Group& g) { return g.state == Group::State::kReady; });
}

void free_frame(Warp& w, Frame* frame) {
  std::free(frame->registers);
  std::erase_if(w.frames, [&](const auto& f) { return f.get() == frame; });
}

uint64_t run_warp(Warp& w) { return w.block->tally != nullptr ? run<true>(w) : run<false>(w); }

void diverge(Warp& w, uint32_t target, uint32_t taken) {
  Group other;
  other.frame = w.frame;
  other.last_run = ++w.clock;
  branch_budget(w, target);
  const uint32_t rest = w.active & ~taken;
  if (target < w.pc) {  // the lower pc goes on
    other.pc = w.pc;
    other.lanes = rest;
    w.pc = target;
    w.active = taken;
  } else {
    other.pc = target;
    other.lanes = taken;
    w.active = rest;
  }
  w.limit = std::min(w.limit, other.pc);
  w.pending.push_back(other);
}

void split_off(Warp& w, uint32_t pc, uint32_t lanes) {
  Group g;
  g.pc = pc;
  g.lanes = lanes;
  g.frame = w.frame;
  g.last_run = ++w.clock;
  w.pending.push_back(g);
  w.active &= ~lanes;
  w.exec &= ~lanes;
  w.limit = 0;
}

void leave(Warp& w, const Inst&, uint32_t lanes) {
  w.live &= ~lanes;
  w.active &= ~lanes;
  w.limit = 0;
  Block& block = *w.block;
  block.live_threads -= static_cast<uint32_t>(std::popcount(lanes));
  for (uint32_t id = 0; id < 16; ++id) {
    const Barrier& b = block.barriers[id];
    if (b.waiting > 0 && b.expected == 0 && b.arrived >= block.live_threads) open(block, id);
  }
}

void wait_warp(Warp& w, const Inst&, uint32_t mask, bool same_pc) {
  Group g;
  g.pc = w.pc - 1;
  g.lanes = w.exec;
  g.frame = w.frame;
  g.state = Group::State::kWarpSync;
  g.same_pc = same_pc;
  g.sync_mask = mask;
  w.pending.push_back(g);
  w.active &= ~w.exec;
  w.limit = 0;
}

void arrive(Warp& w, const Inst& in, uint32_t id, uint32_t count, bool only_arrive, bool votes, uint32_t predicate) {
  Block& block = *w.block;
  Barrier& b = block.barriers[id];
  if (b.arrived > 0 && b.expected != count)
    fault(w, in, std::countr_zero(w.exec), kFaultInstruction,
          "barrier " + std::to_string(id) + " with differing thread counts");
  b.expected = count;
  b.arrived += static_cast<uint32_t>(std::popcount(w.exec));
  // A count is in whole warps: the first lanes bring those which the warp lacks.
  if (count != 0 && (w.exec & w.live & (0 - w.live)) != 0)
    b.arrived += static_cast<uint32_t>(kLanes - std::popcount(w.live));
  if (block.tally != nullptr) arrive_at(w, b);
  if (votes) {
    b.count += static_cast<uint32_t>(std::popcount(predicate));
    b.threads += static_cast<uint32_t>(std::popcount(w.exec));
  }
  if (!only_arrive) {
    ++b.waiting;
    Group g;
    g.pc = w.pc;
    g.lanes = w.exec;
    g.frame = w.frame;
    g.state = Group::State::kBarrier;
    g.barrier = id;
    w.pending.push_back(g);
    w.active &= ~w.exec;
    w.limit = 0;
  }
  if (b.arrived >= (count == 0 ? block.live_threads : count)) open(block, id);
}

void enter(Warp& w, const Inst& in, const CallSite& site) { enter_code(w, in, site, *site.callee); }

void mark_locals(const Warp& w, uint32_t lanes, uint32_t offset, uint32_t bytes, Shadow state) {
  for (uint32_t i = 0; i < kLanes && bytes > 0; ++i)
    if (lane_in(lanes, static_cast<int>(i)))
      memory().mark(w.local_begin + offset + i * uint64_t{w.local_stride}, bytes, state);
}

void enter_code(Warp& w, const Inst& in, const CallSite& site, const Code& callee) {
  const uint32_t lanes = w.exec;
  if (const uint32_t rest = w.active & ~lanes; rest != 0) {
    split_off(w, w.pc, rest);
    w.exec = lanes;
  }
  Frame* caller = w.frame;
  w.frames.push_back(std::make_unique<Frame>());
  Frame& f = *w.frames.back();
  f.code = &callee;
  f.registers = static_cast<uint8_t*>(std::aligned_alloc(64, callee.frame_bytes + 64));
  f.parent = caller;
  f.site = &site;
  f.return_pc = w.pc;
  f.depth = caller->depth + 1;
  f.lanes = lanes;
  f.local_offset = caller->local_offset + caller->code->local_bytes;
  if (w.block->tally != nullptr) f.ready.assign(callee.place_count, 0);
  if (f.local_offset + callee.local_bytes > w.local_stride || f.depth > 1000)
    fault(w, in, std::countr_zero(lanes), kFaultLaunch, "stack overflow in a called function");
  mark_locals(w, lanes, f.local_offset, callee.local_bytes, kUninitialised);
  for (size_t k = 0; k < site.argument_offsets.size() && k < callee.param_offsets.size(); ++k)
    for (uint32_t i = 0; i < kLanes; ++i)
      if (lane_in(lanes, static_cast<int>(i)))
        std::memcpy(f.registers + callee.param_offsets[k] + i * site.argument_bytes[k],
                    caller->registers + site.argument_offsets[k] + i * site.argument_bytes[k], site.argument_bytes[k]);
  set_frame(w, &f);
  w.pc = 0;
  w.limit = kNoLimit;
}

void return_from(Warp& w, const Inst&) {
  Frame* f = w.frame;
  Frame* caller = f->parent;
  const CallSite& site = *f->site;
  for (size_t k = 0; k < site.result_offsets.size() && k < f->code->result_offsets.size(); ++k)
    for (uint32_t i = 0; i < kLanes; ++i)
      if (lane_in(w.exec, static_cast<int>(i)))
        std::memcpy(caller->registers + site.result_offsets[k] + i * site.result_bytes[k],
                    f->registers + f->code->result_offsets[k] + i * site.result_bytes[k], site.result_bytes[k]);
  mark_locals(w, w.exec, f->local_offset, f->code->local_bytes, kUnallocated);
  Group g;
  g.pc = f->return_pc;
  g.lanes = w.exec;
  g.frame = caller;
  g.last_run = ++w.clock;
  w.pending.push_back(g);
  f->lanes &= ~w.exec;
  w.active &= ~w.exec;
  w.limit = 0;
  if (w.active == 0) {
    w.frame = nullptr;  // the schedule sets the caller's
    if (f->lanes == 0) free_frame(w, f);
  }
}

}  // namespace emulator
