#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "checkpoint/quants.h"
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
  rope.mscale = reader.get_float(ConfigKey::yarn_attn_factor, 1.0, 1e-3, 1e3) *
                static_cast<float>(rope.yarn_ext_factor > 0 ? 1.0 + 0.1 * std::log(factor) : 1.0);
}

std::vector<float> read_rope_factors(const Checkpoint& checkpoint, std::int64_t dims) {
  const TensorName name{TensorRole::rope_factors};
  const WeightView view = checkpoint.tensor(name, 1, dims / 2);
  std::vector<float> factors(static_cast<std::size_t>(view.cols));
  dequantize_row(view, 0, factors);
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
  const TensorName factors{TensorRole::rope_factors};
  if (checkpoint.has(factors)) {
    config.factors = read_rope_factors(checkpoint, rope.dims);
  } else if (kind == "llama3") {
    reader.fail(fmt::format("{} is \"llama3\", but the tensor {} with its factors is missing; convert the model again",
                            kind_name, checkpoint.name_of(factors)));
  }
  return config;
}

}  // namespace

ModelConfig read_config(const Checkpoint& checkpoint) {
  const Reader reader(checkpoint);
  ModelConfig config;
  ModelShape& shape = config.shape;
  shape.architecture = family_of(checkpoint).architecture;
  constexpr std::int64_t kMaxWidth = std::int64_t{1} << 20;
  shape.num_layers = reader.need(ConfigKey::num_hidden_layers, 1, 4096);
  shape.hidden_size = reader.need(ConfigKey::hidden_size, 1, kMaxWidth);
  shape.intermediate_size = reader.need(ConfigKey::intermediate_size, 1, kMaxWidth);
  shape.num_heads = reader.need(ConfigKey::num_attention_heads, 1, 4096);
  shape.num_kv_heads = reader.get(ConfigKey::num_key_value_heads, shape.num_heads, 1, shape.num_heads);
  shape.context_length = reader.need(ConfigKey::max_position_embeddings, 1, std::int64_t{1} << 30);
  if (shape.num_heads % shape.num_kv_heads != 0)
    reader.fail(
        fmt::format("{} attention heads cannot share {} key-value heads evenly", shape.num_heads, shape.num_kv_heads));
  shape.head_dim = reader.get(ConfigKey::head_dim, shape.hidden_size / shape.num_heads, 1, 256);
  if (reader.get(ConfigKey::value_head_dim, shape.head_dim, 1, 256) != shape.head_dim)
    reader.fail("keys and values of different widths are not supported");
  if (shape.head_dim % 16 != 0)
    reader.fail(fmt::format("heads are {} wide; supported are multiples of 16 up to 256", shape.head_dim));
  if (reader.get(ConfigKey::num_experts, 0, 0, 1 << 20) != 0) reader.fail("mixtures of experts are not supported");

  config.norm_epsilon = reader.get_float(ConfigKey::rms_norm_eps, 1e-5, 0.0, 1.0);
  config.softmax_scale = reader.get_float(ConfigKey::softmax_scale, 0.0, 0.0, 1e6);
  if (config.softmax_scale == 0.0f)
    config.softmax_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  LayerConfig layer;
  layer.intermediate_size = shape.intermediate_size;
  layer.sliding_window = reader.get(ConfigKey::sliding_window, 0, 0, std::int64_t{1} << 31);
  config.layers.assign(static_cast<std::size_t>(shape.num_layers), layer);
  const WeightView embedding = checkpoint.tensor({TensorRole::embed_tokens}, -1, shape.hidden_size);
  shape.vocab_size = embedding.rows;
  if (shape.vocab_size < 1 || shape.vocab_size > kMaxVocab)
    reader.fail(fmt::format("a vocabulary of {} tokens is outside [1, {}]", shape.vocab_size, kMaxVocab));
  shape.tie_word_embeddings = !checkpoint.has({TensorRole::lm_head});
  config.ropes.push_back(read_rope(reader, checkpoint, shape));
  return config;
}

}  // namespace warploom
