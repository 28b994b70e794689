// What the host can see of the KV cache's arguments.
#pragma once

#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// Each throws InvalidArgument naming the argument, its value and its bound.
void check_cache_shape(const KvCacheView& cache);  // all but its memory
void check_rounding(bool to_bf16, DType cache);
void check_cache(const KvCacheView& cache);
void check_layer(const KvCacheView& cache, std::int64_t layer);
void check_block(const KvCacheView& cache, std::int64_t block, const char* name);
/// heads: how many of head_dim elements a row holds.
void check_head_rows(const TensorView& rows, std::int64_t heads, std::int64_t head_dim, const char* name);
void check_heads(std::int64_t heads, std::int64_t kv_heads);
void check_append(const RopeAppendArgs& args);
void check_attention_shape(const PagedAttentionArgs& args);  // what the workspace's size follows from: no pointers
void check_attention(const PagedAttentionArgs& args);
void check_attention_workspace(const Workspace& workspace, std::size_t needed);

}  // namespace warploom::cuda
