// Sixteen keys and values in shared memory, by the type that the cache stores: how wide their rows are, and how a warp gets
// the fragments of its matrix products from them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/device/tensor_core.cuh"

namespace warploom::cuda::device {

inline constexpr int kTileKeys = 16;

/// f16 and bf16. Queries and probabilities are sums of kLeft parts: bf16's 8 bits are too coarse for one.
template <class T>
struct HalfStorage {
  using Element = T;
  using Part = T;
  static constexpr int kParts = 1;
  static constexpr int kLeft = std::is_same_v<T, __half> ? 1 : 2;
  static constexpr int kElementBytes = 2;
  // 16 bytes more than the data: an odd number of 16 bytes, so that eight rows of a matrix lie in different banks.
  __host__ __device__ static constexpr int key_row_bytes(int head_dim) { return 2 * head_dim + 16; }
  __host__ __device__ static constexpr int value_row_bytes(int head_dim) { return 2 * head_dim + 16; }

  /// B fragments of 16 dimensions from `dim` on: elements 0, 1 of keys 0 to 7, elements 2, 3 of keys 8 to 15.
  static __device__ void keys(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kParts][4]) {
    const int lane = threadIdx.x % 32, key = lane % 8 + lane / 16 * 8, part = lane / 8 % 2;
    load_matrices(b[0], shared_address(tile + key * key_row_bytes(head_dim) + 2 * (dim + 8 * part)));
  }
  /// B fragments of all keys: elements 0, 1 of dimensions dim to dim + 7, elements 2, 3 of the eight after those.
  static __device__ void values(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kParts][4]) {
    const int lane = threadIdx.x % 32, key = lane % 16, part = lane / 16;
    load_matrices_transposed(b[0], shared_address(tile + key * value_row_bytes(head_dim) + 2 * (dim + 8 * part)));
  }
};

/// f32 as sums of three bf16 parts, 24 bits together.
struct FloatStorage {
  using Element = float;
  using Part = __nv_bfloat16;
  static constexpr int kParts = 3;
  static constexpr int kLeft = 3;
  static constexpr int kElementBytes = 4;
  // 8 floats more for keys, which are read two at a time by rows, 4 for values, which are read one at a time by columns: so
  // no two lanes of a phase need different words of a bank.
  __host__ __device__ static constexpr int key_row_bytes(int head_dim) { return 4 * head_dim + 32; }
  __host__ __device__ static constexpr int value_row_bytes(int head_dim) { return 4 * head_dim + 16; }

  static __device__ void keys(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kParts][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = lane / 4 + i / 2 * 8, at = dim + lane % 4 * 2 + i % 2 * 8;
      const float2 x = *reinterpret_cast<const float2*>(tile + key * key_row_bytes(head_dim) + 4 * at);
      take(x.x, x.y, b, i);
    }
  }
  static __device__ void values(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kParts][4]) {
    const int lane = threadIdx.x % 32, row = value_row_bytes(head_dim);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const char* at = tile + (lane % 4 * 2 + i % 2 * 8) * row + 4 * (dim + lane / 4 + i / 2 * 8);
      take(*reinterpret_cast<const float*>(at), *reinterpret_cast<const float*>(at + row), b, i);
    }
  }

 private:
  static __device__ void take(float low, float high, std::uint32_t (&b)[kParts][4], int i) {
    std::uint32_t parts[kParts];
    split<Part>(low, high, parts);
#pragma unroll
    for (int p = 0; p < kParts; ++p) b[p][i] = parts[p];
  }
};

/// Bytes of a tile in shared memory: keys, then values.
template <class S>
__host__ __device__ constexpr int key_tile_bytes(int head_dim) {
  return kTileKeys * S::key_row_bytes(head_dim);
}
template <class S>
__host__ __device__ constexpr int tile_bytes(int head_dim) {
  return kTileKeys * (S::key_row_bytes(head_dim) + S::value_row_bytes(head_dim));
}

}  // namespace warploom::cuda::device
