// Launches the row-wise ops of src/backend/ops.h.
#pragma once

#include "backend/ops.h"
#include "cuda/runtime/launch_stream.h"

namespace warploom::cuda {

/// All throw InvalidArgument if a shape exceeds the kernel's limits, BackendError if the launch fails. out: its element
/// type.
void launch_rms_norm(const RmsNormArgs& args, DType out, const LaunchStream& stream);
void launch_gather_rows(const GatherRowsArgs& args, const LaunchStream& stream);
void launch_swiglu(const SwigluArgs& args, DType out, const LaunchStream& stream);
/// Of rows in which gate and up alternate by 8, as a product of alternating weights gives them; intermediate_size is a multiple of 8.
/// bias: [2 * intermediate_size], of gate and then of up, or null; it is added first.
void launch_alternating_swiglu(const SwigluArgs& args, const float* bias, DType out, const LaunchStream& stream);

/// One of the kernels, for what all of them were compiled for.
const void* rms_norm_code();

}  // namespace warploom::cuda
