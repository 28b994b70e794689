#include "executor.h"

#include <cxxabi.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

#include "builtins.h"
#include "counters.h"
#include "decoder.h"
#include "memory.h"
#include "races.h"
#include "registers.h"

namespace emulator {
namespace {

constexpr int kBudget = 256;                // backward branches of a warp before another has its turn
constexpr uint32_t kYieldsPerRotation = 8;  // of a diverged warp, before another of its groups has its turn
constexpr int kIdleRounds = 4;              // in which all warps of a block only spun, before another block has its turn
constexpr uint32_t kCallStack = 16384;      // bytes of local memory for the frames of called functions
constexpr uint64_t kWatchdog = 4ull << 30;  // warp instructions of a launch in which no block ends: some minutes
constexpr size_t kMaxResident = 4096;       // blocks a host thread keeps when they wait for each other

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
  if (cost.access != InstructionCost::Access::kNone) count_access(tally, w, in, cost);
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
uint64_t run_warp(Warp& w) {
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

bool can_run(const Warp& w) {
  return std::any_of(w.pending.begin(), w.pending.end(), [](const Group& g) { return g.state == Group::State::kReady; });
}

void open(Block& block, uint32_t id) {
  const Barrier barrier = block.barriers[id];
  block.barriers[id] = {};
  for (Warp& w : block.warps)
    for (Group& g : w.pending) {
      if (g.state != Group::State::kBarrier || g.barrier != id) continue;
      uint8_t* saved = w.bank[0];
      w.bank[0] = g.frame->registers;
      finish_barrier(w, g.frame->code->insts[g.pc - 1], g.lanes, barrier);
      w.bank[0] = saved;
      make_ready(g);
    }
  ++block.opened;
  ++block.generation;
}

void free_frame(Warp& w, Frame* frame) {
  std::free(frame->registers);
  std::erase_if(w.frames, [&](const auto& f) { return f.get() == frame; });
}

// ---- Blocks -----------------------------------------------------------------------------------------------------------

void prepare(Block& block, Launch& launch, uint64_t linear) {
  const uint32_t threads = launch.block[0] * launch.block[1] * launch.block[2], warps = (threads + kLanes - 1) / kLanes;
  const Code& code = *launch.code;
  const uint32_t shared_bytes = code.static_shared + launch.dynamic_shared;
  if (block.launch == nullptr) {
    block.launch = &launch;
    block.warps.resize(warps);
    block.storage.resize(size_t{warps} * code.frame_bytes + 64);
    const uint32_t stack = code.local_bytes + (code.has_calls ? kCallStack : 0);
    block.shared = memory().shareds->allocate(shared_bytes, 1024, kUninitialised);
    block.cells = new RaceCell[shared_bytes / 4 + 1];
    if (stack > 0) block.locals = memory().locals->allocate(uint64_t{warps} * kLanes * stack, 256, kUninitialised);
    for (uint32_t n = 0; n < warps; ++n) {
      Warp& w = block.warps[n];
      w.block = &block;
      w.index = n;
      w.shared_begin = block.shared;
      w.shared_end = block.shared + shared_bytes;
      w.local_begin = block.locals + uint64_t{n} * kLanes * stack;
      w.local_stride = stack;
      for (uint32_t i = 0; i < kLanes; ++i) {
        const uint32_t t = n * kLanes + i;
        w.tid[0][i] = t % launch.block[0];
        w.tid[1][i] = t / launch.block[0] % launch.block[1];
        w.tid[2][i] = t / launch.block[0] / launch.block[1];
        if (t < threads) w.existing |= 1u << i;
      }
    }
  } else {
    memory().mark(block.shared, shared_bytes, kUninitialised);
    if (block.locals != 0)
      memory().mark(block.locals, uint64_t{warps} * kLanes * block.warps[0].local_stride, kUninitialised);
  }
  ++block.generation;
  block.synchronised = false;
  block.linear = linear;
  block.id[0] = static_cast<uint32_t>(linear % launch.grid[0]);
  block.id[1] = static_cast<uint32_t>(linear / launch.grid[0] % launch.grid[1]);
  block.id[2] = static_cast<uint32_t>(linear / launch.grid[0] / launch.grid[1]);
  block.live_threads = threads;
  for (Barrier& b : block.barriers) b = {};
  uint8_t* registers = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(block.storage.data()) + 63) / 64 * 64);
  for (Warp& w : block.warps) {
    w.frames.clear();
    w.frames.push_back(std::make_unique<Frame>());
    Frame& root = *w.frames.back();
    root.code = &code;
    root.registers = registers + size_t{w.index} * code.frame_bytes;
    root.lanes = w.existing;
    w.live = w.existing;
    w.active = 0;
    w.yield = false;
    w.yields = 0;
    w.frame = nullptr;
    w.pending.clear();
    w.async.clear();
    Group start;
    start.lanes = w.existing;
    start.frame = &root;
    w.pending.push_back(start);
  }
}

void release(Block& block) {
  memory().shareds->release(block.shared);
  if (block.locals != 0) memory().locals->release(block.locals);
  delete[] block.cells;
}

std::string where(const Warp& w, uint32_t pc) {
  const Code& code = *w.frame->code;
  const auto& ast = code.ast->code[code.insts[pc].ast];
  std::string text = "PTX line " + std::to_string(ast.line) + " (" + std::string(ast.opcode) + ")";
  const auto& files = code.program->module->files;
  ptx::Location at = ast.source;
  for (int depth = 0; depth < 16 && at.line > 0; ++depth) {
    const auto file = files.find(at.file);
    if (file == files.end()) break;
    text += (depth == 0 ? ", " : ", inlined at ") + file->second + ":" + std::to_string(at.line);
    const auto outer = code.ast->inlined_at.find(at);
    if (outer == code.ast->inlined_at.end()) break;
    at = outer->second;
  }
  return text;
}

// Where the threads of a block that can't end are.
[[noreturn]] void stuck(Block& block, int error, const std::string& what) {
  std::string text = what;
  for (Warp& w : block.warps)
    for (const Group& g : w.pending) {
      const bool barrier = g.state == Group::State::kBarrier;
      w.frame = g.frame;
      text += "\n  warp " + std::to_string(w.index) + ", " + std::to_string(std::popcount(g.lanes)) + " lanes at " +
              (g.state == Group::State::kReady ? "work"
               : barrier                       ? "barrier " + std::to_string(g.barrier)
                                               : "a warp-wide instruction for lanes that don't come") +
              ", " + where(w, barrier ? g.pc - 1 : g.pc);
    }
  throw DeviceFault(error, text + "\n  block (" + std::to_string(block.id[0]) + "," + std::to_string(block.id[1]) + "," +
                               std::to_string(block.id[2]) + ") of kernel " + demangle(block.launch->name));
}

std::atomic<uint64_t>& watchdog_limit() {
  static std::atomic<uint64_t> limit = [] {
    const char* text = std::getenv("WARPLOOM_EMULATOR_WATCHDOG");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : kWatchdog;
  }();
  return limit;
}

// True when the block has ended; false when its threads only wait for other blocks.
bool run_block(Block& block) {
  int idle = 0;
  while (true) {
    bool any = false, alive = false;
    const uint64_t opened = block.opened;
    const uint32_t threads = block.live_threads;
    uint64_t issued = 0;
    for (Warp& w : block.warps) {
      if (w.live == 0) continue;
      alive = true;
      if (!can_run(w)) continue;
      any = true;
      issued += block.tally != nullptr ? run_warp<true>(w) : run_warp<false>(w);
    }
    if (!alive) return true;
    if (!any) stuck(block, kFaultLaunch, "deadlock: no thread can go on; waiting:");
    if (block.launch->issued_since_end.fetch_add(issued, std::memory_order_relaxed) > watchdog_limit()) [[unlikely]]
      stuck(block, kFaultTimeout,
            "watchdog: no block has ended for " + std::to_string(watchdog_limit()) + " warp instructions:");
    idle = block.opened != opened || block.live_threads != threads ? 0 : idle + 1;
    if (idle >= kIdleRounds || block.launch->failed) return block.launch->failed;
  }
}

// ---- Grids ------------------------------------------------------------------------------------------------------------

struct Grid {
  Launch& launch;
  uint64_t blocks;
  std::atomic<uint64_t> next{0}, ended{0};
  std::mutex mutex;
  std::optional<Failure> failure;
};

void fail(Grid& grid, int error, const std::string& report) {
  const std::lock_guard lock(grid.mutex);
  if (!grid.failure) grid.failure = Failure{error, report};
  grid.launch.failed = true;
}

// A host thread's share: new blocks in order, and, in turn, those that wait for others.
void work(Grid& grid) {
  std::deque<std::unique_ptr<Block>> waiting;
  std::vector<std::unique_ptr<Block>> unused;
  Tally tally(grid.launch.counted);
  try {
    while (!grid.launch.failed) {
      std::unique_ptr<Block> block;
      const uint64_t linear = waiting.size() < kMaxResident ? grid.next.fetch_add(1) : grid.blocks;
      if (linear < grid.blocks) {
        if (unused.empty()) unused.push_back(std::make_unique<Block>());
        block = std::move(unused.back());
        unused.pop_back();
        prepare(*block, grid.launch, linear);
        if (grid.launch.counted != 0) block->tally = &tally;
      } else if (!waiting.empty()) {
        block = std::move(waiting.front());
        waiting.pop_front();
        std::this_thread::yield();
      } else {
        break;
      }
      if (!run_block(*block)) {
        waiting.push_back(std::move(block));
        continue;
      }
      grid.launch.issued_since_end = 0;
      for (Warp& w : block->warps) {
        grid.launch.issued += w.issued;
        grid.launch.lanes_issued += w.lanes_issued;
        w.issued = w.lanes_issued = 0;
        while (w.frames.size() > 1) free_frame(w, w.frames.back().get());
      }
      unused.push_back(std::move(block));
    }
  } catch (const DeviceFault& f) {
    fail(grid, f.error, f.what());
  } catch (const std::exception& e) {
    fail(grid, kFaultLaunch, e.what());
  }
  if (grid.launch.counted != 0) add_counts(grid.launch, tally.counts);
  for (auto& b : unused) release(*b);
  for (auto& b : waiting) release(*b);
}

unsigned host_threads() {
  static const unsigned count = [] {
    const char* text = std::getenv("WARPLOOM_EMULATOR_THREADS");
    const int wanted = text != nullptr ? std::atoi(text) : 0;
    return wanted > 0 ? static_cast<unsigned>(wanted) : std::max(1u, std::thread::hardware_concurrency());
  }();
  return count;
}

}  // namespace

