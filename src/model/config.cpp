#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <string>

#include <fmt/format.h>

#include "model/registry.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr std::int64_t kMaxVocab = std::int64_t{1} << 22;  // the bound of the sampling contract's integer sums

/// Values of a checkpoint, checked for their range.
class Reader {
 public:
  explicit Reader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  [[noreturn]] void fail(const std::string& what) const { checkpoint_.fail(what); }
  std::int64_t need(ConfigKey key, std::int64_t low, std::int64_t high) const {
    const auto value = checkpoint_.get_int(key);
    if (!value) fail(fmt::format("the file says nothing of {}", checkpoint_.name_of(key)));
    return checked(key, *value, low, high);
  }
  std::int64_t get(ConfigKey key, std::int64_t fallback, std::int64_t low, std::int64_t high) const {
    return checked(key, checkpoint_.get_int(key).value_or(fallback), low, high);
  }
  /// One for each layer. Empty: the checkpoint does not say.
  std::vector<std::int64_t> of_layers(ConfigKey key, std::int64_t layers, std::int64_t low, std::int64_t high) const {
    std::vector<std::int64_t> values = checkpoint_.get_ints(key);
    if (values.size() == 1) values.resize(static_cast<std::size_t>(layers), values[0]);
    if (!values.empty() && static_cast<std::int64_t>(values.size()) != layers)
      fail(fmt::format("{} has {} entries for {} layers", checkpoint_.name_of(key), values.size(), layers));
    for (const std::int64_t value : values) checked(key, value, low, high);
    return values;
  }
  std::vector<std::int64_t> need_of_layers(ConfigKey key, std::int64_t layers, std::int64_t low, std::int64_t high) const {
    std::vector<std::int64_t> values = of_layers(key, layers, low, high);
    if (values.empty()) fail(fmt::format("the file says nothing of {}", checkpoint_.name_of(key)));
    return values;
  }
  float get_float(ConfigKey key, double fallback, double low, double high) const {
    return static_cast<float>(checked(key, checkpoint_.get_float(key).value_or(fallback), low, high));
  }

 private:
  template <typename T>
  T checked(ConfigKey key, T value, T low, T high) const {
    if (!(value >= low && value <= high))
      fail(fmt::format("{} is {}, outside [{}, {}]", checkpoint_.name_of(key), value, low, high));
    return value;
  }
  const Checkpoint& checkpoint_;
};

// The pair whose wavelength makes `turns` turns over the original context (YaRN, arXiv:2309.00071, equation 23).
double yarn_pair(double dims, double context, double base, double turns) {
  return dims * std::log(context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
}

void read_yarn(const Reader& reader, const ModelShape& shape, double factor, RopeParams& rope) {
  const auto original =
      static_cast<double>(reader.get(ConfigKey::rope_original_context, shape.context_length, 1, std::int64_t{1} << 31));
  const double fast = reader.get_float(ConfigKey::yarn_beta_fast, 32.0, 1e-3, 1e6);
  const double slow = reader.get_float(ConfigKey::yarn_beta_slow, 1.0, 1e-3, 1e6);
  rope.yarn_ext_factor = reader.get_float(ConfigKey::yarn_ext_factor, 1.0, 0.0, 1.0);
  const auto dims = static_cast<double>(rope.dims);
  rope.yarn_low = static_cast<float>(std::max(0.0, std::floor(yarn_pair(dims, original, rope.base, fast))));
  rope.yarn_high = static_cast<float>(std::min(dims - 1.0, std::ceil(yarn_pair(dims, original, rope.base, slow))));
  rope.mscale = reader.get_float(ConfigKey::yarn_attn_factor, 1.0, 1e-3, 1e3);
  if (rope.mscale == 1.0f && rope.yarn_ext_factor > 0) rope.mscale = static_cast<float>(1.0 + 0.1 * std::log(factor));
}

std::vector<float> read_rope_factors(const Checkpoint& checkpoint, std::int64_t dims) {
  const TensorName name{TensorRole::rope_factors};
  std::vector<float> factors = checkpoint.values(name, dims / 2);
  for (const float f : factors)
    if (!(f > 0.0f)) checkpoint.fail(fmt::format("{} holds {}, which divides no frequency", checkpoint.name_of(name), f));
  return factors;
}

RopeConfig read_rope(const Reader& reader, const Checkpoint& checkpoint, const ModelShape& shape) {
  RopeConfig config;
  RopeParams& rope = config.params;
  rope.dims = reader.get(ConfigKey::rope_dims, shape.head_dim, 2, shape.head_dim);
  if (rope.dims % 2 != 0)
    reader.fail(fmt::format("{} is {}, not even", checkpoint.name_of(ConfigKey::rope_dims), rope.dims));
  rope.base = reader.get_float(ConfigKey::rope_theta, 10000.0, 1.0001, 1e12);
  rope.interleaved = checkpoint.rope_interleaved();

  // A factor without a type is linear, and 0 is none: so llama.cpp reads older files.
  const std::string_view kind = checkpoint.get_string(ConfigKey::rope_scaling_type).value_or("linear");
  const std::string kind_name = checkpoint.name_of(ConfigKey::rope_scaling_type);
  const double given = reader.get_float(ConfigKey::rope_scaling_factor, 0.0, 0.0, 1e6);
  const double factor = given == 0.0 ? 1.0 : given;
  if (kind == "linear" || kind == "yarn") {
    if (factor < 1e-3)
      reader.fail(
          fmt::format("{} is {}, which cannot scale positions", checkpoint.name_of(ConfigKey::rope_scaling_factor), factor));
    rope.frequency_scale = static_cast<float>(1.0 / factor);
  } else if (kind != "none" && kind != "llama3") {  // llama3's factors come as a tensor
    reader.fail(fmt::format("{} \"{}\" is not one of none, linear, yarn, llama3", kind_name, kind));
  }
  if (kind == "yarn") read_yarn(reader, shape, factor, rope);
  rope.mscale *= reader.get_float(ConfigKey::rope_attn_factor, 1.0, 1e-3, 1e3);
  const TensorName factors{TensorRole::rope_factors};
  if (checkpoint.has(factors)) {
    config.factors = read_rope_factors(checkpoint, rope.dims);
  } else if (kind == "llama3") {
    reader.fail(fmt::format("{} is \"llama3\", but the tensor {} with its factors is missing; convert the model again",
                            kind_name, checkpoint.name_of(factors)));
  }
  return config;
}

// What a file holds and a model leaves out would be missing from every answer. Types are checked before anything is loaded.
void check_tensors(const Reader& reader, const Checkpoint& checkpoint, std::span<const TensorName> used) {
  for (const TensorName& name : used)
    if (checkpoint.has(name)) static_cast<void>(checkpoint.tensor(name, -1, -1));
  const std::vector<std::string> unused = checkpoint.unused_tensors(used);
  if (unused.empty()) return;
  const std::string more = unused.size() > 1 ? fmt::format(" and {} more", unused.size() - 1) : "";
  reader.fail(
      fmt::format("tensor \"{}\"{}: not supported in models of architecture \"{}\", which would compute something "
                  "else without",
                  unused[0], more, checkpoint.architecture()));
}

// What the layers have each for themselves, and the largest of it.
void read_layers(const Reader& reader, ModelConfig& config) {
  constexpr std::int64_t kMaxWidth = std::int64_t{1} << 20;
  ModelShape& shape = config.shape;
  const auto heads = reader.need_of_layers(ConfigKey::num_attention_heads, shape.num_layers, 1, 4096);
  auto kv_heads = reader.of_layers(ConfigKey::num_key_value_heads, shape.num_layers, 1, 4096);
  if (kv_heads.empty()) kv_heads = heads;
  const auto widths = reader.need_of_layers(ConfigKey::intermediate_size, shape.num_layers, 1, kMaxWidth);
  const std::int64_t window = reader.get(ConfigKey::sliding_window, 0, 0, std::int64_t{1} << 31);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (heads[i] % kv_heads[i] != 0)
      reader.fail(fmt::format("{} attention heads cannot share {} key-value heads evenly", heads[i], kv_heads[i]));
    config.layers.push_back({heads[i], kv_heads[i], widths[i], window});
  }
  shape.num_heads = std::ranges::max(heads);
  shape.num_kv_heads = std::ranges::max(kv_heads);
  shape.intermediate_size = std::ranges::max(widths);
}

}  // namespace

