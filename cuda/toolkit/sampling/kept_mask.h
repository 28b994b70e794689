// The mask of what a draw picks from.
#pragma once

#include "cuda/toolkit/sampling/request.h"
#include "warploom/cuda/building_blocks.h"

namespace warploom::cuda {

/// After the draw, whose records `scratch` has.
void launch_kept_mask(const SampleArgs& a, const MaskRows& mask, const SampleScratch& scratch, cudaStream_t stream);

}  // namespace warploom::cuda
