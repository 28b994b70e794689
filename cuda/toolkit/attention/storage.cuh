// Tiles of sixteen keys and values in shared memory, for each type of cache: the width of their rows, and how a warp reads
// the B fragments of its matrix products.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/device/tensor_core.cuh"
#include "cuda/toolkit/attention/key_range.cuh"

namespace warploom::cuda::device {

/// f16 and bf16. The left operands, queries and probabilities, are sums of kParts values: the 8 bits of one bf16 are few, so they
/// are one only if the caller wants that (PagedAttentionArgs::round_to_bf16).
template <class T, int kParts = std::is_same_v<T, __half> ? 1 : 2>
struct HalfStorage {
  using Element = T;
  using Part = T;
  static constexpr int kRightParts = 1;
  static constexpr int kLeftParts = kParts;
  static constexpr int kElementBytes = 2;
  // Padded by 16 bytes to an odd number of 16-byte units, so that the eight rows of a matrix are in different banks.
  __host__ __device__ static constexpr int key_row_bytes(int head_dim) { return 2 * head_dim + 16; }
  __host__ __device__ static constexpr int value_row_bytes(int head_dim) { return 2 * head_dim + 16; }

  /// B fragments for 16 dimensions, starting at `dim`: elements 0, 1 belong to keys 0 to 7, elements 2, 3 to keys 8 to 15.
  static __device__ void keys(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kRightParts][4]) {
    const int lane = threadIdx.x % 32, key = lane % 8 + lane / 16 * 8, part = lane / 8 % 2;
    load_matrices(b[0], shared_address(tile + key * key_row_bytes(head_dim) + 2 * (dim + 8 * part)));
  }
  /// B fragments for all keys: elements 0, 1 belong to dimensions dim to dim + 7, elements 2, 3 to the next eight.
  static __device__ void values(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kRightParts][4]) {
    const int lane = threadIdx.x % 32, key = lane % 16, part = lane / 16;
    load_matrices_transposed(b[0], shared_address(tile + key * value_row_bytes(head_dim) + 2 * (dim + 8 * part)));
  }
};

/// f32 as sums of three bf16, which have 24 bits together.
struct FloatStorage {
  using Element = float;
  using Part = __nv_bfloat16;
  static constexpr int kRightParts = 3;
  static constexpr int kLeftParts = 3;
  static constexpr int kElementBytes = 4;
  // Padded by 8 floats for keys, which are read by rows two at a time, and by 4 for values, which are read by columns one at
  // a time. This avoids bank conflicts.
  __host__ __device__ static constexpr int key_row_bytes(int head_dim) { return 4 * head_dim + 32; }
  __host__ __device__ static constexpr int value_row_bytes(int head_dim) { return 4 * head_dim + 16; }

  static __device__ void keys(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kRightParts][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = lane / 4 + i / 2 * 8, at = dim + lane % 4 * 2 + i % 2 * 8;
      const float2 x = *reinterpret_cast<const float2*>(tile + key * key_row_bytes(head_dim) + 4 * at);
      put_parts(x.x, x.y, b, i);
    }
  }
  static __device__ void values(const char* tile, int head_dim, int dim, std::uint32_t (&b)[kRightParts][4]) {
    const int lane = threadIdx.x % 32, row = value_row_bytes(head_dim);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const char* at = tile + (lane % 4 * 2 + i % 2 * 8) * row + 4 * (dim + lane / 4 + i / 2 * 8);
      put_parts(*reinterpret_cast<const float*>(at), *reinterpret_cast<const float*>(at + row), b, i);
    }
  }

 private:
  static __device__ void put_parts(float low, float high, std::uint32_t (&b)[kRightParts][4], int i) {
    std::uint32_t parts[kRightParts];
    split<Part>(low, high, parts);
#pragma unroll
    for (int p = 0; p < kRightParts; ++p) b[p][i] = parts[p];
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
