// What tests do less of under a sanitizer, which takes 3 to 100 times as long, and to which a path matters once.
#pragma once

#include <vector>

#include "warploom/device.h"

namespace warploom::test {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
inline constexpr bool kSanitized = kAddressSanitizer || kThreadSanitizer;

/// How many of `all` random cases to run: a tenth if sanitized, but one at least.
constexpr int some_of(int all) { return kSanitized ? (all + 9) / 10 : all; }

/// The instruction sets that whole models run on. A sanitizer sees the kernels of all in tests/backend.
inline std::vector<CpuIsa> isas_for_models() {
  const std::vector<CpuIsa> all = available_cpu_isas();
  return kSanitized ? std::vector{all.back()} : all;
}

}  // namespace warploom::test
