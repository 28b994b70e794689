#include "cuda/kv_cache_args.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "warploom/error.h"

namespace warploom::cuda {

namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;  // positions are 32 bits
constexpr std::int64_t kMostSequences = 65535;               // a dimension of the grid
constexpr std::int64_t kMostHeads = 8192;                    // with which a block's bytes fit 32 bits

template <typename T>
void require(bool ok, const std::string& what, const T& value, const char* bound) {
  if (!ok) throw InvalidArgument(fmt::format("{} is {}; it must be {}", what, value, bound));
}

bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

void require_array(const void* pointer, const char* what) { require(pointer != nullptr, what, "null", "device memory"); }

void check_step_shape(const KvStep& step, std::int64_t block_tokens) {
  require(step.tokens >= 0 && step.tokens < kMostTokens, "step.tokens", step.tokens, "in [0, 2^31)");
  if (step.tokens == 0) return;
  require(step.sequences >= 1 && step.sequences <= kMostSequences, "step.sequences", step.sequences, "in [1, 65535]");
  require(step.table_stride >= 1 && step.table_stride <= kMostTokens / block_tokens, "step.table_stride", step.table_stride,
          "at least 1, and of fewer than 2^31 positions");
}

void check_step(const KvStep& step, std::int64_t block_tokens) {
  check_step_shape(step, block_tokens);
  if (step.tokens == 0) return;
  require_array(step.positions, "step.positions");
  require_array(step.block_tables, "step.block_tables");
}

}  // namespace

void check_cache_shape(const KvCacheView& c) {
  require(c.type <= FloatType::bf16, "cache.type", static_cast<int>(c.type), "a FloatType");
  require(c.layers >= 1, "cache.layers", c.layers, "at least 1");
  require(c.blocks >= 1 && c.blocks < kMostTokens, "cache.blocks", c.blocks, "in [1, 2^31)");
  require(c.kv_heads >= 1 && c.kv_heads <= kMostHeads, "cache.kv_heads", c.kv_heads, "in [1, 8192]");
  require(c.head_dim >= 16 && c.head_dim <= 256 && c.head_dim % 16 == 0, "cache.head_dim", c.head_dim,
          "a multiple of 16 in [16, 256]");
  require(c.block_tokens == 8 || c.block_tokens == 16 || c.block_tokens == 32, "cache.block_tokens", c.block_tokens,
          "8, 16 or 32");
}

void check_cache(const KvCacheView& c) {
  check_cache_shape(c);
  require_array(c.data, "cache.data");
  require(aligned(c.data), "cache.data", fmt::ptr(c.data), "aligned to 16 bytes");
}

void check_layer(const KvCacheView& cache, std::int64_t layer) {
  require(layer >= 0 && layer < cache.layers, "layer", layer, "in [0, cache.layers)");
}

void check_block(const KvCacheView& cache, std::int64_t block, const char* name) {
  require(block >= 0 && block < cache.blocks, name, block, "in [0, cache.blocks)");
}

void check_heads(std::int64_t heads, std::int64_t kv_heads) {
  require(heads >= 1 && heads <= kMostHeads && heads % kv_heads == 0, "heads", heads,
          "a multiple of cache.kv_heads in [1, 8192]");
}

void check_head_rows(const HeadRows& rows, std::int64_t heads, std::int64_t head_dim, const char* name) {
  const std::string of = name;
  require(rows.type <= FloatType::bf16, of + ".type", static_cast<int>(rows.type), "a FloatType");
  require(rows.stride >= heads * head_dim, of + ".stride", rows.stride, "at least heads * head_dim");
  require(rows.stride * bytes_of(rows.type) % 16 == 0, of + ".stride", rows.stride, "a multiple of 16 bytes");
  require(rows.data != nullptr, of + ".data", "null", "device memory");
  require(aligned(rows.data), of + ".data", fmt::ptr(rows.data), "aligned to 16 bytes");
}

void check_append(const RopeAppendArgs& a) {
  check_cache(a.cache);
  check_layer(a.cache, a.layer);
  check_heads(a.heads, a.cache.kv_heads);
  check_step(a.step, a.cache.block_tokens);
  require(a.rope_dims >= 0 && a.rope_dims <= a.cache.head_dim && a.rope_dims % 2 == 0, "rope_dims", a.rope_dims,
          "even, in [0, cache.head_dim]");
  require(std::isfinite(a.attention_scale), "attention_scale", a.attention_scale, "finite");
  if (a.step.tokens == 0) return;
  require_array(a.step.sequence, "step.sequence");
  if (a.rope_dims > 0) require_array(a.frequencies, "frequencies");
  check_head_rows(a.queries, a.heads, a.cache.head_dim, "queries");
  check_head_rows(a.keys, a.cache.kv_heads, a.cache.head_dim, "keys");
  check_head_rows(a.values, a.cache.kv_heads, a.cache.head_dim, "values");
}

void check_attention_shape(const PagedAttentionArgs& a) {
  check_cache_shape(a.cache);
  check_heads(a.heads, a.cache.kv_heads);
  check_step_shape(a.step, a.cache.block_tokens);
  require(a.window >= 0, "window", a.window, "not negative");
  if (a.step.tokens == 0) return;
  require(a.step.tokens * a.heads < kMostTokens, "step.tokens", a.step.tokens,
          "so few that with their heads they are below 2^31");
  require(a.step.most_tokens >= 1 && a.step.most_tokens <= a.step.tokens, "step.most_tokens", a.step.most_tokens,
          "in [1, step.tokens]");
  require(a.step.sequences * a.step.most_tokens >= a.step.tokens, "step.most_tokens", a.step.most_tokens,
          "as many as the longest of the sequences has");
}

void check_attention(const PagedAttentionArgs& a) {
  check_attention_shape(a);
  check_cache(a.cache);
  check_layer(a.cache, a.layer);
  check_step(a.step, a.cache.block_tokens);
  require(std::isfinite(a.scale), "scale", a.scale, "finite");
  require(a.soft_cap >= 0.0f && std::isfinite(a.soft_cap), "soft_cap", a.soft_cap, "finite and not negative");
  if (a.step.tokens == 0) return;
  require_array(a.step.starts, "step.starts");
  check_head_rows(a.queries, a.heads, a.cache.head_dim, "queries");
  check_head_rows(a.out, a.heads, a.cache.head_dim, "out");
}

void check_attention_workspace(const void* workspace, std::size_t bytes, std::size_t needed) {
  require(bytes >= needed, "workspace_bytes", bytes, "at least paged_attention_workspace_bytes()");
  require(needed == 0 || workspace != nullptr, "workspace", "null", "device memory");
  require(aligned(workspace), "workspace", fmt::ptr(workspace), "aligned to 16 bytes");
}

}  // namespace warploom::cuda
