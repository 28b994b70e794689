// Elements whose type is chosen at run time: f32, f16 or bf16 in memory, f32 in registers. Narrowing rounds to nearest even.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/device/tensor_core.cuh"
#include "warploom/types.h"

namespace warploom::cuda::device {

inline constexpr float kMaxHalf = 65504.0f;

/// Clamps to the finite range of f16. NaN stays NaN.
__device__ inline float saturate_half(float x) { return x > kMaxHalf ? kMaxHalf : x < -kMaxHalf ? -kMaxHalf : x; }

template <class T>
__device__ inline std::uint32_t pack_saturated(float low, float high) {
  if constexpr (std::is_same_v<T, __half>)
    return pack<T>(saturate_half(low), saturate_half(high));
  else
    return pack<T>(low, high);
}

__device__ inline float load_element(const void* data, DType type, std::int64_t at) {
  if (type == DType::f32) return static_cast<const float*>(data)[at];
  if (type == DType::f16) return __half2float(static_cast<const __half*>(data)[at]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[at]);
}
__device__ inline void store_element(void* data, DType type, std::int64_t at, float x) {
  if (type == DType::f32)
    static_cast<float*>(data)[at] = x;
  else if (type == DType::f16)
    static_cast<__half*>(data)[at] = __float2half_rn(saturate_half(x));
  else
    static_cast<__nv_bfloat16*>(data)[at] = __float2bfloat16_rn(x);
}

/// Two neighbours, `at` even.
__device__ inline float2 load_pair(const void* data, DType type, std::int64_t at) {
  if (type == DType::f32) return static_cast<const float2*>(data)[at / 2];
  const std::uint32_t bits = static_cast<const std::uint32_t*>(data)[at / 2];
  return type == DType::f16 ? unpack<__half>(bits) : unpack<__nv_bfloat16>(bits);
}

/// Loads into x, which stays as it is unless `valid`. Predicated: behind branches, each load would wait for the one before.
__device__ inline void load_if(bool valid, const float2* at, float2& x) {
  asm volatile("{.reg .pred p; setp.ne.s32 p, %3, 0; @p ld.global.v2.f32 {%0,%1}, [%2];}"
               : "+f"(x.x), "+f"(x.y)
               : "l"(at), "r"(static_cast<int>(valid)));
}
__device__ inline void load_if(bool valid, const std::uint32_t* at, std::uint32_t& x) {
  asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; @p ld.global.u32 %0, [%1];}"
               : "+r"(x)
               : "l"(at), "r"(static_cast<int>(valid)));
}

/// Four neighbours, `at` a multiple of 4, the data 16-byte aligned.
__device__ inline float4 load_four(const void* data, DType type, std::int64_t at) {
  if (type == DType::f32) return static_cast<const float4*>(data)[at / 4];
  const uint2 bits = static_cast<const uint2*>(data)[at / 4];
  const float2 a = type == DType::f16 ? unpack<__half>(bits.x) : unpack<__nv_bfloat16>(bits.x);
  const float2 b = type == DType::f16 ? unpack<__half>(bits.y) : unpack<__nv_bfloat16>(bits.y);
  return {a.x, a.y, b.x, b.y};
}
__device__ inline void store_four(void* data, DType type, std::int64_t at, float4 x) {
  if (type == DType::f32)
    static_cast<float4*>(data)[at / 4] = x;
  else if (type == DType::f16)
    static_cast<uint2*>(data)[at / 4] = {pack_saturated<__half>(x.x, x.y), pack_saturated<__half>(x.z, x.w)};
  else
    static_cast<uint2*>(data)[at / 4] = {pack<__nv_bfloat16>(x.x, x.y), pack<__nv_bfloat16>(x.z, x.w)};
}

}  // namespace warploom::cuda::device
