#include "races.h"

namespace emulator {

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
        std::string("race: ") +
            (kind == AccessKind::kRead    ? "read"
             : kind == AccessKind::kWrite ? "write"
                                          : "atomic") +
            " of the shared memory word at offset " + std::to_string(address - w.shared_begin) + ", which " + who +
            (other_writes ? (other.atomic ? " changed by an atomic" : " wrote") : " read") + " with no barrier between");
}

void report_block_race(const Warp& w, const Inst& in, int lane, uint64_t address, bool write, uint64_t cell) {
  const Launch& l = *w.block->launch;
  const uint64_t b = (cell & kWordBlock) >> 8;
  const std::string who = (cell & kWordReadByMany) != 0
                              ? "several blocks"
                              : "block (" + std::to_string(b % l.grid[0]) + "," + std::to_string(b / l.grid[0] % l.grid[1]) +
                                    "," + std::to_string(b / l.grid[0] / l.grid[1]) + ")";
  fault(w, in, lane, kFaultLaunch,
        std::string("race between blocks: ") + (write ? "write" : "read") + " of a word that " + who +
            ((cell & kWordWritten) != 0 ? " wrote" : " read") + ", in " + memory().describe(address));
}

}  // namespace emulator
