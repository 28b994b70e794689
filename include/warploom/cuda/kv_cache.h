// A paged KV cache in device memory for applications that run a model of their own: where keys and values lie, appending to it
// with rotary embedding, attention over it, and copies of blocks. Stream-ordered: no allocation, no synchronisation, nothing
// read back; calls can be captured into a CUDA graph. Which sequence holds which block is the caller's affair:
// warploom/kv_blocks.h has a pool and tables for it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "warploom/attention_metadata.h"
#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom::cuda {

/// Keys and values of every layer: [num_layers, num_blocks, 2 (keys, values), num_kv_heads, block_size, head_dim]. A view.
struct KvCacheView {
  void* data = nullptr;  ///< device memory, 16-byte aligned
  DType type = DType::f16;
  std::int64_t num_layers = 0;
  std::int64_t num_blocks = 0;
  std::int64_t num_kv_heads = 0;  ///< in [1, 8192]
  std::int64_t head_dim = 0;      ///< a multiple of 16, at most 256
  std::int64_t block_size = 16;   ///< 8, 16 or 32

  /// Elements from one block of a layer to the next.
  __host__ __device__ constexpr std::int64_t block_stride() const { return 2 * num_kv_heads * block_size * head_dim; }
  /// Elements from the start to the keys of `head` in `block` of `layer`: [block_size, head_dim].
  __host__ __device__ constexpr std::int64_t keys(std::int64_t layer, std::int64_t block, std::int64_t head) const {
    return (layer * num_blocks + block) * block_stride() + head * block_size * head_dim;
  }
  /// The same of the values.
  __host__ __device__ constexpr std::int64_t values(std::int64_t layer, std::int64_t block, std::int64_t head) const {
    return keys(layer, block, head) + num_kv_heads * block_size * head_dim;
  }
  constexpr std::int64_t bytes() const { return num_layers * num_blocks * block_stride() * bytes_of(type); }
};

/// Rows of queries, keys or values of a step: [num_tokens, num_heads, head_dim], rows `stride` elements apart. Device memory.
struct TensorView {
  void* data = nullptr;  ///< 16-byte aligned, as every row is
  DType type = DType::f32;
  std::int64_t stride = 0;
};

/// Rotates queries in place (Su et al. 2021, arXiv:2104.09864), and stores rotated keys and values at their tokens' places.
struct RopeAppendArgs {
  TensorView queries, keys, values;
  std::int64_t num_heads = 0;
  const double* frequencies = nullptr;  ///< [rope_dims / 2], radians a position; device memory
  std::int64_t rope_dims = 0;           ///< leading dimensions of a head that rotate: even, at most head_dim; 0: none
  bool interleaved = true;              ///< pairs are (2i, 2i + 1), else (i, i + rope_dims / 2)
  float mscale = 1.0f;                  ///< rotated vectors are multiplied by this (YaRN)
  AttentionMetadata metadata;
  KvCacheView cache;
  std::int64_t layer = 0;
};

/// out = softmax(cap(softmax_scale q K^T)) V over positions 0 to the token's own (its last `window` ones where window > 0), where
/// cap(x) = soft_cap tanh(x / soft_cap) for soft_cap > 0. A row's result does not depend, bit for bit, on the others of the step,
/// on how its sequence was cut into steps, nor on where its blocks lie; only NaN and infinity in values of the sequence's next
/// tokens, where those are in the cache already, may reach it. Blocks that end before the window of every row may be gone. Padding
/// tokens get zeros.
struct PagedAttentionArgs {
  TensorView queries;
  std::int64_t num_heads =
      0;  ///< a multiple of num_kv_heads, at most 8192; query head h reads kv head h / (num_heads / num_kv_heads)
  float softmax_scale = 1.0f;
  float soft_cap = 0.0f;
  std::int64_t window = 0;
  AttentionMetadata metadata;
  KvCacheView cache;
  std::int64_t layer = 0;
  TensorView out;  ///< [num_tokens, num_heads, head_dim]; may not alias the queries
};

/// How many bytes at the start of paged_attention()'s workspace must be zero: its counters.
inline constexpr std::size_t kAttentionZeroBytes = 1024;

// These throw InvalidArgument for what the host can see to be out of range, BackendError where a launch or a copy fails.

WARPLOOM_EXPORT void rope_append(const RopeAppendArgs& args, cudaStream_t stream);
/// workspace: device memory, 16-byte aligned, of paged_attention_workspace_bytes(); calls that may run at once need one each.
/// Its first kAttentionZeroBytes (or as many as it has) are zero before the first call; every call leaves them so. The rest may
/// hold anything. One launch, and one more where some of several sequences have more than one token.
WARPLOOM_EXPORT void paged_attention(const PagedAttentionArgs& args, void* workspace, std::size_t workspace_bytes,
                                     cudaStream_t stream);
/// Enough for every step of at most these tokens, sequences, max_query_len and max_blocks_per_seq; 0 where none is needed. Looks at
/// shapes and counts alone: pointers may be null yet.
WARPLOOM_EXPORT std::size_t paged_attention_workspace_bytes(const PagedAttentionArgs& args);

/// Copies block `from` to block `to` in every layer: what copy-on-write takes.
WARPLOOM_EXPORT void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to, cudaStream_t stream);

}  // namespace warploom::cuda
