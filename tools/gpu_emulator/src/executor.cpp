#include "executor.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <thread>

#include "busiest.h"
#include "counters.h"
#include "decoder.h"
#include "dependent_launch.h"
#include "environment.h"
#include "instruction_cache.h"
#include "latency.h"
#include "memory.h"
#include "races.h"
#include "reports.h"
#include "turns.h"
#include "warps.h"

namespace emulator {
namespace {

constexpr std::chrono::microseconds kWaitForOthers{20};
constexpr int kIdleRounds = 4;          // in which all warps of a block only spun, before another block has its turn
constexpr uint32_t kCallStack = 16384;  // bytes of local memory for the frames of called functions
constexpr size_t kMaxResident = 4096;   // blocks a host thread keeps when they wait for each other

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
  }
  for (Warp& w : block.warps) mark_locals(w, w.existing, 0, code.local_bytes, kUninitialised);
  ++block.generation;
  block.synchronised = block.waited = false;
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
    w.waited = 0;
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
  for (Warp& w : block.warps) mark_locals(w, w.existing, 0, block.launch->code->local_bytes, kUnallocated);
  if (block.locals != 0) memory().locals->release(block.locals);
  delete[] block.cells;
}

std::atomic<uint64_t>& watchdog_limit() {
  static std::atomic<uint64_t> limit{environment().watchdog};
  return limit;
}

enum class Outcome { ended, ran, waited };  // ran: its threads only wait now; waited: they did nothing else

Outcome run_block(Block& block) {
  int idle = 0;
  for (int rounds = 1;; ++rounds) {
    bool any = false, alive = false, awake = false;
    const uint64_t opened = block.opened;
    const uint32_t threads = block.live_threads;
    uint64_t issued = 0;
    for (Warp& w : block.warps) {
      if (w.live == 0) continue;
      alive = true;
      if (!can_run(w)) continue;
      any = true;
      w.slept = false;
      issued += run_warp(w);
      awake |= !w.slept;
    }
    if (!alive) return Outcome::ended;
    if (!any) stuck(block, kFaultLaunch, "deadlock: no thread can go on; waiting:");
    if (block.launch->issued_since_end.fetch_add(issued, std::memory_order_relaxed) > watchdog_limit()) [[unlikely]]
      stuck(block, kFaultTimeout,
            "watchdog: no block has ended for " + std::to_string(watchdog_limit()) + " warp instructions:");
    idle = block.opened != opened || block.live_threads != threads ? 0 : idle + 1;
    if (block.launch->failed) return Outcome::ended;
    if (idle >= kIdleRounds || (idle > 0 && !awake)) return rounds == idle ? Outcome::waited : Outcome::ran;
  }
}

// ---- Grids ------------------------------------------------------------------------------------------------------------

struct Grid {
  Launch& launch;
  uint64_t blocks;
  std::atomic<uint64_t> next{0}, ended{0};
  std::mutex mutex;
  std::optional<Failure> failure;
  std::vector<Load> loads;  // of each block, if counting is on
};

void fail(Grid& grid, int error, const std::string& report) {
  const std::lock_guard lock(grid.mutex);
  if (!grid.failure) grid.failure = Failure{error, report};
  grid.launch.failed = true;
  if (grid.launch.turns != nullptr) grid.launch.turns->cancel();
}

// Which block a host thread runs next.
struct Next {
  std::unique_ptr<Block> block;  // that goes on; else `linear` starts
  uint64_t linear = 0, turn = 0;
  bool none = false;
};

// Where nobody counts: new blocks in order, and, in turn, those of this host thread that wait for others.
class AnyOrder {
 public:
  explicit AnyOrder(Grid& grid) : grid_(grid) {}
  Next next() {
    Next n;
    n.linear = waiting_.size() < kMaxResident ? grid_.next.fetch_add(1) : grid_.blocks;
    if (n.linear < grid_.blocks) return n;
    n.none = waiting_.empty();
    if (n.none) return n;
    n.block = std::move(waiting_.front());
    waiting_.pop_front();
    // All of them wait for a block of another thread: look again a little later, not all the time.
    if (fruitless_ > waiting_.size()) std::this_thread::sleep_for(kWaitForOthers);
    return n;
  }
  void put_aside(std::unique_ptr<Block> block, Outcome outcome) {
    fruitless_ = outcome == Outcome::waited ? fruitless_ + 1 : 0;
    waiting_.push_back(std::move(block));
  }
  void ended() { fruitless_ = 0; }
  std::deque<std::unique_ptr<Block>>& waiting() { return waiting_; }

