// Programmatic dependent launches (CUDA programming guide; PTX ISA, griddepcontrol): a kernel of a step may begin while the kernel ahead
// of it ends, and does what does not depend on it: it fetches weights, and finds its work from the step's input.
//
// The rules, which the emulator's sanitiser checks: every thread calls wait_for_launch_ahead() before it reads or writes what another
// kernel of the step writes, or writes what one reads; every block calls it, those without work too; and allow_next_launch() comes after
// it. So a kernel has ended only if all before it have, and beside a kernel that has not waited runs only the one ahead.
// Before sm_90 these functions do nothing, and kernels are not launched so (cuda/runtime/launch_stream.h).
#pragma once

#include <cstddef>

namespace warploom::cuda::device {

/// Waits until the kernel ahead in the stream has ended and its writes are visible.
__device__ inline void wait_for_launch_ahead() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel in the stream begin where there is room, once all blocks have called it or ended.
__device__ inline void allow_next_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// Brings `bytes` from `from` on to L2, for one thread to call before it waits. Both are rounded to whole 16 bytes, inwards.
__device__ inline void prefetch_to_l2(const void* from, std::size_t bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const auto first = reinterpret_cast<std::size_t>(from), begin = (first + 15) / 16 * 16, end = (first + bytes) / 16 * 16;
  if (begin < end)
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(begin), "r"(static_cast<unsigned>(end - begin)));
#endif
}

}  // namespace warploom::cuda::device
