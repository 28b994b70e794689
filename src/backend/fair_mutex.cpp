#include "backend/fair_mutex.h"

namespace warploom {

void FairMutex::lock() {
  std::unique_lock guard(mutex_);
  if (!locked_) {
    locked_ = true;
    return;
  }
  Waiter self;
  (first_ ? last_->next : first_) = &self;
  last_ = &self;
  ++num_waiting_;
  self.turn.wait(guard, [&] { return self.has_turn; });
}

void FairMutex::unlock() {
  const std::lock_guard guard(mutex_);
  if (!first_) {
    locked_ = false;
    return;
  }
  // It stays locked, for the first waiter. Told under the guard: its thread may not leave lock(), and end the waiter, before.
  Waiter& next = *first_;
  first_ = next.next;
  --num_waiting_;
  next.has_turn = true;
  next.turn.notify_one();
}

std::size_t FairMutex::num_waiting() const {
  const std::lock_guard guard(mutex_);
  return num_waiting_;
}

}  // namespace warploom