 private:
  Grid& grid_;
  std::deque<std::unique_ptr<Block>> waiting_;
  std::size_t fruitless_ = 0;  // turns since one of this thread's blocks went on
};

Next next_of(Turns& turns) {
  Turns::Turn turn = turns.next();
  Next n{std::move(turn.goes_on), turn.block, turn.number, false};
  n.none = !turn.starts && n.block == nullptr;
  if (n.none) turns.end(turn.number);
  return n;
}

// A host thread's share.
void work(Grid& grid) {
  Turns* const turns = grid.launch.turns;
  AnyOrder order(grid);
  std::vector<std::unique_ptr<Block>> unused;
  WarploomCounters counts = {};
  try {
    while (!grid.launch.failed) {
      Next next = turns != nullptr ? next_of(*turns) : order.next();
      if (next.none) break;
      std::unique_ptr<Block> block = std::move(next.block);
      const bool starts = block == nullptr;
      if (starts) {
        if (unused.empty()) {
          unused.push_back(std::make_unique<Block>());
          if (grid.launch.counted != 0) unused.back()->tally = std::make_shared<Tally>(grid.launch);
        }
        block = std::move(unused.back());
        unused.pop_back();
        prepare(*block, grid.launch, next.linear);
        if (grid.launch.counted != 0)
          for (Warp& w : block->warps) start_clock(w);
      }
      block->turn = next.turn;
      block->sees_others = !starts;
      const Outcome outcome = run_block(*block);
      if (outcome != Outcome::ended) {
        if (turns != nullptr)
          turns->put_aside(next.turn, std::move(block));
        else
          order.put_aside(std::move(block), outcome);
        continue;
      }
      order.ended();
      grid.launch.issued_since_end = 0;
      if (!grid.launch.failed) check_waited(*block);
      if (block->tally != nullptr) {
        count_block(*block->tally, *block);
        grid.loads[block->linear] = load_of(block->tally->counts);
        add(counts, block->tally->counts);
        block->tally->counts = {};
      }
      for (Warp& w : block->warps) {
        grid.launch.issued += w.issued;
        grid.launch.lanes_issued += w.lanes_issued;
        w.issued = w.lanes_issued = 0;
        while (w.frames.size() > 1) free_frame(w, w.frames.back().get());
      }
      unused.push_back(std::move(block));
      if (turns != nullptr) turns->end(next.turn);
    }
  } catch (const DeviceFault& f) {
    fail(grid, f.error, f.what());
  } catch (const std::exception& e) {
    fail(grid, kFaultLaunch, e.what());
  }
  if (grid.launch.counted != 0) {
    add_counts(grid.launch, counts);
    add_fetched(grid.launch.code, counts.fetched_instructions);
  }
  for (auto& b : unused) release(*b);
  for (auto& b : order.waiting()) release(*b);
}

std::atomic<unsigned>& wanted_threads() {
  static std::atomic<unsigned> wanted{environment().threads};
  return wanted;
}
unsigned host_threads() {
  const unsigned wanted = wanted_threads();
  return wanted > 0 ? wanted : std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

std::optional<Failure> run_grid(Launch& launch) {
  if (counting()) {
    launch.counted = next_counted_launch();
    launch.cached_since = cached_since(launch.code, launch.counted);
    WarploomCounters size = {};
    size.launches = 1;
    size.graph_launches = launch.in_graph ? 1 : 0;
    size.blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
    size.warps = size.blocks * ((launch.block[0] * launch.block[1] * launch.block[2] + kLanes - 1) / kLanes);
    add_counts(launch, size);
  }
  Grid grid{launch, uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2], {}, {}, {}, {}, {}};
  Turns turns(grid.blocks);
  if (launch.counted != 0) {
    grid.loads.resize(grid.blocks);
    if (launch.code->meets_others) launch.turns = &turns;
  }
  const uint64_t workers = std::min<uint64_t>(host_threads(), grid.blocks);
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i < workers; ++i) threads.emplace_back([&grid] { work(grid); });
  work(grid);
  for (std::thread& t : threads) t.join();
  for (auto& b : turns.take_waiting()) release(*b);  // after a fault
  if (launch.counted != 0) {
    WarploomCounters clocks = {};
    clocks.longest_chain = launch.longest_chain;
    add_counts(launch, clocks);
    add_loads(launch, grid.loads);
  }
  return grid.failure;
}

}  // namespace emulator

extern "C" void warploom_emulator_watchdog(unsigned long long warp_instructions) {
  emulator::watchdog_limit() = warp_instructions;
}
extern "C" void warploom_emulator_threads(int threads) {
  emulator::wanted_threads() = threads > 0 ? static_cast<unsigned>(threads) : 0;
}
