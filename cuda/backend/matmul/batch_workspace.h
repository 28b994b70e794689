// Device memory of products with many tokens, whose sums several blocks share.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/backend/matmul/kernels.h"
#include "cuda/runtime/raii.h"

namespace warploom::cuda {

/// For the products of one stream.
class BatchWorkspace {
 public:
  /// Throws OutOfMemory, BackendError.
  explicit BatchWorkspace(cudaStream_t stream);
  MatmulWorkspace workspace();

 private:
  BatchRoom room_;
  BatchPlans plans_;
  AllowedKernels allowed_;
  DeviceBuffer partials_, counters_;
};

}  // namespace warploom::cuda
