// How much of a GPU a stream has.
#pragma once

#include <cuda_runtime_api.h>

namespace warploom::cuda {

/// Multiprocessors of the current GPU. Throws BackendError.
int multiprocessors();

/// Those that kernels of the stream may run on: fewer if it belongs to a green context; all of them if the driver does not tell.
/// Throws BackendError.
int multiprocessors(cudaStream_t stream);

}  // namespace warploom::cuda
