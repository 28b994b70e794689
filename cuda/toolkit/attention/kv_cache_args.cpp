#include "cuda/toolkit/attention/kv_cache_args.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::int64_t kMaxTokens = std::int64_t{1} << 31;  // positions are 32 bits
constexpr std::int64_t kMaxSequences = 65535;               // a dimension of the grid
constexpr std::int64_t kMaxHeads = 8192;                    // with which a block's bytes fit 32 bits

template <typename T>
void require(bool ok, const std::string& what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

void require_array(const void* pointer, const char* what) { require(pointer != nullptr, what, "null", "device memory"); }

void check_step_shape(const AttentionMetadata& step, std::int64_t block_size) {
  require(step.num_tokens >= 0 && step.num_tokens < kMaxTokens, "metadata.num_tokens", step.num_tokens, "in [0, 2^31)");
  if (step.num_tokens == 0) return;
  require(step.num_seqs >= 1 && step.num_seqs <= kMaxSequences, "metadata.num_seqs", step.num_seqs, "in [1, 65535]");
  require(step.max_blocks_per_seq >= 1 && step.max_blocks_per_seq <= kMaxTokens / block_size, "metadata.max_blocks_per_seq",
          step.max_blocks_per_seq, "at least 1, and of fewer than 2^31 positions");
}

void check_step(const AttentionMetadata& step, std::int64_t block_size) {
  check_step_shape(step, block_size);
  if (step.num_tokens == 0) return;
  require_array(step.positions, "metadata.positions");
  require_array(step.block_tables, "metadata.block_tables");
}

}  // namespace

void check_cache_shape(const KvCacheView& c) {
  require(c.type <= DType::bf16, "cache.type", static_cast<int>(c.type), "f32, f16 or bf16");
  require(c.num_layers >= 1, "cache.num_layers", c.num_layers, "at least 1");
  require(c.num_blocks >= 1 && c.num_blocks < kMaxTokens, "cache.num_blocks", c.num_blocks, "in [1, 2^31)");
  require(c.num_kv_heads >= 1 && c.num_kv_heads <= kMaxHeads, "cache.num_kv_heads", c.num_kv_heads, "in [1, 8192]");
  require(c.max_kv_heads == 0 || (c.max_kv_heads >= c.num_kv_heads && c.max_kv_heads <= kMaxHeads), "cache.max_kv_heads",
          c.max_kv_heads, "0, or in [cache.num_kv_heads, 8192]");
  require(c.head_dim >= 16 && c.head_dim <= 256 && c.head_dim % 16 == 0, "cache.head_dim", c.head_dim,
          "a multiple of 16 in [16, 256]");
  require(c.block_size == 8 || c.block_size == 16 || c.block_size == 32, "cache.block_size", c.block_size, "8, 16 or 32");
  require(c.layout == KvLayout::hnd, "cache.layout", static_cast<int>(c.layout), "KvLayout::hnd on CUDA");
}

void check_cache(const KvCacheView& c) {
  check_cache_shape(c);
  require_array(c.data, "cache.data");
  require(aligned(c.data), "cache.data", fmt::ptr(c.data), "aligned to 16 bytes");
}

void check_layer(const KvCacheView& cache, std::int64_t layer) {
  require(layer >= 0 && layer < cache.num_layers, "layer", layer, "in [0, cache.num_layers)");
}

void check_block(const KvCacheView& cache, std::int64_t block, const char* name) {
  require(block >= 0 && block < cache.num_blocks, name, block, "in [0, cache.num_blocks)");
}

void check_heads(std::int64_t heads, std::int64_t kv_heads) {
  require(heads >= 1 && heads <= kMaxHeads && heads % kv_heads == 0, "num_heads", heads,
          "a multiple of cache.num_kv_heads in [1, 8192]");
}

