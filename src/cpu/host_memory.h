#pragma once

#include <cstdint>

namespace warploom::cpu {

/// Bytes that programs can still take without swapping, as the kernel estimates (MemAvailable of /proc/meminfo); UINT64_MAX
/// where it does not say.
std::uint64_t available_memory();

}  // namespace warploom::cpu
