#include "cpu/kv_storage.h"

#include <cstring>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom::cpu {

void check_kv_shape(const KvShape& shape) {
  if (shape.layers < 1 || shape.kv_heads < 1 || shape.head_dim < 16 || shape.head_dim % 16 != 0 || shape.blocks < 1)
    throw InvalidArgument(fmt::format("KV cache: {} layers, {} heads of {}, {} blocks; heads must be a multiple of 16 wide",
                                      shape.layers, shape.kv_heads, shape.head_dim, shape.blocks));
  if (shape.block_tokens != kKvBlockTokens)
    throw InvalidArgument(fmt::format("KV cache: blocks of {} tokens; on the CPU it must be {}", shape.block_tokens, kKvBlockTokens));
  if (shape.type != KvType::f16 && shape.type != KvType::f32)
    throw InvalidArgument("KV cache: bf16 is not to be had on the CPU, where it is f16 or f32");
}

CpuKvStorage::CpuKvStorage(const KvShape& shape) : shape_(shape) {
  check_kv_shape(shape);
  head_bytes_ = 2 * static_cast<std::size_t>(shape.head_dim) * kKvBlockTokens * element_bytes();
  block_bytes_ = head_bytes_ * static_cast<std::size_t>(shape.kv_heads);
  layer_bytes_ = block_bytes_ * static_cast<std::size_t>(shape.blocks);
  memory_ = allocate_bytes(layer_bytes_ * static_cast<std::size_t>(shape.layers), "KV cache");
}

void CpuKvStorage::copy_block(std::int32_t from, std::int32_t to) {
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer)
    std::memcpy(head_base(layer, 0) + static_cast<std::size_t>(to) * block_bytes_,
                head_base(layer, 0) + static_cast<std::size_t>(from) * block_bytes_, block_bytes_);
}

}  // namespace warploom::cpu
