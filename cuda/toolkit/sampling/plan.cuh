// What is known of a row on the way to its kept tokens: weights, the pivot, and bins between the two.
#pragma once

#include "core/sampling_math.h"
#include "cuda/device/order_key.cuh"
#include "cuda/toolkit/sampling/select.cuh"

namespace warploom::cuda::device {

// A token as one number that sorts as the contract's order does, descending.
__device__ inline u64 pack(u32 key, int id) { return static_cast<u64>(key) << 32 | ~static_cast<u32>(id); }
__device__ inline u32 key_of(u64 packed) { return static_cast<u32>(packed >> 32); }
__device__ inline int id_of(u64 packed) { return static_cast<int>(~static_cast<u32>(packed)); }

// Weights relative to the row's largest value.
template <class T>
struct Weights {
  float max, scale;

  __device__ u64 operator()(float y) const { return sampling::weight(y, max, scale); }
  // As a share of the largest, finer than the weight.
  __device__ float relative(float y) const { return sampling::relative_probability(y, max, scale); }
  // At most log2 of that share, negated; good for cutting into bins.
  __device__ float octaves_down(float y) const { return -__fmul_rn(__fadd_rn(y, -max), scale); }
};
template <>
struct Weights<Probability> {
  float max, scale;

  __device__ u64 operator()(float p) const { return p > 0.0f ? sampling::probability_weight(p, max) : 0; }
  __device__ float relative(float p) const { return p > 0.0f ? __fdiv_rn(p, max) : 0.0f; }
  // The chord under log2 between powers of two.
  __device__ float octaves_down(float p) const {
    return static_cast<float>(__float_as_int(1.0f) - __float_as_int(__fdiv_rn(p, max))) * 0x1p-23f;
  }
};

// Bins of equal width over the octaves in which the row's weights lie, ascending with the logit.
template <class T>
struct Log2Bins {
  Weights<T> weight;
  float per_octave;

  // least: the lowest value that is not masked.
  __device__ void set(float max, float least, float exponent_scale) {
    weight = {max, exponent_scale};
    const float range = fminf(weight.octaves_down(least), 42.0f);  // below, weights are 0
    per_octave = (kBins - 1) / fmaxf(range, 1e-6f);
  }
  __device__ int bin(float y) const {
    return kBins - 1 - static_cast<int>(fminf(weight.octaves_down(y) * per_octave, kBins - 1.0f));
  }
  // No more tokens than this lie in a bin of that weight. Weights are cut to integers, and at least 1.
  __device__ float max_tokens(const Bin& bin) const {
    const float octaves_down = static_cast<float>(kBins - bin.bin) / per_octave;
    return static_cast<float>(bin.inside) / fmaxf(floorf(exp2f(40.0f - octaves_down) * 0.999f), 1.0f);
  }
};

// The first pass: the row's extent, and where wanted, how many tokens each first digit has.
template <class R>
__device__ CtaGroup::MinMax scan_row(const R& row, CtaGroup& ctas, bool by_count) {
  if (by_count) ctas.clear_histogram();
  CtaGroup::MinMax min_max{0, 0xffffffffu, false};
  const bool invalid = for_each_token_first(row, ctas, [&](int id, float y) {
    const u32 key = order_key(y);
    min_max.flag |= !(y < INFINITY);
    min_max.max = pack(key, id) > min_max.max ? pack(key, id) : min_max.max;
    if (key <= kMaskedKey) return;
    min_max.min = min(min_max.min, key);
    if (by_count) ctas.scratch().histogram.count(key >> kFirstDigit);
  });
  min_max.flag |= invalid;
  ctas.publish_min_max(min_max);
  if (by_count) ctas.publish_histogram();
  ctas.barrier();
  min_max = ctas.read_min_max();
  if (by_count) ctas.read_histogram();
  return min_max;
}

}  // namespace warploom::cuda::device
