// Kernels that visit every token once more when the draw is done: their tiles, and which tokens are kept.
#pragma once

#include "cuda/toolkit/sampling/plan.cuh"
#include "cuda/toolkit/sampling/request.h"

namespace warploom::cuda::device {

inline constexpr int kTile = 16 * kThreads;  // neighbouring tokens of one row

__host__ __device__ inline u32 row_tiles(std::int64_t vocab_size) {
  return static_cast<u32>((vocab_size + kTile - 1) / kTile);
}
inline std::int64_t all_tiles(const SampleArgs& a) { return a.rows * row_tiles(a.vocab_size); }

template <class T>
struct Kept {
  Weights<T> weight;
  Cut cut;
  u64 least;

  __device__ explicit Kept(const RowRecord& record)
      : weight{record.max, record.scale}, cut{record.key, record.id}, least(record.least) {}
  // With min-p off a weight of 0 is not kept by a draw, yet it has its share of a row of probabilities.
  __device__ bool keep(int id, float y) const {
    return cut.keeps(order_key(y), static_cast<u32>(id)) && (least == 1 || weight(y) >= least);
  }
  __device__ bool draws(int id, float y) const {
    return cut.keeps(order_key(y), static_cast<u32>(id)) && weight(y) >= least;
  }
};

}  // namespace warploom::cuda::device
