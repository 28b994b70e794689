// Failed runtime calls become exceptions.
#pragma once

#include <cuda_runtime_api.h>

namespace warploom::cuda {

/// Throws OutOfMemory where that is the error, else BackendError, naming what was being done and the runtime's error.
void check(cudaError_t error, const char* what);

}  // namespace warploom::cuda
