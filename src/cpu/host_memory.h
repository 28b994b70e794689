#pragma once

#include <cstdint>

namespace warploom::cpu {

/// Bytes that programs can still allocate without swapping, by the kernel's estimate (MemAvailable in /proc/meminfo);
/// UINT64_MAX if there is no estimate.
std::uint64_t available_memory();

}  // namespace warploom::cpu
