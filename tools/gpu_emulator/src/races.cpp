#include "races.h"

namespace emulator {

namespace {

const char* verb(AccessKind kind) {
  return kind == AccessKind::kRead ? "read" : kind == AccessKind::kWrite ? "write" : "atomic";
}

}  // namespace

void report_race(const Warp& w, const Inst& in, int lane, uint64_t address, AccessKind kind, const RaceCell::Access& other,
                 bool other_writes) {
  const Launch& l = *w.block->launch;
  std::string who = "other threads";
  if (other.thread != kManyThreads) {
    const uint32_t t = other.thread;
    who = "thread (" + std::to_string(t % l.block[0]) + "," + std::to_string(t / l.block[0] % l.block[1]) + "," +
          std::to_string(t / l.block[0] / l.block[1]) + ")";
  }
  fault(w, in, lane, kFaultLaunch,
        std::string("race: ") + verb(kind) + " of the shared memory word at offset " +
            std::to_string(address - w.shared_begin) + ", which " + who +
            (other_writes ? (other.atomic ? " changed by an atomic" : " wrote") : " read") + " with no barrier between");
}

void report_block_race(const Warp& w, const Inst& in, int lane, uint64_t address, AccessKind kind, uint64_t cell) {
  const Launch& l = *w.block->launch;
  const uint64_t b = (cell & kWordBlock) >> 8;
  const std::string who = (cell & kWordByMany) != 0
                              ? "several blocks"
                              : "block (" + std::to_string(b % l.grid[0]) + "," + std::to_string(b / l.grid[0] % l.grid[1]) +
                                    "," + std::to_string(b / l.grid[0] / l.grid[1]) + ")";
  fault(w, in, lane, kFaultLaunch,
        std::string("race between blocks: ") + verb(kind) + " of a word that " + who +
            ((cell & kWordAtomic) != 0    ? " changed by an atomic"
             : (cell & kWordWritten) != 0 ? " wrote"
                                          : " read") +
            ", in " + memory().describe(address));
}

}  // namespace emulator
