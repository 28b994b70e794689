#include "executor.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

#include "busiest.h"
#include "counters.h"
#include "decoder.h"
#include "instruction_cache.h"
#include "latency.h"
#include "memory.h"
#include "races.h"
#include "reports.h"
#include "warps.h"

namespace emulator {
namespace {

constexpr std::chrono::microseconds kWaitForOthers{20};
constexpr int kIdleRounds = 4;              // in which all warps of a block only spun, before another block has its turn
constexpr uint32_t kCallStack = 16384;      // bytes of local memory for the frames of called functions
constexpr uint64_t kWatchdog = 4ull << 30;  // warp instructions of a launch in which no block ends: some minutes
constexpr size_t kMaxResident = 4096;       // blocks a host thread keeps when they wait for each other

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
  for (Warp& w : block.warps) mark_locals(w, w.existing, 0, block.launch->code->local_bytes, kUnallocated);
  if (block.locals != 0) memory().locals->release(block.locals);
  delete[] block.cells;
}

std::atomic<uint64_t>& watchdog_limit() {
  static std::atomic<uint64_t> limit = [] {
    const char* text = std::getenv("WARPLOOM_EMULATOR_WATCHDOG");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : kWatchdog;
  }();
  return limit;
}

enum class Turn { ended, ran, waited };  // ran: its threads only wait now; waited: they did nothing else

Turn run_block(Block& block) {
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
    if (!alive) return Turn::ended;
    if (!any) stuck(block, kFaultLaunch, "deadlock: no thread can go on; waiting:");
    if (block.launch->issued_since_end.fetch_add(issued, std::memory_order_relaxed) > watchdog_limit()) [[unlikely]]
      stuck(block, kFaultTimeout,
            "watchdog: no block has ended for " + std::to_string(watchdog_limit()) + " warp instructions:");
    idle = block.opened != opened || block.live_threads != threads ? 0 : idle + 1;
    if (block.launch->failed) return Turn::ended;
    if (idle >= kIdleRounds || (idle > 0 && !awake)) return rounds == idle ? Turn::waited : Turn::ran;
  }
}

// ---- Grids ------------------------------------------------------------------------------------------------------------

struct Grid {
  Launch& launch;
  uint64_t blocks;
  std::atomic<uint64_t> next{0}, ended{0};
  std::mutex mutex;
  std::optional<Failure> failure;
  std::vector<Load> loads;  // of each block, where counting is on
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
  std::deque<Tally> tallies;  // of the blocks here
  WarploomCounters counts = {};
  std::size_t fruitless = 0;  // turns since one of this thread's blocks went on
  try {
    while (!grid.launch.failed) {
      std::unique_ptr<Block> block;
      const uint64_t linear = waiting.size() < kMaxResident ? grid.next.fetch_add(1) : grid.blocks;
      if (linear < grid.blocks) {
        if (unused.empty()) {
          unused.push_back(std::make_unique<Block>());
          if (grid.launch.counted != 0) unused.back()->tally = &tallies.emplace_back(grid.launch);
        }
        block = std::move(unused.back());
        unused.pop_back();
        prepare(*block, grid.launch, linear);
        if (grid.launch.counted != 0)
          for (Warp& w : block->warps) start_clock(w);
      } else if (!waiting.empty()) {
        block = std::move(waiting.front());
        waiting.pop_front();
        // All of them wait for a block of another thread: look again a little later, not all the time.
        if (fruitless > waiting.size()) std::this_thread::sleep_for(kWaitForOthers);
      } else {
        break;
      }
      const Turn turn = run_block(*block);
      fruitless = turn == Turn::waited ? fruitless + 1 : 0;
      if (turn != Turn::ended) {
        waiting.push_back(std::move(block));
        continue;
      }
      grid.launch.issued_since_end = 0;
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
  if (launch.counted != 0) grid.loads.resize(grid.blocks);
  const uint64_t workers = std::min<uint64_t>(host_threads(), grid.blocks);
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i < workers; ++i) threads.emplace_back([&grid] { work(grid); });
  work(grid);
  for (std::thread& t : threads) t.join();
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
