// Which keys a row attends to, and where contexts are cut.
#pragma once

#include <climits>
#include <cstdint>

#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda::device {

inline constexpr int kTileKeys = 16;    // multiplied at a time
inline constexpr int kChunkKeys = 128;  // a warp's partial result
inline constexpr int kFoldChunks = 16;  // are merged in order; then folds are
inline constexpr int kFoldKeys = kFoldChunks * kChunkKeys;

/// The keys that a row attends to; none if first > last.
struct alignas(8) KeyRange {
  int first, last;

  __device__ bool empty() const { return first > last; }
  __device__ void include(const KeyRange& other) {
    if (other.empty()) return;
    first = min(first, other.first);
    last = max(last, other.last);
  }
  __device__ KeyRange within(const KeyRange& limit) const { return {max(first, limit.first), min(last, limit.last)}; }
};
inline constexpr KeyRange kNoKeys{INT_MAX, -1};
__device__ inline KeyRange mask_range(std::int32_t position, std::int64_t window) {
  if (position < 0) return kNoKeys;
  return {window > 0 && window <= position ? static_cast<int>(position - window + 1) : 0, position};
}

}  // namespace warploom::cuda::device
