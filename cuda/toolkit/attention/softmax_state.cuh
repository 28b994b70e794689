// Online softmax as a value: what is known of a row after some of its keys, and how two of those become one.
// Milakov and Gimelshein 2018, arXiv:1805.02867.
#pragma once

#include <cmath>

namespace warploom::cuda::device {

/// 2^x: 0 of -infinity, exactly 1 of 0.
__device__ inline float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Scores are in units of log 2. A row that has seen no key is {-infinity, 0}.
struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0.0f;  // of 2^(score - max)
};

/// What values weigh when two sets of keys become one.
struct Shares {
  float kept, added;
};

/// A base that exponents can be taken from, where no key was seen yet too.
__device__ inline float base_of(float max) { return max == -INFINITY ? 0.0f : max; }

/// `state` takes in `more`. Where `more` has seen no key, nothing changes: kept is 1, added 0.
__device__ inline Shares merge(SoftmaxState& state, const SoftmaxState& more) {
  const float max = fmaxf(state.max, more.max), base = base_of(max);
  const Shares shares{exp2_of(state.max - base), exp2_of(more.max - base)};
  state.max = max;
  state.sum = fmaf(more.sum, shares.added, state.sum * shares.kept);
  return shares;
}
__device__ inline float merge_value(const Shares& shares, float value, float more) {
  return fmaf(more, shares.added, value * shares.kept);
}

/// The row's result. 0 is added so that a zero has one sign, however it came about.
__device__ inline float finish_value(float value, float sum) { return value / sum + 0.0f; }

}  // namespace warploom::cuda::device