void check_head_rows(const TensorView& rows, std::int64_t heads, std::int64_t head_dim, const char* name) {
  const std::string of = name;
  require(rows.type <= DType::bf16, of + ".type", static_cast<int>(rows.type), "f32, f16 or bf16");
  require(rows.stride >= heads * head_dim, of + ".stride", rows.stride, "at least num_heads * head_dim");
  require(rows.stride * bytes_of(rows.type) % 16 == 0, of + ".stride", rows.stride, "a multiple of 16 bytes");
  require(rows.data != nullptr, of + ".data", "null", "device memory");
  require(aligned(rows.data), of + ".data", fmt::ptr(rows.data), "aligned to 16 bytes");
}

void check_append(const RopeAppendArgs& a) {
  check_cache(a.cache);
  check_layer(a.cache, a.layer);
  check_heads(a.num_heads, a.cache.num_kv_heads);
  check_step(a.metadata, a.cache.block_size);
  require(a.rope.dims >= 0 && a.rope.dims <= a.cache.head_dim && a.rope.dims % 2 == 0, "rope.dims", a.rope.dims,
          "even, in [0, cache.head_dim]");
  require(std::isfinite(a.rope.mscale), "rope.mscale", a.rope.mscale, "finite");
  if (a.metadata.num_tokens == 0) return;
  require_array(a.metadata.token_to_seq, "metadata.token_to_seq");
  if (a.rope.dims > 0) require_array(a.rope.frequencies, "rope.frequencies");
  check_head_rows(a.queries, a.num_heads, a.cache.head_dim, "queries");
  check_head_rows(a.keys, a.cache.num_kv_heads, a.cache.head_dim, "keys");
  check_head_rows(a.values, a.cache.num_kv_heads, a.cache.head_dim, "values");
}

void check_rounding(bool to_bf16, DType cache) {
  require(!to_bf16 || cache == DType::bf16, "round_to_bf16", to_bf16, "false unless cache.type is bf16");
}

void check_attention_shape(const PagedAttentionArgs& a) {
  check_cache_shape(a.cache);
  check_rounding(a.round_to_bf16, a.cache.type);
  check_heads(a.num_heads, a.cache.num_kv_heads);
  check_step_shape(a.metadata, a.cache.block_size);
  require(a.window >= 0, "window", a.window, "not negative");
  if (a.metadata.num_tokens == 0) return;
  require(a.metadata.num_tokens * a.num_heads < kMaxTokens, "metadata.num_tokens", a.metadata.num_tokens,
          "so few that with their heads they are below 2^31");
  require(a.metadata.max_query_len >= 1 && a.metadata.max_query_len <= a.metadata.num_tokens, "metadata.max_query_len",
          a.metadata.max_query_len, "in [1, metadata.num_tokens]");
  require(a.metadata.num_seqs * a.metadata.max_query_len >= a.metadata.num_tokens, "metadata.max_query_len",
          a.metadata.max_query_len, "as many as the longest of the sequences has");
}

void check_attention(const PagedAttentionArgs& a) {
  check_attention_shape(a);
  check_cache(a.cache);
  check_layer(a.cache, a.layer);
  check_step(a.metadata, a.cache.block_size);
  require(std::isfinite(a.softmax_scale), "softmax_scale", a.softmax_scale, "finite");
  require(a.soft_cap >= 0.0f && std::isfinite(a.soft_cap), "soft_cap", a.soft_cap, "finite and not negative");
  if (a.metadata.num_tokens == 0) return;
  require_array(a.metadata.qo_indptr, "metadata.qo_indptr");
  check_head_rows(a.queries, a.num_heads, a.cache.head_dim, "queries");
  check_head_rows(a.out, a.num_heads, a.cache.head_dim, "out");
}

void check_attention_workspace(const Workspace& workspace, std::size_t needed) {
  require(workspace.bytes >= needed, "workspace.bytes", workspace.bytes, "at least paged_attention_workspace_bytes()");
  require(needed == 0 || workspace.data != nullptr, "workspace.data", "null", "device memory");
  require(aligned(workspace.data), "workspace.data", fmt::ptr(workspace.data), "aligned to 16 bytes");
}

}  // namespace warploom::cuda
