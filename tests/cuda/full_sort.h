// Sampling as most libraries do it, to compare with: every row is sorted as a whole by cub::DeviceSegmentedRadixSort, then
// cut.
#pragma once

#include "warploom/cuda/sampling.h"

namespace warploom::test {

/// Draws as cuda::sample() does; temperature, top_k, top_p, seed, position and stream are obeyed, nothing else. Allocates,
/// and waits until it is done. token, num_kept and total_weight are written.
void full_sort_sample(const SampleArgs& args);

}  // namespace warploom::test
