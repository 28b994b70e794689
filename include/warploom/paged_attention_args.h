// The arguments of paged attention and of filling its cache: one struct each for the CPU and for CUDA. Pointers are memory of the
// device that computes, valid until the call is done there.
#pragma once

#include <cstdint>

#include "warploom/attention_metadata.h"
#include "warploom/host_device.h"
#include "warploom/types.h"

namespace warploom {

/// How the keys and values of one layer lie in a block.
enum class KvLayout : std::uint8_t {
  hnd,              ///< CUDA's: [2 (keys, values), num_kv_heads, block_size, head_dim]
  transposed_keys,  ///< the CPU's: for each kv head its keys [head_dim, block_size], then its values [block_size, head_dim]
  pairs,  ///< the CPU's in bf16: the same with two of its dimensions in a row of keys, and two tokens in a row of values
  quads,  ///< the CPU's in int8: with four dimensions in a row of keys, four tokens in a row of values, and scales
};

/// Keys and values of every layer: [num_layers, num_blocks, a block of one layer]. A view.
struct KvCacheView {
  void* data = nullptr;  ///< 16-byte aligned
  DType type = DType::f16;
  std::int64_t num_layers = 0;
  std::int64_t num_blocks = 0;
  std::int64_t num_kv_heads = 0;  ///< in [1, 8192]
  std::int64_t head_dim = 0;      ///< maximum 256; on CUDA a multiple of 16, on the CPU even in bf16
  std::int64_t block_size = 16;   ///< 8, 16 or 32; 16 on the CPU
  KvLayout layout = KvLayout::hnd;
  /// Heads that a block has room for, if they are more than num_kv_heads: a layer with fewer heads than others leaves the last
  /// ones out. 0: num_kv_heads.
  std::int64_t max_kv_heads = 0;

  /// Elements from one block of a layer to the next; not for int8, which has scales.
  WARPLOOM_HOST_DEVICE constexpr std::int64_t block_stride() const {
    return 2 * (max_kv_heads > 0 ? max_kv_heads : num_kv_heads) * block_size * head_dim;
  }
  /// Elements from the start to the keys of `head` in `block` of `layer`, in the layout hnd: [block_size, head_dim].
  WARPLOOM_HOST_DEVICE constexpr std::int64_t keys(std::int64_t layer, std::int64_t block, std::int64_t head) const {
    return (layer * num_blocks + block) * block_stride() + head * block_size * head_dim;
  }
  /// The same of the values.
  WARPLOOM_HOST_DEVICE constexpr std::int64_t values(std::int64_t layer, std::int64_t block, std::int64_t head) const {
    return keys(layer, block, head) + block_stride() / 2;
  }
  /// From one block of a layer to the next.
  constexpr std::int64_t block_bytes() const {
    return (max_kv_heads > 0 ? max_kv_heads : num_kv_heads) * block_size * kv_bytes_of(type, head_dim);
  }
  constexpr std::int64_t bytes() const { return num_layers * num_blocks * block_bytes(); }

  bool operator==(const KvCacheView&) const = default;
};

/// Rows of queries, keys, values or results of a batch: [num_tokens, heads, head_dim], rows `stride` elements apart. A view.
struct TensorView {
  void* data = nullptr;  ///< 16-byte aligned, as every row is
  DType type = DType::f32;
  std::int64_t stride = 0;

  bool operator==(const TensorView&) const = default;
};

class RopeTables;

/// Rotary embedding (Su et al. 2021, arXiv:2104.09864).
struct RopeView {
  const double* frequencies = nullptr;  ///< [dims / 2], radians a position
  std::int64_t dims = 0;                ///< leading dimensions of a head that rotate: even, maximum head_dim; 0: none
  bool interleaved = true;              ///< pairs are (2i, 2i + 1), else (i, i + dims / 2)
  float mscale = 1.0f;                  ///< rotated vectors are multiplied by this (YaRN)
  RopeTables* tables = nullptr;  ///< cosines and sines that the library's CPU backend keeps; null for cuda::rope_append()

  bool operator==(const RopeView&) const = default;
};

/// Rotates queries in place, and stores rotated keys and values in the blocks of their tokens. `keys` are undefined afterwards.
struct RopeAppendArgs {
  TensorView queries, keys, values;  ///< f32 on the CPU
  std::int64_t num_heads = 0;
  RopeView rope;
  AttentionMetadata metadata;
  KvCacheView cache;
  std::int64_t layer = 0;

  bool operator==(const RopeAppendArgs&) const = default;
};

/// out = softmax(cap(softmax_scale q K^T)) V over positions 0 to the token's own (its last `window` ones if window > 0), where
/// cap(x) = soft_cap tanh(x / soft_cap) for soft_cap > 0. A row's result does not depend, bit for bit, on the others of the
/// batch, on how its sequence was cut into batches, nor on where its blocks lie; only NaN and infinity in the values of tokens of
/// the same sequence that the mask hides, if they are in the cache, may reach it. Blocks that lie wholly before the window of every
/// row are not read and may have been freed. Padding tokens get zeros.
struct PagedAttentionArgs {
  TensorView queries;  ///< rotated; f32 on the CPU
  std::int64_t num_heads =
      0;  ///< a multiple of num_kv_heads, maximum 8192; head h reads kv head h / (num_heads / num_kv_heads)
  float softmax_scale = 1.0f;
  float soft_cap = 0.0f;
  std::int64_t window = 0;
  AttentionMetadata metadata;
  KvCacheView cache;
  std::int64_t layer = 0;
  TensorView out;         ///< [num_tokens, num_heads, head_dim]; may not alias the queries; f32 on the CPU
  Workspace workspace{};  ///< of cuda::paged_attention_workspace_bytes(); the CPU needs none
  /// For a bf16 cache: true rounds queries and probabilities to bf16 as well, as most kernels do, and halves the work of tensor cores;
  /// false takes each as a sum of two bf16. That changes each element of a query and each
  /// probability by at most 2^-8 of itself, and results of order one by up to some 1e-2; with sums of two it is some 1e-5. The CPU
  /// always rounds.
  bool round_to_bf16 = false;

  bool operator==(const PagedAttentionArgs&) const = default;
};

}  // namespace warploom
