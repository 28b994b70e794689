// The order in which blocks see each other, if counting is on: the same whatever number of host threads runs them, so that counts
// are. A block has a turn from its start until it ends or only waits, and another one each time that it goes on. Blocks start in the
// grid's order; when all have, those that wait go on, the one that has waited longest first. They run side by side until one is to
// access what others may look at (an atomic, a volatile or stronger load or store of global memory): it waits until all earlier turns
// have ended.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <queue>
#include <vector>

#include "machine.h"

namespace emulator {

class Turns {
 public:
  explicit Turns(uint64_t blocks) : blocks_(blocks) {}

  struct Turn {
    uint64_t number;
    bool starts = false;  // block `block` of the grid
    uint64_t block = 0;
    std::unique_ptr<Block> goes_on;  // after all earlier turns; none of both: all blocks have ended
  };
  Turn next();
  void await(uint64_t turn);                                    // until all earlier ones have ended
  void end(uint64_t turn);                                      // its block has ended, or there was none
  void put_aside(uint64_t turn, std::unique_ptr<Block> block);  // it only waits
  void cancel();                                                // nobody waits for a turn any more
  std::deque<std::unique_ptr<Block>> take_waiting();

 private:
  void await(std::unique_lock<std::mutex>& lock, uint64_t turn);
  void end_locked(uint64_t turn);

  const uint64_t blocks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t taken_ = 0, started_ = 0, left_ = 0;  // turns; blocks that have started, that have ended
  uint64_t ended_ = 0;                           // all turns before it
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> ended_early_;
  std::deque<std::unique_ptr<Block>> waiting_;
  bool deciding_ = false, cancelled_ = false;
};

// Before a block accesses what others may look at.
inline void await_turn(Block& block) {
  if (block.sees_others || block.launch->turns == nullptr) return;
  block.launch->turns->await(block.turn);
  block.sees_others = true;
}

}  // namespace emulator
