// Which kernels' code a multiprocessor still has from earlier launches, if counting is on. All multiprocessors are taken to be
// alike, as if each ran a block of every launch.
#pragma once

#include "machine.h"

namespace emulator {

constexpr uint64_t kInstructionBytes = 16;          // of machine code: arXiv:1804.06826 (V100), and since
constexpr uint64_t kInstructionCache = 128 * 1024;  // bytes: arXiv:1804.06826 (V100), the same for A100 and H100

// When a kernel starts, with the launch's number: since which launch its code has been there without a break, which is this one if it
// isn't. It is there if it fits the cache together with the code of all other kernels launched since its last launch.
uint32_t cached_since(const Code* kernel, uint32_t launch);
// After that launch: the instructions that had to be fetched.
void add_fetched(const Code* kernel, uint64_t instructions);
void forget_cached_code();

}  // namespace emulator
