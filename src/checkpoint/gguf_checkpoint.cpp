#include "checkpoint/gguf_checkpoint.h"

#include <cstring>
#include <unordered_set>
#include <vector>

#include <fmt/format.h>

namespace warploom {

namespace {

/// Without the architecture's name, which every one of them begins with.
std::string_view config_name(ConfigKey key) {
  switch (key) {
    case ConfigKey::num_hidden_layers: return "block_count";
    case ConfigKey::hidden_size: return "embedding_length";
    case ConfigKey::intermediate_size: return "feed_forward_length";
    case ConfigKey::num_attention_heads: return "attention.head_count";
    case ConfigKey::num_key_value_heads: return "attention.head_count_kv";
    case ConfigKey::head_dim: return "attention.key_length";
    case ConfigKey::value_head_dim: return "attention.value_length";
    case ConfigKey::max_position_embeddings: return "context_length";
    case ConfigKey::num_experts: return "expert_count";
    case ConfigKey::rms_norm_eps: return "attention.layer_norm_rms_epsilon";
    case ConfigKey::softmax_scale: return "attention.scale";
    case ConfigKey::sliding_window: return "attention.sliding_window";
    case ConfigKey::rope_dims: return "rope.dimension_count";
    case ConfigKey::rope_theta: return "rope.freq_base";
    case ConfigKey::rope_scaling_type: return "rope.scaling.type";
    case ConfigKey::rope_scaling_factor: return "rope.scaling.factor";
    case ConfigKey::rope_original_context: return "rope.scaling.original_context_length";
    case ConfigKey::yarn_beta_fast: return "rope.scaling.yarn_beta_fast";
    case ConfigKey::yarn_beta_slow: return "rope.scaling.yarn_beta_slow";
    case ConfigKey::yarn_ext_factor: return "rope.scaling.yarn_ext_factor";
    case ConfigKey::yarn_attn_factor: return "rope.scaling.yarn_attn_factor";
    case ConfigKey::rope_attn_factor: return "rope.scaling.attn_factor";
  }
  return "";
}

/// What some converters write instead; empty if there is no such name.
std::string_view other_config_name(ConfigKey key) {
  switch (key) {
    case ConfigKey::rope_scaling_factor: return "rope.scale_linear";
    case ConfigKey::yarn_beta_fast: return "rope.scaling.beta_fast";
    case ConfigKey::yarn_beta_slow: return "rope.scaling.beta_slow";
    default: return "";
  }
}

/// Without the layer's number and the part.
std::string_view tensor_name(TensorRole role) {
  switch (role) {
    case TensorRole::embed_tokens: return "token_embd";
    case TensorRole::final_norm: return "output_norm";
    case TensorRole::lm_head: return "output";
    case TensorRole::rope_factors: return "rope_freqs";
    case TensorRole::input_norm: return "attn_norm";
    case TensorRole::q_proj: return "attn_q";
    case TensorRole::k_proj: return "attn_k";
    case TensorRole::v_proj: return "attn_v";
    case TensorRole::qkv_proj: return "attn_qkv";
    case TensorRole::o_proj: return "attn_output";
    case TensorRole::post_attention_norm: return "ffn_norm";
    case TensorRole::gate_proj: return "ffn_gate";
    case TensorRole::up_proj: return "ffn_up";
    case TensorRole::down_proj: return "ffn_down";
  }
  return "";
}

class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& path) : file_(path) {}

  const std::filesystem::path& path() const override { return file_.path(); }

  void check_whole() const override { check_gguf_is_whole(file_); }
  void check_values() const override {
    std::vector<std::string> read;
    for (int key = 0; key <= static_cast<int>(ConfigKey::rope_attn_factor); ++key) {
      read.push_back(fmt::format("{}.{}", architecture(), config_name(static_cast<ConfigKey>(key))));
      read.push_back(fmt::format("{}.{}", architecture(), other_config_name(static_cast<ConfigKey>(key))));
    }
    check_gguf_values(file_, read);
  }

  std::string_view architecture() const override { return file_.need_string("general.architecture"); }
  std::optional<std::int64_t> get_int(ConfigKey key) const override { return file_.get_int(name_of(key)); }
  std::vector<std::int64_t> get_ints(ConfigKey key) const override { return file_.get_ints(name_of(key)); }
  std::optional<double> get_float(ConfigKey key) const override { return file_.get_float(name_of(key)); }
  std::optional<std::string_view> get_string(ConfigKey key) const override { return file_.get_string(name_of(key)); }
  // llama.cpp's converter reorders the rows of this architecture alone.
  bool rope_interleaved() const override { return architecture() == "llama"; }

  bool has(const TensorName& name) const override { return file_.find_tensor(name_of(name)) != nullptr; }
  WeightView tensor(const TensorName& name, std::int64_t rows, std::int64_t cols) const override {
    return file_.matrix(name_of(name), rows, cols);
  }
  std::vector<std::string> unused_tensors(std::span<const TensorName> used) const override {
    std::unordered_set<std::string> names;
    for (const TensorName& name : used) names.insert(name_of(name));
    return unused_gguf_tensors(file_, names);
  }
  std::uint64_t tensor_bytes() const override {
    std::uint64_t sum = 0;
    for (const GgufTensor& tensor : file_.tensors()) sum += tensor.bytes;
    return sum;
  }

  TokenizerData tokenizer() const override { return gguf_tokenizer(file_); }
  CheckpointInfo info() const override { return gguf_info(file_); }

  std::string name_of(ConfigKey key) const override {
    std::string name = fmt::format("{}.{}", architecture(), config_name(key));
    if (other_config_name(key).empty() || file_.find(name)) return name;
    std::string other = fmt::format("{}.{}", architecture(), other_config_name(key));
    return file_.find(other) ? other : name;
  }
  std::string name_of(const TensorName& name) const override {
    const std::string_view part = name.part == TensorPart::bias ? "bias" : "weight";
    if (name.layer < 0) return fmt::format("{}.{}", tensor_name(name.role), part);
    return fmt::format("blk.{}.{}.{}", name.layer, tensor_name(name.role), part);
  }

 private:
  void read_rows(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const override {
    file_.read(view, first, count, out);
  }

  GgufFile file_;
};

}  // namespace

bool is_gguf(std::span<const std::byte> file) { return file.size() >= 4 && std::memcmp(file.data(), "GGUF", 4) == 0; }

std::shared_ptr<const Checkpoint> open_gguf_checkpoint(const std::filesystem::path& path) {
  return std::make_shared<const GgufCheckpoint>(path);
}

}  // namespace warploom
