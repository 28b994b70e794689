// Loads and conversions of mma fragments: PTX ISA 9.7.15. With g = l / 4 and t = l % 4, lane l holds rows g and g + 8,
// columns 2t, 2t + 1 and those + 8 of A [16, 16]; rows 2t, 2t + 1 and those + 8, column g of B [16, 8]; and rows g (elements
// 0, 1) and g + 8 (elements 2, 3), columns 2t, 2t + 1 of C [16, 8]. A row of C depends only on the same row of A and on B.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "cuda/device/mma.cuh"

namespace warploom::cuda::device {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Loads four 8 x 8 matrices of 16-bit values; lane 8m + r passes the address of row r of matrix m.
__device__ inline void load_matrices(std::uint32_t (&out)[4], std::uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row_address)
               : "memory");
}
/// The same, each matrix transposed.
__device__ inline void load_matrices_transposed(std::uint32_t (&out)[4], std::uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(row_address)
               : "memory");
}

/// Packs two values into a fragment register; `low` has the lower column or row.
template <class T>
__device__ inline std::uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
}
template <class T>
__device__ inline float2 unpack(std::uint32_t bits) {
  if constexpr (std::is_same_v<T, __half>)
    return __half22float2(*reinterpret_cast<const __half2*>(&bits));
  else
    return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&bits));
}

/// Splits the pair into a sum of kParts pairs of type T, largest first: each part rounds the remainder of the previous one.
template <class T, int kParts>
__device__ inline void split(float low, float high, std::uint32_t (&parts)[kParts]) {
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    parts[i] = pack<T>(low, high);
    const float2 taken = unpack<T>(parts[i]);
    low -= taken.x;
    high -= taken.y;
  }
}

}  // namespace warploom::cuda::device
