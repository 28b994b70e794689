// Storing activations: numbers in f32 that matrix products will read in 16 bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "warploom/types.h"

namespace warploom::cuda::device {

// To nearest even; what f16 cannot hold becomes its largest number, infinities and NaN stay.
__device__ inline __half to_half(float x) {
  const float magnitude = fabsf(x);
  return __float2half_rn(magnitude > 65504.0f && magnitude < INFINITY ? copysignf(65504.0f, x) : x);
}

__device__ inline unsigned short activation_bits(FloatType type, float x) {
  return type == FloatType::f16 ? __half_as_ushort(to_half(x)) : __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// kWidth neighbouring elements, of which the first is the index'th and, where kWidth is 4, a multiple of 4.
template <int kWidth>
__device__ inline void store_activations(void* to, FloatType type, long long index, const float (&x)[kWidth]) {
  if (type == FloatType::f32) {
    float* out = static_cast<float*>(to) + index;
    if constexpr (kWidth == 4) {
      *reinterpret_cast<float4*>(out) = make_float4(x[0], x[1], x[2], x[3]);
    } else {
      *out = x[0];
    }
    return;
  }
  unsigned short* out = static_cast<unsigned short*>(to) + index;
  if constexpr (kWidth == 4) {
    *reinterpret_cast<ushort4*>(out) = make_ushort4(activation_bits(type, x[0]), activation_bits(type, x[1]),
                                                    activation_bits(type, x[2]), activation_bits(type, x[3]));
  } else {
    *out = activation_bits(type, x[0]);
  }
}

template <int kWidth>
__device__ inline void load_floats(const float* from, float (&x)[kWidth]) {
  if constexpr (kWidth == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
  } else {
    x[0] = *from;
  }
}

template <int kWidth>
__device__ inline void store_floats(float* to, const float (&x)[kWidth]) {
  if constexpr (kWidth == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
  } else {
    *to = x[0];
  }
}

}  // namespace warploom::cuda::device
