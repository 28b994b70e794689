// A trained model as its files describe it: configuration, tensors, tokenizer. Everything that depends on the files' format is in
// this folder, behind this interface.
//
// Values and tensors have canonical names, which follow Hugging Face's config.json and modules; each format translates them
// into its own, which messages show.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/tokenizer_data.h"
#include "core/tensor.h"
#include "warploom/inspect.h"

namespace warploom {

enum class ConfigKey : std::uint8_t {
  num_hidden_layers,
  hidden_size,
  intermediate_size,
  num_attention_heads,
  num_key_value_heads,
  head_dim,
  value_head_dim,
  max_position_embeddings,
  num_experts,
  rms_norm_eps,
  softmax_scale,
  sliding_window,
  rope_dims,  // leading dimensions of a head that rotate
  rope_theta,
  rope_scaling_type,  // "none", "linear", "yarn" or "llama3"
  rope_scaling_factor,
  rope_original_context,  // original_max_position_embeddings
  yarn_beta_fast,
  yarn_beta_slow,
  yarn_ext_factor,
  yarn_attn_factor,
};

enum class TensorRole : std::uint8_t {
  // of the model
  embed_tokens,  // [vocab_size, hidden_size]
  final_norm,    // [hidden_size]
  lm_head,       // [vocab_size, hidden_size]; absent where it is embed_tokens
  rope_factors,  // [rope_dims / 2] divisors of the frequencies; optional
  // of a layer
  input_norm,           // [hidden_size]
  q_proj,               // [num_attention_heads * head_dim, hidden_size]
  k_proj,               // [num_key_value_heads * head_dim, hidden_size]
  v_proj,               // [num_key_value_heads * head_dim, hidden_size]
  o_proj,               // [hidden_size, num_attention_heads * head_dim]
  post_attention_norm,  // [hidden_size]
  gate_proj,            // [intermediate_size, hidden_size]
  up_proj,              // [intermediate_size, hidden_size]
  down_proj,            // [hidden_size, intermediate_size]
};

enum class TensorPart : std::uint8_t { weight, bias };

struct TensorName {
  TensorRole role;
  std::int64_t layer = -1;  // -1: of the model
  TensorPart part = TensorPart::weight;
};

/// Immutable; safe to share between threads. Views into it live as long as it does. Every function throws ModelError, naming the
/// path and the value or tensor, where the files hold something of a wrong kind.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual const std::filesystem::path& path() const = 0;

  /// E.g. "llama". Throws where the files do not say.
  virtual std::string_view architecture() const = 0;
  /// Empty where the files do not say.
  virtual std::optional<std::int64_t> get_int(ConfigKey key) const = 0;
  virtual std::optional<double> get_float(ConfigKey key) const = 0;
  virtual std::optional<std::string_view> get_string(ConfigKey key) const = 0;
  /// True if the rotated pairs of q_proj's and k_proj's rows are (2i, 2i + 1), false if they are (i, i + dims / 2): whoever
  /// wrote the files may have reordered the rows.
  virtual bool rope_interleaved() const = 0;

  virtual bool has(const TensorName& name) const = 0;
  /// A 1-D tensor is one row. Throws where it is absent, of an unknown type, of more than two dimensions, or not [rows, cols]
  /// (-1: any number).
  virtual WeightView tensor(const TensorName& name, std::int64_t rows, std::int64_t cols) const = 0;
  /// Says that these bytes are not needed any more, so that they leave memory: the tensor's views must not be read afterwards.
  virtual void release(const WeightView& view) const = 0;
  /// Of all tensors, those without a canonical name among them.
  virtual std::uint64_t tensor_bytes() const = 0;

  /// Throws where the files have no tokenizer, or one of an unknown kind.
  virtual TokenizerData tokenizer() const = 0;

  /// What the files hold, in their own words. The shape is left empty.
  virtual CheckpointInfo info() const = 0;

  /// What the files call it, for messages.
  virtual std::string name_of(ConfigKey key) const = 0;
  virtual std::string name_of(const TensorName& name) const = 0;
  /// Throws ModelError: the path, then `what`.
  [[noreturn]] void fail(const std::string& what) const;
};

/// Finds the format by what the file begins with. Throws ModelError where it is none that is known, or the file is damaged.
[[nodiscard]] std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace warploom
