// Keys and values in host memory, f16 or f32. A block of one layer holds, for each kv head, its keys [head_dim, 16] and its values
// [16, head_dim]: scores then need no sum across lanes, and both are read front to back.
#pragma once

#include <cstddef>

#include "cpu/pack.h"

namespace warploom::cpu {

inline constexpr std::int64_t kKvBlockSize = 16;  // the kernels' vectors are so wide

/// Throws InvalidArgument.
void check_kv_cache_shape(const KvCacheShape& shape);

class CpuKvCache final : public KvCache {
 public:
  explicit CpuKvCache(const KvCacheShape& shape);

  const KvCacheShape& shape() const override { return shape_; }
  std::uint64_t bytes() const override { return layer_bytes_ * static_cast<std::size_t>(shape_.num_layers); }

  std::size_t element_bytes() const { return shape_.type == DType::f16 ? 2 : 4; }
  /// Distance from one block to the next within a layer.
  std::size_t block_stride() const { return block_bytes_; }
  /// Keys of kv head `head` in block 0 of `layer`.
  std::byte* head_base(std::int64_t layer, std::int64_t head) {
    return memory_.get() + static_cast<std::size_t>(layer) * layer_bytes_ + static_cast<std::size_t>(head) * head_bytes_;
  }
  const std::byte* head_base(std::int64_t layer, std::int64_t head) const {
    return const_cast<CpuKvCache*>(this)->head_base(layer, head);
  }
  void copy_block(std::int32_t from, std::int32_t to);

 private:
  KvCacheShape shape_;
  std::size_t head_bytes_ = 0;  // keys and values of one head in one block
  std::size_t block_bytes_ = 0;
  std::size_t layer_bytes_ = 0;
  AlignedBytes memory_;
};

}  // namespace warploom::cpu
