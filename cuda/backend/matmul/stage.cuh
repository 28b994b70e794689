// A stage of products of packed weights in shared memory: 64 inputs of some tokens and of some tile rows, and how a warp multiplies it.
#pragma once

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/tile.cuh"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/tensor_core.cuh"

namespace warploom::cuda::device {

/// Of a stage: x of kTokenTiles token tiles, [tokens][64 inputs], then tiles of weights. Odd tokens have the two halves of their 128 bytes
/// exchanged, so that the lanes of two tokens reach different banks.
inline constexpr int kTokenBytes = kTileInputs * 2;

/// Of kWarpRowTiles tile rows and these token tiles, as mma.sync has them.
template <int kTokenTiles>
using Sums = float[kWarpRowTiles][kTokenTiles][4];

/// Adds the products of one tile of inputs. The warp's tiles are those of tile rows kWarpRowTiles * warp and the next.
template <typename T, int kTokenTiles, typename Reader>
__device__ inline void add_stage(const Reader& reader, const std::byte* stage, int warp, Sums<kTokenTiles>& sum) {
  const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
  const std::byte* tiles = stage + kTokenTiles * kTokenTile * kTokenBytes + kWarpRowTiles * warp * Reader::kTileBytes;
  std::uint32_t a[kWarpRowTiles][4][4];
#pragma unroll
  for (int r = 0; r < kWarpRowTiles; ++r) {
    const std::byte* tile = tiles + r * Reader::kTileBytes;
    reader.decode(reader.load_shared(reader.codes(tile), reader.scales(tile)), a[r]);
  }
  const int odd = g % 2 * (kTokenBytes / 2);
  const std::byte* first = stage + (g * kTokenBytes + 16 * t + odd);
  const std::byte* second = stage + (g * kTokenBytes + 16 * t + (kTokenBytes / 2 - odd));
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) {
    const uint4 low = *reinterpret_cast<const uint4*>(first + j * kTokenTile * kTokenBytes),
                high = *reinterpret_cast<const uint4*>(second + j * kTokenTile * kTokenBytes);
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      mma<T>(sum[r][j], a[r][0], low.x, low.y);
      mma<T>(sum[r][j], a[r][1], low.z, low.w);
      mma<T>(sum[r][j], a[r][2], high.x, high.y);
      mma<T>(sum[r][j], a[r][3], high.z, high.w);
    }
  }
}

/// Waits for this thread's copies of the next of `stages` stages, 2 to kMaxStages, of which all but one are in flight.
__device__ inline void wait_for_stage(int stages) {
  if (stages == 4)
    wait_copy_groups<2>();
  else if (stages == 3)
    wait_copy_groups<1>();
  else
    wait_copy_groups<0>();
}

}  // namespace warploom::cuda::device
