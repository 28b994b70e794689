// Turns failed runtime calls into exceptions.
#pragma once

#include <cuda_runtime_api.h>

namespace warploom::cuda {

/// Throws OutOfMemory for cudaErrorMemoryAllocation, BackendError for any other error. `what` names the failed operation.
void check(cudaError_t error, const char* what);

}  // namespace warploom::cuda
