// Turns failed runtime calls into exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include "warploom/error.h"

namespace warploom::cuda {

/// The device has failed: every later call fails too. Any other BackendError is of one call, which was refused.
class DeviceFault : public BackendError {
 public:
  using BackendError::BackendError;
};

/// Throws OutOfMemory for cudaErrorMemoryAllocation, DeviceFault for what leaves the device unusable, BackendError for any
/// other error. `what` names the failed operation.
void check(cudaError_t error, const char* what);

}  // namespace warploom::cuda