std::string demangle(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return result;
}

void fault(const Warp& w, const Inst& in, int lane, int error, const std::string& what) {
  const Block& b = *w.block;
  auto triple = [](uint32_t x, uint32_t y, uint32_t z) {
    return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
  };
  const uint32_t pc =
      static_cast<uint32_t>(&in >= w.code && &in < w.code + w.frame->code->insts.size() ? &in - w.code : w.pc - 1);
  throw DeviceFault(error, what + "\n  in " + demangle(b.launch->name) + "\n  block " + triple(b.id[0], b.id[1], b.id[2]) +
                               ", thread " + triple(w.tid[0][lane], w.tid[1][lane], w.tid[2][lane]) + ", " + where(w, pc));
}

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
  if (f.local_offset + callee.local_bytes > w.local_stride || f.depth > 1000)
    fault(w, in, std::countr_zero(lanes), kFaultLaunch, "stack overflow in a called function");
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

std::optional<Failure> run_grid(Launch& launch) {
  if (counting()) {
    launch.counted = next_counted_launch();
    WarploomCounters size = {};
    size.launches = 1;
    size.blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
    size.warps = size.blocks * ((launch.block[0] * launch.block[1] * launch.block[2] + kLanes - 1) / kLanes);
    add_counts(launch, size);
  }
  Grid grid{launch, uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2], {}, {}, {}, {}};
  const uint64_t workers = std::min<uint64_t>(host_threads(), grid.blocks);
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i < workers; ++i) threads.emplace_back([&grid] { work(grid); });
  work(grid);
  for (std::thread& t : threads) t.join();
  return grid.failure;
}

}  // namespace emulator

extern "C" void warploom_emulator_watchdog(unsigned long long warp_instructions) {
  emulator::watchdog_limit() = warp_instructions;
}
