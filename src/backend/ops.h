// The ops of a transformer step: one struct of arguments each. Shapes, layout, aliasing and limits are written here, once;
// both backends implement every op and tests read the contract here. Pointers are memory of the backend that runs the op.
//
// Glossary: tokens = rows of this step over all sequences; dim = width of the residual stream; heads, kv_heads, head_dim;
// block = block_size tokens of KV cache; activations = what matrix products read, elements of Backend::activation_type().
// Arrays start on 16-byte boundaries; rows follow one another without gaps. Every row's result depends on that row's own inputs alone, bit for bit (on CUDA with CudaOptions::deterministic).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "warploom/attention_metadata.h"
#include "warploom/sampling.h"

namespace warploom {

/// Owner of device memory. Move-only.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual std::size_t bytes() const = 0;
};

/// A weight in the layout that its backend's kernels want. Made by Backend::load_weight, owned by the caller.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual std::int64_t rows() const = 0;    // outputs
  virtual std::int64_t cols() const = 0;    // inputs
  virtual std::uint64_t bytes() const = 0;  // as kept
};

/// Device memory for the keys and values of every layer, in blocks. Its layout is the backend's own.
struct KvCacheShape {
  std::int64_t num_layers = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_blocks = 0;
  DType type = DType::f16;
  std::int64_t block_size = 16;
};
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual const KvCacheShape& shape() const = 0;
  virtual std::uint64_t bytes() const = 0;
};

/// How positions turn into angles.
struct RopeParams {
  std::int64_t dims = 0;  // leading dimensions of a head that rotate; even, <= head_dim
  float base = 10000.0f;
  float frequency_scale = 1.0f;             // linear scaling: angles are multiplied by this
  float mscale = 1.0f;                      // YaRN: rotated vectors are multiplied by this
  float yarn_ext_factor = 0.0f;             // YaRN: 0 interpolates everywhere, 1 applies the ramp below
  float yarn_low = 0.0f, yarn_high = 0.0f;  // YaRN: the ramp's first and last pair
  bool interleaved = true;                  // pairs are (2i, 2i+1), as GGUF's llama stores them; else (i, i + dims/2)
};

/// Rope parameters as a backend's kernels want them. Made by Backend::load_rope, owned by the caller.
class RopeTables {
 public:
  virtual ~RopeTables() = default;
};
/// Radians a position of each pair, [dims / 2]. factors: [dims / 2] or null.
std::vector<double> rope_frequencies(const RopeParams& params, const float* factors);

/// out[t] = row ids[t] of the table, as f32. [tokens, hidden_size].
struct EmbedArgs {
  const Weight* table = nullptr;  // [vocab_size, hidden_size]
  const TokenId* ids = nullptr;   // [tokens]
  std::int64_t tokens = 0;
  float* out = nullptr;
};

/// residual += delta (where delta is given), then out = residual * weight / sqrt(mean(residual^2) + epsilon).
/// rows (where given) picks which rows of residual and delta take part: out[i] is of row rows[i]; no row may stand there twice.
struct RmsNormArgs {
  float* residual = nullptr;           // [*, hidden_size]
  const float* delta = nullptr;        // [*, hidden_size] or null
  const float* weight = nullptr;       // [hidden_size]
  const std::int32_t* rows = nullptr;  // [tokens] or null
  std::int64_t tokens = 0;
  std::int64_t hidden_size = 0;
  float epsilon = 1e-5f;
  void* out = nullptr;  // activations [tokens, hidden_size]; may not alias residual
};

/// out = x * weight^T + bias. [tokens, cols] x [rows, cols] -> [tokens, rows].
struct MatmulArgs {
  const Weight* weight = nullptr;
  const void* x = nullptr;      // activations [tokens, cols]
  const float* bias = nullptr;  // [rows] or null
  std::int64_t tokens = 0;
  float* out = nullptr;  // [tokens, rows]; may not alias x
};

/// Rotates queries in place, and stores rotated keys, and values, at their tokens' places in the cache. What then lies in the place
/// of the keys is undefined.
struct RopeAppendArgs {
  float* qkv = nullptr;  // [tokens, (num_heads + 2 num_kv_heads) * head_dim]: queries, keys, values
  std::int64_t num_heads = 0;
  const RopeTables* rope = nullptr;
  AttentionMetadata metadata;
  KvCache* cache = nullptr;
  std::int64_t layer = 0;
};

/// out = softmax(cap(softmax_scale q K^T)) V over positions 0 to the token's own (its last `window` ones where window > 0), from the
/// cache; cap(x) = soft_cap tanh(x / soft_cap) for soft_cap > 0.
struct AttentionArgs {
  const float* qkv = nullptr;  // as RopeAppendArgs, already rotated; keys and values are read from the cache
  std::int64_t num_heads = 0;  // a multiple of num_kv_heads; query head h reads kv head h / (num_heads / num_kv_heads)
  float softmax_scale = 1.0f;
  float soft_cap = 0.0f;
  std::int64_t window = 0;
  AttentionMetadata metadata;
  const KvCache* cache = nullptr;
  std::int64_t layer = 0;
  void* out = nullptr;          // activations [tokens, num_heads * head_dim]
  Buffer* workspace = nullptr;  // of workspace_bytes(); null where that is 0
};

/// out = silu(gate) * up.
struct SwigluArgs {
  const float* gate_up = nullptr;  // [tokens, 2 * intermediate_size]: gate, up
  std::int64_t tokens = 0;
  std::int64_t intermediate_size = 0;
  void* out = nullptr;  // activations [tokens, intermediate_size]
};

/// Draws one token a row, exactly as warploom/sampling.h says. Arrays are device memory, [rows] unless said otherwise.
struct SampleArgs {
  const float* logits = nullptr;  // [rows, vocab_size]
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;
  const float* temperature = nullptr;
  const std::int32_t* top_k = nullptr;
  const float* top_p = nullptr;
  const float* min_p = nullptr;
  const std::uint64_t* seed = nullptr;
  const std::uint64_t* position = nullptr;
  const std::uint32_t* subsequence = nullptr;
  // Null, all of them, where no row has a penalty or a bias.
  const float* repetition_penalty = nullptr;
  const float* frequency_penalty = nullptr;
  const float* presence_penalty = nullptr;
  const TokenId* history = nullptr;               // all rows' histories
  const std::int64_t* history_offsets = nullptr;  // [rows + 1]
  const LogitBias* bias = nullptr;                // all rows' biases
  const std::int64_t* bias_offsets = nullptr;     // [rows + 1]
  TokenId* token = nullptr;                       // -1 unless the status is ok
  SampleStatus* status = nullptr;
  double* logprob = nullptr;    // at temperature 1 before the filters; null: not wanted
  Buffer* workspace = nullptr;  // of workspace_bytes(); null where that is 0
};

/// Copies one block of every layer, keys and values.
struct CopyBlockArgs {
  KvCache* cache = nullptr;
  std::int32_t from = 0;
  std::int32_t to = 0;
};

/// Bytes that an op has to move if everything is read and written once; benches divide by them. activations: the backend's type.
std::int64_t bytes_moved(const EmbedArgs& args);
std::int64_t bytes_moved(const RmsNormArgs& args, DType activations = DType::f32);
std::int64_t bytes_moved(const MatmulArgs& args, DType activations = DType::f32);
std::int64_t bytes_moved(const RopeAppendArgs& args);
std::int64_t bytes_moved(const SwigluArgs& args, DType activations = DType::f32);

}  // namespace warploom
