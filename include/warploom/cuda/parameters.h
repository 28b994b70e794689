// Parameters that the host has, in device memory for a call that reads them there.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "warploom/export.h"

namespace warploom::cuda {

/// Writes `bytes` of host memory to device memory on `stream`. They travel as arguments of kernels, 4,000 bytes a launch:
/// `host` is free again when this returns, nothing is allocated, nothing waits, and a CUDA graph that captures the call keeps
/// the values. For parameters; cudaMemcpyAsync is faster for megabytes. Throws InvalidArgument if an address is null and
/// bytes > 0, BackendError if a launch fails.
WARPLOOM_EXPORT void write_parameters(void* device, const void* host, std::size_t bytes, cudaStream_t stream);

}  // namespace warploom::cuda