KvCacheView layer_view(KvCacheView cache, const LayerConfig& layer) {
  if (layer.num_kv_heads == cache.num_kv_heads) return cache;
  cache.max_kv_heads = cache.num_kv_heads;
  cache.num_kv_heads = layer.num_kv_heads;
  return cache;
}

ModelConfig read_config(const Checkpoint& checkpoint) {
  checkpoint.check_whole();
  const ModelFamily& family = family_of(checkpoint);
  checkpoint.check_values();
  const Reader reader(checkpoint);
  ModelConfig config;
  ModelShape& shape = config.shape;
  shape.architecture = family.architecture;
  constexpr std::int64_t kMaxWidth = std::int64_t{1} << 20;
  shape.num_layers = reader.need(ConfigKey::num_hidden_layers, 1, 4096);
  shape.hidden_size = reader.need(ConfigKey::hidden_size, 1, kMaxWidth);
  read_layers(reader, config);
  shape.context_length = reader.need(ConfigKey::max_position_embeddings, 1, std::int64_t{1} << 30);
  shape.head_dim = reader.get(ConfigKey::head_dim, shape.hidden_size / shape.num_heads, 1, 256);
  if (reader.get(ConfigKey::value_head_dim, shape.head_dim, 1, 256) != shape.head_dim)
    reader.fail("keys and values of different widths are not supported");
  if (reader.get(ConfigKey::num_experts, 0, 0, 1 << 20) != 0) reader.fail("mixtures of experts are not supported");

  config.norm_epsilon = reader.get_float(ConfigKey::rms_norm_eps, 1e-5, 0.0, 1.0);
  config.softmax_scale = reader.get_float(ConfigKey::softmax_scale, 0.0, 0.0, 1e6);
  if (config.softmax_scale == 0.0f)
    config.softmax_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  const WeightView embedding = checkpoint.tensor({TensorRole::embed_tokens}, -1, shape.hidden_size);
  shape.vocab_size = embedding.rows;
  if (shape.vocab_size < 1 || shape.vocab_size > kMaxVocab)
    reader.fail(fmt::format("a vocabulary of {} tokens is outside [1, {}]", shape.vocab_size, kMaxVocab));
  shape.tie_word_embeddings = !checkpoint.has({TensorRole::lm_head});
  config.ropes.push_back(read_rope(reader, checkpoint, shape));
  check_tensors(reader, checkpoint, family.tensors(checkpoint, config));
  return config;
}

}  // namespace warploom
