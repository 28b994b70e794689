#include "cpu/kv_cache.h"

#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "core/divide.h"
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
  if (shape.type == DType::bf16 && shape.head_dim % 2 != 0)
    throw InvalidArgument(fmt::format("KV cache: heads of {} in bf16; on the CPU they must be even then", shape.head_dim));
  if (shape.round_attention && shape.type != DType::bf16)
    throw InvalidArgument("KV cache: round_attention is for caches of bf16");
}

CpuKvCache::CpuKvCache(const KvCacheShape& shape) : shape_(shape) {
  check_kv_cache_shape(shape);
  view_ = {nullptr,
           shape.type,
           shape.num_layers,
           shape.num_blocks,
           shape.num_kv_heads,
           shape.head_dim,
           shape.block_size,
           shape.type == DType::bf16   ? KvLayout::pairs
           : shape.type == DType::int8 ? KvLayout::quads
                                       : KvLayout::transposed_keys};
  // The kernels read whole vectors, also of the last values.
  memory_ = allocate_bytes(static_cast<std::size_t>(view_.bytes()) + kKvBlockSize * sizeof(float), "KV cache");
  view_.data = memory_.get();
}

void store_bf16(const float* key, const float* value, std::int64_t head_dim, std::int64_t slot, std::byte* block) {
  const auto upper = [](float x) { return std::bit_cast<std::uint32_t>(x); };
  const auto lower = [](float x) { return std::bit_cast<std::uint32_t>(x) >> 16; };
  auto* keys = reinterpret_cast<std::uint32_t*>(block);
  std::uint32_t* row = keys + slot;
  std::int64_t d = 0;
  for (; d + 4 <= head_dim; d += 4, row += 2 * kKvBlockSize) {
    row[0] = upper(key[d]) | lower(key[d + 2]);
    row[kKvBlockSize] = upper(key[d + 1]) | lower(key[d + 3]);
  }
  if (d < head_dim) row[0] = upper(key[d]) | lower(key[d + 1]);
  // Other threads may write the other half of a pair.
  auto* values = reinterpret_cast<std::uint16_t*>(keys + head_dim * kKvBlockSize / 2);
  std::uint16_t* out = values + 2 * head_dim * (slot / 4 * 2 + slot % 2) + (slot % 4 < 2 ? 1 : 0);
  for (d = 0; d < head_dim; ++d) out[2 * d] = static_cast<std::uint16_t>(lower(value[d]));
}

Int8Block int8_block(std::int64_t head_dim) {
  const std::int64_t codes = ceil_div(head_dim, std::int64_t{4}) * 4 * kKvBlockSize,
                     scales = kKvBlockSize * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t values = codes + ceil_div(head_dim, std::int64_t{kInt8Group}) * scales;
  return {static_cast<int>(codes), static_cast<int>(values), static_cast<int>(values + codes)};
}

void store_int8(const Int8Head& key, const Int8Head& value, std::int64_t head_dim, std::int64_t slot, std::byte* block) {
  constexpr std::uint32_t kUnsigned = 0x80808080;  // adds 128 to each of four bytes
  const Int8Block at = int8_block(head_dim);
  auto* keys = reinterpret_cast<std::uint32_t*>(block) + slot;
  for (std::int64_t d = 0; d < head_dim; d += 4, keys += kKvBlockSize) {
    std::memcpy(keys, key.codes + d, sizeof *keys);
    *keys ^= kUnsigned;
  }
  auto* key_scales = reinterpret_cast<float*>(block + at.key_scales) + slot;
  for (std::int64_t g = 0; g * kInt8Group < head_dim; ++g) key_scales[g * kKvBlockSize] = key.scales[g];
  // Other threads may write the bytes beside.
  auto* values = reinterpret_cast<std::int8_t*>(block + at.values) + slot / 4 * 4 * head_dim + slot % 4;
  for (std::int64_t d = 0; d < head_dim; ++d) values[4 * d] = value.codes[d];
  reinterpret_cast<float*>(block + at.value_scales)[slot] = value.scales[0];
}

void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to) {
  const std::size_t bytes = block_bytes(cache);
  for (std::int64_t layer = 0; layer < cache.num_layers; ++layer) {
    std::byte* base = head_base(cache, layer, 0);
    std::memmove(base + static_cast<std::size_t>(to) * bytes, base + static_cast<std::size_t>(from) * bytes, bytes);
  }
}

}  // namespace warploom::cpu
