// Loads and stores one or four neighbouring elements of a row.
#pragma once

#include "cuda/device/element.cuh"

namespace warploom::cuda::device {

/// kWidth (1 or 4) elements, starting at `index`, a multiple of kWidth.
template <int kWidth>
__device__ inline void load_some(const float* from, std::int64_t index, float (&x)[kWidth]) {
  if constexpr (kWidth == 4) {
    const float4 v = load_four(from, DType::f32, index);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
  } else {
    x[0] = from[index];
  }
}
template <int kWidth>
__device__ inline void store_some(void* to, DType type, std::int64_t index, const float (&x)[kWidth]) {
  if constexpr (kWidth == 4) {
    store_four(to, type, index, {x[0], x[1], x[2], x[3]});
  } else {
    store_element(to, type, index, x[0]);
  }
}

}  // namespace warploom::cuda::device
