// Copies from global to shared memory that run beside the arithmetic: cp.async, PTX ISA 9.7.9.25.
#pragma once

#include <cstdint>

namespace warploom::cuda::device {

/// 16 bytes, both addresses aligned to 16; zeros, and nothing read, unless `valid`.
__device__ inline void copy_async_16(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
/// The copies of this thread since the last call become a group.
__device__ inline void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for all of this thread's groups but the latest kLeft.
template <int kLeft>
__device__ inline void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace warploom::cuda::device
