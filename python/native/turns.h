// Who comes next.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace warploom::python {

/// A queue of threads, which have their turns in the order in which join() was called. For any thread.
class Turns {
 public:
  std::uint64_t join() {
    const std::lock_guard lock(mutex_);
    queue_.push_back(++last_);
    return last_;
  }
  /// Waits for the turn; false if `cancelled` comes first.
  bool await(std::uint64_t turn, const std::atomic<bool>& cancelled) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled || queue_.front() == turn; });
    return !cancelled;
  }
  /// After the turn, or instead of it.
  void leave(std::uint64_t turn) {
    const std::lock_guard lock(mutex_);
    queue_.erase(std::find(queue_.begin(), queue_.end(), turn));
    changed_.notify_all();
  }
  /// Sets `cancelled` and wakes who waits for it.
  void cancel(std::atomic<bool>& cancelled) {
    const std::lock_guard lock(mutex_);
    cancelled = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::uint64_t> queue_;
  std::uint64_t last_ = 0;
};

}  // namespace warploom::python
