// The ops of a transformer step: one struct of arguments each. Shapes, layout, aliasing and limits are written here, once, or
// in the public headers for the ops that applications call too (SampleArgs, RopeAppendArgs, PagedAttentionArgs); both backends
// implement every op and tests read the contract here. Pointers are memory of the backend that runs the op.
//
// Glossary: tokens = rows of this step over all sequences; dim = width of the residual stream; heads, kv_heads, head_dim;
// block = block_size tokens of KV cache; activations = what matrix products read, elements of Backend::activation_type().
// Arrays start on 16-byte boundaries; rows follow one another without gaps. Every row's result depends on that row's own inputs
// alone, bit for bit (on CUDA with CudaOptions::deterministic).
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "core/tensor.h"
#include "warploom/paged_attention_args.h"
#include "warploom/sample_args.h"

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

/// Device memory for the keys and values of every layer, in blocks of the backend's own layout.
struct KvCacheShape {
  std::int64_t num_layers = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_blocks = 0;
  DType type = DType::f16;
  std::int64_t block_size = 16;
  bool round_attention = false;  // attention over it is with PagedAttentionArgs::round_to_bf16; of bf16
};
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual const KvCacheShape& shape() const = 0;
  virtual KvCacheView view() = 0;
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
  virtual RopeView view() = 0;
};
/// Radians a position of each pair, [dims / 2]. factors: [dims / 2] or null.
std::vector<double> rope_frequencies(const RopeParams& params, const float* factors);

/// out[t] = row ids[t] of the table, as f32. [tokens, hidden_size].
struct EmbedArgs {
  const Weight* table = nullptr;  // [vocab_size, hidden_size]
  const TokenId* ids = nullptr;   // [tokens]
  std::int64_t tokens = 0;
  float* out = nullptr;

  bool operator==(const EmbedArgs&) const = default;
};

/// residual += delta (if delta is given), then out = residual * weight / sqrt(mean(residual^2) + epsilon).
struct RmsNormArgs {
  float* residual = nullptr;      // [tokens, hidden_size]
  const float* delta = nullptr;   // [tokens, hidden_size] or null
  const float* weight = nullptr;  // [hidden_size]
  std::int64_t tokens = 0;
  std::int64_t hidden_size = 0;
  float epsilon = 1e-5f;
  void* out = nullptr;  // activations [tokens, hidden_size]; may not alias residual

  bool operator==(const RmsNormArgs&) const = default;
};

/// out[i] = the first `width` elements of row rows[i], [count, width]. A row may be taken several times.
struct GatherRowsArgs {
  const float* in = nullptr;           // [*, stride]
  std::int64_t stride = 0;             // from row to row, in elements
  const std::int32_t* rows = nullptr;  // [count]
  std::int64_t count = 0;
  std::int64_t width = 0;  // maximum stride
  float* out = nullptr;    // may not alias in

  bool operator==(const GatherRowsArgs&) const = default;
};

/// out = x * weight^T + bias. [tokens, cols] x [rows, cols] -> [tokens, rows].
struct MatmulArgs {
  const Weight* weight = nullptr;
  const void* x = nullptr;      // activations [tokens, cols]
  const float* bias = nullptr;  // [rows] or null
  std::int64_t tokens = 0;
  float* out = nullptr;  // [tokens, rows]; may not alias x

  bool operator==(const MatmulArgs&) const = default;
};

/// Queries, keys and values side by side in rows of f32: [num_tokens, (num_heads + 2 num_kv_heads) * head_dim].
struct QkvViews {
  TensorView queries, keys, values;
};
QkvViews split_qkv(float* qkv, std::int64_t num_heads, std::int64_t num_kv_heads, std::int64_t head_dim);

/// out = silu(gate) * up.
struct SwigluArgs {
  const float* gate_up = nullptr;  // [tokens, 2 * intermediate_size]: gate, up
  std::int64_t tokens = 0;
  std::int64_t intermediate_size = 0;
  void* out = nullptr;  // activations [tokens, intermediate_size]

  bool operator==(const SwigluArgs&) const = default;
};

/// out = silu(x * gate^T + bias) * (x * up^T + bias): matmul(), then swiglu(), bit for bit. The products of a step beyond 256 tokens may
/// differ in their last bits on CUDA, as those of matmul() may.
struct GatedMatmulArgs {
  const Weight* weight = nullptr;  // of Backend::load_gated_weight(): [2 * intermediate_size, cols]
  const void* x = nullptr;         // activations [tokens, cols]
  const float* bias = nullptr;     // [2 * intermediate_size]: of gate, of up; or null
  std::int64_t tokens = 0;
  float* gate_up = nullptr;  // [tokens, 2 * intermediate_size], which the op may use; its contents mean nothing afterwards
  void* out = nullptr;       // activations [tokens, intermediate_size]; may not alias x

  std::int64_t intermediate_size() const { return weight->rows() / 2; }
  bool operator==(const GatedMatmulArgs&) const = default;
};

/// Copies one block of every layer, keys and values.
struct CopyBlockArgs {
  KvCacheView cache;
  std::int32_t from = 0;
  std::int32_t to = 0;
};

/// One op of a step with its arguments. What two steps compute is the same if their calls are equal and their inputs are.
using OpCall = std::variant<EmbedArgs, RmsNormArgs, GatherRowsArgs, MatmulArgs, RopeAppendArgs, PagedAttentionArgs,
                            SwigluArgs, GatedMatmulArgs, SampleArgs>;

/// Bytes that an op has to move if everything is read and written once; benches divide by them. activations: the backend's type.
std::int64_t bytes_moved(const EmbedArgs& args);
std::int64_t bytes_moved(const RmsNormArgs& args, DType activations = DType::f32);
std::int64_t bytes_moved(const GatherRowsArgs& args);
std::int64_t bytes_moved(const MatmulArgs& args, DType activations = DType::f32);
std::int64_t bytes_moved(const RopeAppendArgs& args);
std::int64_t bytes_moved(const SwigluArgs& args, DType activations = DType::f32);
std::int64_t bytes_moved(const GatedMatmulArgs& args, DType activations = DType::f32);

}  // namespace warploom
