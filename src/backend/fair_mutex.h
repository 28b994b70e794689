// A mutex that threads get in the order in which they asked for it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace warploom {

/// unlock() hands it to whoever has waited longest, so a thread that takes it again at once queues behind those who wait. A
/// std::mutex would often go to that thread, which runs already, and leave the others to wait for many of its turns.
class FairMutex {
 public:
  FairMutex() = default;
  FairMutex(const FairMutex&) = delete;
  FairMutex& operator=(const FairMutex&) = delete;

  void lock();
  void unlock();

  /// How many threads wait in lock().
  std::size_t num_waiting() const;

 private:
  struct Waiter {
    std::condition_variable turn;
    bool has_turn = false;
    Waiter* next = nullptr;
  };

  mutable std::mutex mutex_;  // of everything here; held for an instant at a time
  bool locked_ = false;
  Waiter* first_ = nullptr;  // each on the stack of its thread
  Waiter* last_ = nullptr;
  std::size_t num_waiting_ = 0;
};

}  // namespace warploom
