// What a GGUF file may hold beside what this library reads: everything else is refused by name, since a model without it would
// compute something else.
#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "checkpoint/gguf_checkpoint.h"
#include "warploom/error.h"

namespace warploom {

namespace {

[[noreturn]] void fail(const GgufFile& file, const std::string& what) {
  throw ModelError(fmt::format("{}: {}", file.path().string(), what));
}

/// Without the architecture's name.
struct OtherKey {
  std::string_view name;
  std::optional<double> neutral;  // with this value the model computes the same as without the key; empty: with any value
};

constexpr auto kOtherKeys = std::to_array<OtherKey>({
    // What describes the model, or is known by other values.
    {"vocab_size", {}},
    {"tensor_data_layout", {}},
    {"rope.scaling.finetuned", {}},
    {"attention.layer_norm_epsilon", {}},  // of a norm that these models do not have
    {"pooling_type", {}},                  // of embeddings
    // Of mixtures of experts: a model with experts is refused.
    {"expert_used_count", {}},
    {"expert_feed_forward_length", {}},
    {"expert_shared_feed_forward_length", {}},
    {"expert_weights_norm", {}},
    {"expert_weights_scale", {}},
    {"expert_gating_func", {}},
    {"expert_shared_count", 0},
    {"expert_group_count", {}},
    {"expert_group_used_count", {}},
    {"interleave_moe_layer_step", {}},
    {"leading_dense_block_count", {}},
    // What other models do.
    {"use_parallel_residual", 0},
    {"attention.causal", 1},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.temperature_length", 0},
    {"attention.temperature_scale", 0},
    {"attention.output_scale", 1},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"logit_scale", 1},
    {"residual_scale", 1},
    {"embedding_scale", 1},
    {"nextn_predict_layers", 0},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"rope.scaling.alpha", 0},
});

std::optional<double> number(const GgufValue& value) {
  if (const auto* v = std::get_if<std::uint64_t>(&value)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<std::int64_t>(&value)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<double>(&value)) return *v;
  if (const auto* v = std::get_if<bool>(&value)) return *v ? 1.0 : 0.0;
  return std::nullopt;
}

bool is_harmless(std::string_view name, const GgufValue& value) {
  const auto* known = std::ranges::find(kOtherKeys, name, &OtherKey::name);
  return known != kOtherKeys.end() && (!known->neutral || number(value) == known->neutral);
}

/// Angles that are computed anew from the configuration.
bool can_be_left_out(std::string_view tensor) {
  return tensor.ends_with(".attn_rot_embd.weight") || tensor.ends_with(".attn.rope.freqs");
}

}  // namespace

void check_gguf_is_whole(const GgufFile& file) {
  if (const auto parts = file.get_int("split.count").value_or(1); parts > 1)
    fail(file, fmt::format("is part {} of {} of a model; join the parts into one file, e.g. with llama-gguf-split --merge",
                           file.get_int("split.no").value_or(0) + 1, parts));
  if (const auto type = file.get_string("general.type").value_or("model"); type != "model")
    fail(file, fmt::format("general.type is \"{}\": the file holds no model that generates text by itself", type));
}

void check_gguf_values(const GgufFile& file, std::span<const std::string> read) {
  const std::string prefix = fmt::format("{}.", file.need_string("general.architecture"));
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix) || std::ranges::find(read, key) != read.end()) continue;
    if (!is_harmless(key.substr(prefix.size()), value))
      fail(file, fmt::format("{} is {}: this is not supported, and without it the model would compute something else", key,
                             gguf_text(value)));
  }
}

std::vector<std::string> unused_gguf_tensors(const GgufFile& file, const std::unordered_set<std::string>& used) {
  std::vector<std::string> unused;
  for (const GgufTensor& tensor : file.tensors())
    if (std::string name(tensor.name); !used.contains(name) && !can_be_left_out(name)) unused.push_back(std::move(name));
  return unused;
}

}  // namespace warploom
