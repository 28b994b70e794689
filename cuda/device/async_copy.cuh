// Asynchronous copies from global to shared memory: cp.async, PTX ISA 9.7.9.25.
#pragma once

#include <cstdint>

namespace warploom::cuda::device {

/// Copies 16 bytes; both addresses are aligned to 16. Unless `valid`, nothing is read and the bytes become zero.
__device__ inline void copy_async_16(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
/// Groups this thread's copies since the last call.
__device__ inline void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most kPending of this thread's groups are pending.
template <int kPending>
__device__ inline void wait_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace warploom::cuda::device
