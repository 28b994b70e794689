#include "cpu/kv_cache.h"

#include <cstring>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cpu {

void check_kv_cache_shape(const KvCacheShape& shape) {
  if (shape.num_layers < 1 || shape.num_kv_heads < 1 || shape.head_dim < 16 || shape.head_dim % 16 != 0 ||
      shape.num_blocks < 1)
    throw InvalidArgument(fmt::format("KV cache: {} layers, {} heads of {}, {} blocks; heads must be a multiple of 16 wide",
                                      shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.num_blocks));
  if (shape.block_size != kKvBlockSize)
    throw InvalidArgument(
        fmt::format("KV cache: blocks of {} tokens; on the CPU it must be {}", shape.block_size, kKvBlockSize));
  if (shape.type != DType::f16 && shape.type != DType::f32)
    throw InvalidArgument("KV cache: bf16 is not to be had on the CPU, where it is f16 or f32");
}

CpuKvCache::CpuKvCache(const KvCacheShape& shape) : shape_(shape) {
  check_kv_cache_shape(shape);
  head_bytes_ = 2 * static_cast<std::size_t>(shape.head_dim) * kKvBlockSize * element_bytes();
  block_bytes_ = head_bytes_ * static_cast<std::size_t>(shape.num_kv_heads);
  layer_bytes_ = block_bytes_ * static_cast<std::size_t>(shape.num_blocks);
  memory_ = allocate_bytes(layer_bytes_ * static_cast<std::size_t>(shape.num_layers), "KV cache");
}

void CpuKvCache::copy_block(std::int32_t from, std::int32_t to) {
  for (std::int64_t layer = 0; layer < shape_.num_layers; ++layer)
    std::memcpy(head_base(layer, 0) + static_cast<std::size_t>(to) * block_bytes_,
                head_base(layer, 0) + static_cast<std::size_t>(from) * block_bytes_, block_bytes_);
}

}  // namespace warploom::cpu
