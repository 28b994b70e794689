// The clock that engines measure and wait by.
#pragma once

#include <chrono>
#include <functional>

namespace warploom {

using Clock = std::chrono::steady_clock;
using Now = std::function<Clock::time_point()>;  // tests hand in their own

inline double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace warploom
