// A stream with the way in which kernels are launched into it, and the launch that all kernels of a step share.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace warploom::cuda {

/// `dependent`: kernels that call wait_for_launch_ahead() (cuda/device/dependent_launch.cuh) may begin before the kernel ahead of them in
/// the stream has ended. No others may be launched so. It takes can_launch_dependent().
struct LaunchStream {
  cudaStream_t stream = nullptr;
  bool dependent = false;

  LaunchStream(cudaStream_t s) : stream(s) {}  // NOLINT(google-explicit-constructor): an ordinary stream
  LaunchStream(cudaStream_t s, bool d) : stream(s), dependent(d) {}
};

/// Whether a GPU has programmatic dependent launches and this kernel was compiled to wait: its code is of compute capability 9.0 or
/// later. Throws BackendError.
bool can_launch_dependent(int gpu, const void* kernel);

/// Reports its own error: cudaGetLastError() could return that of an earlier call. Throws BackendError with `what` if the launch fails.
void launch_kernel(const void* kernel, const char* what, dim3 grid, unsigned threads, void** arguments,
                   std::size_t shared_bytes, const LaunchStream& stream);

}  // namespace warploom::cuda
