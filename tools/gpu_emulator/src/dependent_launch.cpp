#include "dependent_launch.h"

#include <atomic>

#include "decoder.h"
#include "reports.h"

namespace emulator {
namespace {

std::atomic<bool> tracking = false;

// The lanes of exec wait for the launches before. They have ended here.
void wait_handler(Warp& w, const Inst&) {
  w.waited |= w.exec;
  w.block->waited = true;
}

// A block that lets dependents begin before it has waited itself lets them begin beside the launches before, too.
void launch_dependents_handler(Warp& w, const Inst&) {
  if (!w.block->waited) w.block->launch->early = true;
}

void griddepcontrol(Encoder& e) {
  const std::string_view what = e.take_one({"wait", "launch_dependents"});
  if (what.empty()) e.unsupported();
  e.emit(what == "wait" ? &wait_handler : &launch_dependents_handler, {}, {});
}

void remember(MemoryUse& use, uint32_t launch, bool writes) {
  uint32_t& last = writes ? use.writer : use.reader;
  if (__atomic_load_n(&last, __ATOMIC_RELAXED) != launch) __atomic_store_n(&last, launch, __ATOMIC_RELAXED);
}

}  // namespace

uint64_t next_launch_id() {
  static uint64_t last = 0;
  return ++last;
}

bool tracks_dependence() { return tracking; }
void start_tracking_dependence() { tracking = true; }

void remember_access(uint64_t launch, uint64_t address, uint64_t bytes, bool writes) {
  if (!tracking || bytes == 0 || !memory().global.holds(address, bytes)) return;
  const MemoryUse* last = memory().use(address + bytes - 1);
  for (MemoryUse* use = memory().use(address); use <= last; ++use) remember(*use, static_cast<uint32_t>(launch), writes);
}

void track_dependence_of(Warp& w, const Inst& in, int lane, uint64_t address, uint64_t bytes, uint32_t step, bool writes) {
  const Launch& l = *w.block->launch;
  const uint64_t first_unit = address / kUseBytes * kUseBytes;
  for (uint64_t at = first_unit; at < address + bytes; at += kUseBytes) {
    MemoryUse& use = *memory().use(at);
    if (l.unfinished != 0) {
      const uint64_t from = std::max(at, address), to = std::min(at + kUseBytes, address + bytes);
      const uint32_t writer = __atomic_load_n(&use.writer, __ATOMIC_RELAXED),
                     reader = __atomic_load_n(&use.reader, __ATOMIC_RELAXED);
      const auto unfinished = [&](uint32_t id) { return id >= l.unfinished && id < static_cast<uint32_t>(l.grid_id); };
      const bool written = unfinished(writer), read = writes && unfinished(reader);
      if (written || read)
        for (uint64_t i = (from - address) / step; i <= (to - 1 - address) / step; ++i) {
          const int who = lane + static_cast<int>(i);
          if (lane_in(w.waited, who)) continue;
          fault(w, in, who, kFaultLaunch,
                std::string(writes ? "write" : "read") +
                    " before griddepcontrol.wait of what an earlier launch, which may still run, " +
                    (written ? "wrote" : "read") + ", in " + memory().describe(from));
        }
    }
    remember(use, static_cast<uint32_t>(l.grid_id), writes);
  }
}

void check_waited(const Block& block) {
  const Launch& l = *block.launch;
  if (!l.programmatic || block.waited) return;
  throw DeviceFault(kFaultLaunch,
                    "a block of a programmatic dependent launch ended without griddepcontrol.wait: launches after it would "
                    "not wait for those "
                    "before it" +
                        block_name(block));
}

void add_dependence_ops(EncoderTable& table) { table.insert({{"griddepcontrol", griddepcontrol}}); }

}  // namespace emulator
