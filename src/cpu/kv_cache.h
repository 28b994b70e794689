// Keys and values in host memory. A block of one layer holds, for each kv head, its keys [head_dim, 16] and its values
// [16, head_dim]: scores then need no sum across lanes, and both are read front to back.
//
// In bf16 a lane holds a pair: keys are [head_dim / 2, 16, 2], values [8, head_dim, 2], the second of a pair in the upper half of 32
// bits. Row 2 j has the dimensions or tokens 4 j (upper) and 4 j + 2, row 2 j + 1 has 4 j + 1 (upper) and 4 j + 3: instructions that
// multiply pairs, the upper one first, walk the even and the odd ones in order. If head_dim is no multiple of 4, the last row of the
// keys has the last two dimensions, the even one in the upper half.
//
// In int8 a lane holds four codes, as products of bytes take them: keys are [head_dim / 4, 16, 4], plus 128, so that they are unsigned,
// values [4, head_dim, 4]. Keys, their scales [head_dim / 32, 16], values and their scales [16] follow one another; numbers of
// dimensions are rounded up. Codes of missing dimensions are undefined: those of queries are 0.
#pragma once

#include <cstddef>

#include "backend/ops.h"
#include "cpu/kernels.h"
#include "cpu/memory.h"

namespace warploom::cpu {

inline constexpr std::int64_t kKvBlockSize = 16;  // the kernels' vectors are so wide
inline constexpr int kMaxHeadDim = 256;

/// Throws InvalidArgument.
void check_kv_cache_shape(const KvCacheShape& shape);

/// Keys of kv head `head` in block 0 of `layer`; the values follow. Block b is b * block_bytes() further on.
inline std::byte* head_base(const KvCacheView& cache, std::int64_t layer, std::int64_t head) {
  return static_cast<std::byte*>(cache.data) + layer * cache.num_blocks * cache.block_bytes() +
         head * kKvBlockSize * kv_bytes_of(cache.type, cache.head_dim);
}
inline std::size_t block_bytes(const KvCacheView& cache) { return static_cast<std::size_t>(cache.block_bytes()); }
/// Puts a token's key and value, [head_dim] and rounded to bf16, into slot `slot` of the keys and values at `block`.
void store_bf16(const float* key, const float* value, std::int64_t head_dim, std::int64_t slot, std::byte* block);
/// The same of int8, for a key in groups of kInt8Group and a value with one scale.
void store_int8(const Int8Head& key, const Int8Head& value, std::int64_t head_dim, std::int64_t slot, std::byte* block);
Int8Block int8_block(std::int64_t head_dim);
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
