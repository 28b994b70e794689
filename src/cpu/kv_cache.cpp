#include "cpu/kv_cache.h"

#include <cstring>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cpu {

void check_kv_cache_shape(const KvCacheShape& shape) {
  if (shape.num_layers < 1 || shape.num_kv_heads < 1 || shape.head_dim < 1 || shape.head_dim > kMaxHeadDim ||
      shape.num_blocks < 1)
    throw InvalidArgument(fmt::format("KV cache: {} layers, {} heads of {}, {} blocks; heads must be in [1, {}] wide",
                                      shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.num_blocks, kMaxHeadDim));
  if (shape.block_size != kKvBlockSize)
    throw InvalidArgument(
        fmt::format("KV cache: blocks of {} tokens; on the CPU it must be {}", shape.block_size, kKvBlockSize));
  if (shape.type != DType::f16 && shape.type != DType::f32)
    throw InvalidArgument("KV cache: bf16 is not available on the CPU; it must be f16 or f32");
  if (shape.round_attention) throw InvalidArgument("KV cache: round_attention is for caches of bf16, on CUDA");
}

CpuKvCache::CpuKvCache(const KvCacheShape& shape) : shape_(shape) {
  check_kv_cache_shape(shape);
  view_ = {nullptr,        shape.type,       shape.num_layers,         shape.num_blocks, shape.num_kv_heads,
           shape.head_dim, shape.block_size, KvLayout::transposed_keys};
  // The kernels read whole vectors, also of the last values.
  memory_ = allocate_bytes(static_cast<std::size_t>(view_.bytes()) + kKvBlockSize * sizeof(float), "KV cache");
  view_.data = memory_.get();
}

void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to) {
  const std::size_t bytes = block_bytes(cache);
  for (std::int64_t layer = 0; layer < cache.num_layers; ++layer) {
    std::byte* base = head_base(cache, layer, 0);
    std::memmove(base + static_cast<std::size_t>(to) * bytes, base + static_cast<std::size_t>(from) * bytes, bytes);
  }
}

}  // namespace warploom::cpu
