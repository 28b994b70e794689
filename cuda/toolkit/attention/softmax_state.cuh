// The state of an online softmax, and how two states merge. Milakov and Gimelshein 2018, arXiv:1805.02867.
#pragma once

#include <cmath>

namespace warploom::cuda::device {

/// 2^x. Exact for 0 and -infinity.
__device__ inline float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Maximum and sum over a row's keys so far. Scores are base-2 exponents. Without any key it is {-infinity, 0}.
struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0.0f;  // of 2^(score - max)
};

/// The factors by which two partial results are multiplied before they are added.
struct RescaleFactors {
  float old, other;
};

/// The maximum, or 0 if there was no key: subtracting it from a score is always defined.
__device__ inline float safe_max(float max) { return max == -INFINITY ? 0.0f : max; }

/// Merges `other` into `state`. If `other` has no key, nothing changes: the factors are 1 and 0.
__device__ inline RescaleFactors merge(SoftmaxState& state, const SoftmaxState& other) {
  const float max = fmaxf(state.max, other.max), base = safe_max(max);
  const RescaleFactors factors{exp2_of(__fsub_rn(state.max, base)), exp2_of(__fsub_rn(other.max, base))};
  state.max = max;
  state.sum = __fmaf_rn(other.sum, factors.other, __fmul_rn(state.sum, factors.old));
  return factors;
}
__device__ inline float merge_value(const RescaleFactors& factors, float value, float other) {
  return __fmaf_rn(other, factors.other, __fmul_rn(value, factors.old));
}

/// The row's result. Adding 0 turns -0 into +0, so that a zero always has the same bits.
__device__ inline float finish_value(float value, float sum) { return __fadd_rn(__fdiv_rn(value, sum), 0.0f); }

}  // namespace warploom::cuda::device
