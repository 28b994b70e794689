// Integer division and alignment that round up, for host and device.
#pragma once

#include <type_traits>

#include "warploom/host_device.h"

namespace warploom {

/// n / by rounded up, in the common type of both. n >= 0, by > 0, and n + by - 1 must not overflow.
template <typename N, typename By>
WARPLOOM_HOST_DEVICE constexpr std::common_type_t<N, By> ceil_div(N n, By by) {
  using T = std::common_type_t<N, By>;
  return (static_cast<T>(n) + static_cast<T>(by) - 1) / static_cast<T>(by);
}

/// The smallest multiple of `to` that is at least n.
template <typename N, typename To>
WARPLOOM_HOST_DEVICE constexpr std::common_type_t<N, To> align_up(N n, To to) {
  return ceil_div(n, to) * static_cast<std::common_type_t<N, To>>(to);
}

}  // namespace warploom
