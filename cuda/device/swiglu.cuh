// The gate of a feed-forward layer (Shazeer 2020, arXiv:2002.05202).
#pragma once

namespace warploom::cuda::device {

/// silu(gate) * up, with exact division. For large |gate| the sigmoid is 0 or 1. The same bits in every kernel: no operation can be
/// contracted.
__device__ inline float swiglu(float gate, float up) { return __fmul_rn(__fdiv_rn(gate, __fadd_rn(1.0f, expf(-gate))), up); }

}  // namespace warploom::cuda::device
