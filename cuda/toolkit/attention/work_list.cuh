// Finds a block's work from lengths that only the device knows: every block sums the work of all sequences, then looks up its
// own part. So a step is one launch whatever its sequences' lengths, and a replayed graph follows them.
#pragma once

#include <cstdint>

#include "core/divide.h"
#include "cuda/toolkit/attention/key_range.cuh"
#include "cuda/toolkit/attention/launch.h"

namespace warploom::cuda::device {

/// A sequence's tokens in the step. A row is a query head of a token; a kv head's rows are ordered by token.
struct StepTokens {
  int first, count, rows;

  StepTokens() = default;
  __device__ StepTokens(const PagedAttentionArgs& a, int sequence)
      : first(a.metadata.qo_indptr[sequence]),
        count(a.metadata.qo_indptr[sequence + 1] - first),
        rows(count * static_cast<int>(a.num_heads / a.cache.num_kv_heads)) {}
  __device__ bool is_decode() const { return count == 1 || rows <= kMaxDecodeRows; }
};

/// The rows of a sequence and kv head, from row `first` on.
struct HeadRows {
  int first_token, group, head, first;

  __device__ int token(int row) const { return first_token + (first + row) / group; }
  __device__ std::int64_t element(const TensorView& of, int row, int head_dim) const {
    return token(row) * of.stride + std::int64_t{head + (first + row) % group} * head_dim;
  }
};

/// Where an item of work is: `item` items after the first one of `sequence`, before which there are `tiles` tiles.
struct WorkPlace {
  int sequence, item, tiles;
};

/// An amount of work: items, and tiles of rows that they belong to.
struct WorkAmount {
  int items = 0, tiles = 0;

  __device__ std::uint64_t packed() const {
    return static_cast<std::uint64_t>(tiles) << 32 | static_cast<std::uint32_t>(items);
  }
};

/// The work of all sequences in order. In shared memory.
template <int kThreads>
struct WorkList {
  std::uint64_t before[kThreads + 1];  // a thread's sequences: packed amounts
  std::uint64_t of_warp[kThreads / 32];

  /// All threads must call it. amount(sequence): its WorkAmount.
  template <class Amount>
  __device__ void sum(int sequences, Amount&& amount) {
    const int each = ceil_div(sequences, kThreads), thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    std::uint64_t sum = 0;
    for (int s = thread * each; s < min(thread * each + each, sequences); ++s) sum += amount(s).packed();
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const std::uint64_t left = __shfl_up_sync(0xffffffffu, sum, distance);
      if (lane >= distance) sum += left;
    }
    if (lane == 31) of_warp[warp] = sum;
    __syncthreads();  // all warps' sums are there
    for (int w = 0; w < warp; ++w) sum += of_warp[w];
    before[thread + 1] = sum;
    if (thread == 0) before[0] = 0;
    __syncthreads();  // the list is complete
  }
  __device__ int items() const { return static_cast<int>(before[kThreads]); }

  /// Finds item `at` < items().
  template <class Amount>
  __device__ WorkPlace find(int at, int sequences, Amount&& amount) const {
    int thread = 0;
    for (int step = kThreads / 2; step > 0; step /= 2)
      if (static_cast<int>(before[thread + step]) <= at) thread += step;
    WorkPlace place{thread * ceil_div(sequences, kThreads), at - static_cast<int>(before[thread]),
                    static_cast<int>(before[thread] >> 32)};
    for (WorkAmount next = amount(place.sequence); place.item >= next.items; next = amount(++place.sequence))
      place.item -= next.items, place.tiles += next.tiles;
    return place;
  }
};

}  // namespace warploom::cuda::device
