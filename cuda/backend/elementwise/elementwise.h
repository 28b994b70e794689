// Launches of the ops that go once over their rows. Device memory, as src/backend/ops.h says.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops.h"

namespace warploom::cuda {

/// Both throw InvalidArgument where a shape is beyond the kernel's limits, BackendError where the launch fails.
void launch_rms_norm(const RmsNormArgs& args, DType out, cudaStream_t stream);
void launch_swiglu(const SwigluArgs& args, DType out, cudaStream_t stream);

}  // namespace warploom::cuda
