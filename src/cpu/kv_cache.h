// Keys and values in host memory, f16 or f32. A block of one layer holds, for each kv head, its keys [head_dim, 16] and its
// values [16, head_dim]: scores then need no sum across lanes, and both are read front to back.
#pragma once

#include <cstddef>

#include "backend/ops.h"
#include "cpu/memory.h"

namespace warploom::cpu {

inline constexpr std::int64_t kKvBlockSize = 16;  // the kernels' vectors are so wide
inline constexpr int kMaxHeadDim = 256;

/// Throws InvalidArgument.
void check_kv_cache_shape(const KvCacheShape& shape);

/// Keys of kv head `head` in block 0 of `layer`; the values follow. Block b is b * block_bytes() further on.
inline std::byte* head_base(const KvCacheView& cache, std::int64_t layer, std::int64_t head) {
  const std::int64_t head_bytes = 2 * cache.head_dim * kKvBlockSize * bytes_of(cache.type);
  return static_cast<std::byte*>(cache.data) + layer * cache.num_blocks * cache.block_stride() * bytes_of(cache.type) +
         head * head_bytes;
}
inline std::size_t block_bytes(const KvCacheView& cache) {
  return static_cast<std::size_t>(cache.block_stride() * bytes_of(cache.type));
}
void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to);

class CpuKvCache final : public KvCache {
 public:
  explicit CpuKvCache(const KvCacheShape& shape);

  const KvCacheShape& shape() const override { return shape_; }
  KvCacheView view() override { return view_; }
  std::uint64_t bytes() const override { return static_cast<std::uint64_t>(view_.bytes()); }

 private:
  KvCacheShape shape_;
  AlignedBytes memory_;
  KvCacheView view_;
};

}  // namespace warploom::cpu
