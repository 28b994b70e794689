// Partial results of rows in the workspace: of chunks if a fold is computed by several blocks, of folds if a context has
// several.
#pragma once

#include "cuda/toolkit/attention/softmax_state.cuh"

namespace warploom::cuda::device {

/// Four neighbouring values of a row, not divided by the sum yet.
struct PartialFour {
  SoftmaxState state;
  float4 values{0.0f, 0.0f, 0.0f, 0.0f};

  __device__ void merge_in(const PartialFour& other) {
    const RescaleFactors rescale = merge(state, other.state);
    values = {merge_value(rescale, values.x, other.values.x), merge_value(rescale, values.y, other.values.y),
              merge_value(rescale, values.z, other.values.z), merge_value(rescale, values.w, other.values.w)};
  }
  __device__ float4 result() const {
    return {finish_value(values.x, state.sum), finish_value(values.y, state.sum), finish_value(values.z, state.sum),
            finish_value(values.w, state.sum)};
  }
};

/// Merges get(0), get(1), ...
__device__ inline PartialFour merge_in_order(int count, auto&& get) {
  PartialFour merged;
#pragma unroll 4
  for (int i = 0; i < count; ++i) merged.merge_in(get(i));
  return merged;
}

/// Slots, each with states [rows], padded to 16 bytes, and values [rows, head_dim].
struct Partials {
  float* data;
  int rows, head_dim;

  __host__ __device__ static constexpr std::int64_t slot_floats(std::int64_t rows, std::int64_t head_dim) {
    return (2 * rows + 3) / 4 * 4 + rows * head_dim;
  }
  __device__ SoftmaxState* states(int slot) const {
    return reinterpret_cast<SoftmaxState*>(data + slot * slot_floats(rows, head_dim));
  }
  __device__ float* values(int slot, int row) const {
    return data + slot * slot_floats(rows, head_dim) + (2 * rows + 3) / 4 * 4 + row * head_dim;
  }
  /// Stores four values; those that begin a row also store its state.
  __device__ void put(int slot, int row, int dim, const PartialFour& x) const {
    if (dim == 0) states(slot)[row] = x.state;
    *reinterpret_cast<float4*>(values(slot, row) + dim) = x.values;
  }
  __device__ PartialFour get(int slot, int row, int dim) const {
    const float2 state = __ldcg(reinterpret_cast<const float2*>(states(slot) + row));
    return {{state.x, state.y}, __ldcg(reinterpret_cast<const float4*>(values(slot, row) + dim))};
  }
  /// Merges `count` neighbouring slots in order.
  __device__ PartialFour merge_slots(int first, int count, int row, int dim) const {
    return merge_in_order(count, [&](int i) { return get(first + i, row, dim); });
  }
};

/// Calls f(row, dim) for every four values of `rows` rows, by `threads` threads.
__device__ inline void for_each_four(int rows, int head_dim, int thread, int threads, auto&& f) {
  const int vectors = head_dim / 4;
  for (int i = thread; i < rows * vectors; i += threads) f(i / vectors, i % vectors * 4);
}

/// True in the block that arrives last of `count` arrivals; then what the others wrote before they arrived can be read. The
/// counter is 0 before the first arrival and after the last.
__device__ inline bool arrives_last(unsigned* counter, int count) {
  __shared__ bool last;
  __threadfence();  // what the block wrote is visible before the count
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicInc(counter, static_cast<unsigned>(count - 1)) == static_cast<unsigned>(count - 1);  // wraps to 0
    __threadfence();  // other blocks' results are read after the count
  }
  __syncthreads();
  return last;
}

}  // namespace warploom::cuda::device
