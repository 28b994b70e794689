// Waiting with a timeout of any length.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "warploom/engine.h"

namespace warploom {

/// Waits for a condition; false if that took longer than `timeout`. Long timeouts do not overflow the clock.
template <typename Condition>
bool wait_for(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, Seconds timeout,
              const Condition& condition) {
  constexpr Seconds kForever = std::chrono::hours(24 * 365);
  if (timeout < kForever) return changed.wait_for(lock, std::max(timeout, Seconds(0)), condition);
  changed.wait(lock, condition);
  return true;
}

}  // namespace warploom
