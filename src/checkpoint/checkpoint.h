// A trained model as its files describe it: configuration, tensors, tokenizer. Everything that depends on the files' format is in
// this folder, behind this interface.
//
// Values and tensors have canonical names, which follow Hugging Face's config.json and modules; each format translates them
// into its own, which messages show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  yarn_attn_factor,  // stands for YaRN's own magnitude, 1 + 0.1 ln(factor), as transformers' attention_factor; 1: not given
  rope_attn_factor,  // multiplies the magnitude, whatever the scaling
};

enum class TensorRole : std::uint8_t {
  // of the model
  embed_tokens,  // [vocab_size, hidden_size]
  final_norm,    // [hidden_size]
  lm_head,       // [vocab_size, hidden_size]; absent if it is embed_tokens
  rope_factors,  // [rope_dims / 2] divisors of the frequencies; optional
  // of a layer
  input_norm,           // [hidden_size]
  q_proj,               // [num_attention_heads * head_dim, hidden_size]
  k_proj,               // [num_key_value_heads * head_dim, hidden_size]
  v_proj,               // [num_key_value_heads * head_dim, hidden_size]
  qkv_proj,             // these three, one below the other, in their stead; optional
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
/// path and the value or tensor, if the files hold something of a wrong kind.
class Checkpoint : public WeightSource {
 public:
  virtual const std::filesystem::path& path() const = 0;

  /// Throws if the files are not one whole model: a part of it, an adapter to another.
  virtual void check_whole() const {}
  /// Throws if the files hold a value that has no canonical name and may change what the model computes.
  virtual void check_values() const {}

  /// E.g. "llama". Throws if the files do not say.
  virtual std::string_view architecture() const = 0;
  /// Empty if the files do not say.
  virtual std::optional<std::int64_t> get_int(ConfigKey key) const = 0;
  /// A value for each layer, or one for all; empty if the files do not say.
  virtual std::vector<std::int64_t> get_ints(ConfigKey key) const {
    const auto one = get_int(key);
    return one ? std::vector{*one} : std::vector<std::int64_t>();
  }
  virtual std::optional<double> get_float(ConfigKey key) const = 0;
  virtual std::optional<std::string_view> get_string(ConfigKey key) const = 0;
  /// True if the rotated pairs of q_proj's and k_proj's rows are (2i, 2i + 1), false if they are (i, i + dims / 2): whoever
  /// wrote the files may have reordered the rows.
  virtual bool rope_interleaved() const = 0;

  virtual bool has(const TensorName& name) const = 0;
  /// What is known of a tensor without its bytes: `data` and `source` are null. A 1-D tensor is one row. Throws if it is absent, of
  /// an unknown type, of more than two dimensions, or not [rows, cols] (-1: any number).
  virtual WeightView tensor(const TensorName& name, std::int64_t rows, std::int64_t cols) const = 0;
  /// Reads rows of what `tensor` gave.
  void read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const final;
  /// The values of a tensor of one row, checked.
  std::vector<float> values(const TensorName& name, std::int64_t cols) const;
  /// The files' names of the tensors that are not among `used`, without those that a model can do without.
  virtual std::vector<std::string> unused_tensors([[maybe_unused]] std::span<const TensorName> used) const { return {}; }
  /// Bytes of all tensors, also of those without a canonical name.
  virtual std::uint64_t tensor_bytes() const = 0;

  /// Throws if the files have no tokenizer, or one of an unknown kind.
  virtual TokenizerData tokenizer() const = 0;

  /// What the files hold, in their own words. The shape is left empty.
  virtual CheckpointInfo info() const = 0;

  /// What the files call it, for messages.
  virtual std::string name_of(ConfigKey key) const = 0;
  virtual std::string name_of(const TensorName& name) const = 0;
  /// Throws ModelError: the path, then `what`.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  /// As read, of any numbers.
  virtual void read_rows(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const = 0;
};

/// Finds the format by what the file begins with. Throws ModelError if it is none that is known, or the file is damaged.
[[nodiscard]] std::shared_ptr<const Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace warploom
