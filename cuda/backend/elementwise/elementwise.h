// Launches the row-wise ops of src/backend/ops.h.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops.h"

namespace warploom::cuda {

/// Both throw InvalidArgument if a shape exceeds the kernel's limits, BackendError if the launch fails. out: its element
/// type.
void launch_rms_norm(const RmsNormArgs& args, DType out, cudaStream_t stream);
void launch_swiglu(const SwigluArgs& args, DType out, cudaStream_t stream);

}  // namespace warploom::cuda
