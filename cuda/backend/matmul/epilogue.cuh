// Stores the sums of products as an Epilogue says. T: the type of x.
#pragma once

#include <type_traits>

#include "cuda/backend/matmul/epilogue.h"
#include "cuda/device/element.cuh"
#include "cuda/device/swiglu.cuh"

namespace warploom::cuda::device {

/// Of a token that starts at `at` in out.
__device__ inline void store_sum(const Epilogue& to, std::int64_t at, int row, float sum) {
  static_cast<float*>(to.out)[at + row] = to.bias ? sum + to.bias[row] : sum;
}

/// i: of the rows / 2 results.
template <typename T>
__device__ inline void store_gated(const Epilogue& to, std::int64_t at, int i, int rows, float gate, float up) {
  constexpr DType kType = std::is_same_v<T, __half> ? DType::f16 : DType::bf16;
  if (to.bias) gate += to.bias[i], up += to.bias[rows / 2 + i];
  store_element(to.out, kType, at + i, swiglu(gate, up));
}

}  // namespace warploom::cuda::device
