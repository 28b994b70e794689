// Drawing tokens from logits in device memory: docs/sampling.md bit by bit, so that a GPU picks the very token that the CPU
// picks. Stream-ordered: no allocation, no synchronisation, nothing read back; calls can be captured into a CUDA graph.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "warploom/export.h"
#include "warploom/sample_args.h"

namespace warploom::cuda {

/// Bytes of device memory that args.workspace needs for these shapes on the current device; 0: none. Looks at neither
/// args.workspace nor device memory. Throws InvalidArgument as sample() does, BackendError if the device cannot be asked.
[[nodiscard]] WARPLOOM_EXPORT std::size_t sample_workspace_bytes(const SampleArgs& args);

/// Draws one token a row on `stream`: one launch, and one more for each of the list of the most probable, the kept tokens' list,
/// and the dense outputs, if asked for. Throws InvalidArgument for what the host can see to be out of range, BackendError if the
/// launch fails. A parameter that only the device sees to be out of range gives its row the status invalid_parameters.
WARPLOOM_EXPORT void sample(const SampleArgs& args, cudaStream_t stream);

}  // namespace warploom::cuda
