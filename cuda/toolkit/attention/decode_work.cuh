// What the decode kernel has to do for each sequence, and how its blocks share that.
#pragma once

#include "cuda/toolkit/attention/warp_attention.cuh"
#include "cuda/toolkit/attention/work_list.cuh"

namespace warploom::cuda::device {

/// What there is to do for a sequence: `tiles` of up to 16 rows, each over the same groups of chunks, one chunk for each warp.
template <int kWarps>
struct DecodeWork {
  static constexpr int kGroupKeys = kWarps * kChunkKeys, kFoldGroups = kFoldChunks / kWarps;
  StepTokens step;
  KeyRange range;  // of all rows together
  int tiles, first_group, groups;

  DecodeWork() = default;
  __device__ DecodeWork(const PagedAttentionArgs& a, int sequence)
      : step(a, sequence), range(kNoKeys), tiles(0), first_group(0), groups(0) {
    if (step.count == 0 || !step.is_decode()) return;
    for (int t = 0; t < step.count; ++t) range.include(mask_range(a.metadata.positions[step.first + t], a.window));
    tiles = static_cast<int>(a.cache.num_kv_heads) * ceil_div(step.rows, kMmaRows);
    groups = 1;
    if (range.empty()) return;
    first_group = range.first / kGroupKeys;
    groups = range.last / kGroupKeys - first_group + 1;
  }
  __device__ WorkAmount amount() const { return {tiles * groups, tiles}; }
  __device__ int first_fold() const { return first_group / kFoldGroups; }
  __device__ int folds() const { return (first_group + groups - 1) / kFoldGroups - first_fold() + 1; }
};

/// How the blocks share all items: each has a range of them.
struct Shares {
  int items, blocks;

  __device__ int begin(int block) const { return static_cast<int>(std::int64_t{items} * block / blocks); }
  __device__ int block_of(int item) const { return static_cast<int>(((std::int64_t{item} + 1) * blocks - 1) / items); }
};

}  // namespace warploom::cuda::device
