// Tensor core products, and operations on the pairs of 16-bit floats that they take.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace warploom::cuda::device {

/// D[16, 8] += A[16, 16] B[16, 8] with f32 sums. In lane l, with g = l / 4 and t = l % 4: a0 and a1 are rows g and g + 8 at
/// k = 2 t and 2 t + 1, a2 and a3 the same rows at k + 8; b0 and b1 are column g at those k; d0 and d1 are row g, columns 2
/// t and 2 t + 1, d2 and d3 the same columns of row g + 8. PTX ISA 9.7.15.5.8.
template <typename T>
__device__ inline void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, __nv_bfloat16>);
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

/// Makes the compiler keep a value in a register instead of recomputing it at each use.
__device__ inline std::uint32_t kept(std::uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}

/// (a & mask) | bits in one instruction.
template <std::uint32_t kMask, std::uint32_t kBits>
__device__ inline std::uint32_t and_or(std::uint32_t a) {
  std::uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "n"(kMask), "n"(kBits));
  return d;
}
/// Selects bytes of `a` (0 to 3) and kOther (4 to 7) by the hexadecimal digits of kSelector.
template <std::uint32_t kOther, std::uint32_t kSelector>
__device__ inline std::uint32_t bytes_of(std::uint32_t a) {
  std::uint32_t d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "n"(kOther), "n"(kSelector));
  return d;
}

// Arithmetic on pairs of f16; each result is rounded once.
__device__ inline std::uint32_t sub_pairs(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ inline std::uint32_t fma_pairs(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ inline std::uint32_t mul_pairs(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
/// Two f32 as a pair of bf16, `low` in the low half.
__device__ inline std::uint32_t bfloat_pair(float low, float high) {
  std::uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
__device__ inline float low_half_as_float(std::uint32_t pair) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(pair)));
}

}  // namespace warploom::cuda::device
