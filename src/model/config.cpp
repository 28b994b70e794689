#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "formats/gguf.h"
#include "formats/quants.h"
#include "warploom/error.h"

namespace warploom {

namespace {

constexpr std::int64_t kMaxVocab = std::int64_t{1} << 22;  // the bound of the sampling contract's integer sums

class Reader {
 public:
  explicit Reader(const GgufFile& file)
      : file_(file), prefix_(fmt::format("{}.", file.need_string("general.architecture"))) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw ModelError(fmt::format("{}: {}", file_.path().string(), what));
  }
  std::int64_t need(const char* key, std::int64_t low, std::int64_t high) const {
    return checked(key, file_.need_int(prefix_ + key), low, high);
  }
  std::int64_t get(const char* key, std::int64_t fallback, std::int64_t low, std::int64_t high) const {
    return checked(key, file_.get_int(prefix_ + key).value_or(fallback), low, high);
  }
  float get_float(const char* key, double fallback, double low, double high) const {
    const double value = file_.get_float(prefix_ + key).value_or(fallback);
    if (!(value >= low && value <= high)) fail(fmt::format("{}{} is {}, outside [{}, {}]", prefix_, key, value, low, high));
    return static_cast<float>(value);
  }
  std::string_view get_string(const char* key, std::string_view fallback) const {
    return file_.get_string(prefix_ + key).value_or(fallback);
  }

 private:
  std::int64_t checked(const char* key, std::int64_t value, std::int64_t low, std::int64_t high) const {
    if (value < low || value > high) fail(fmt::format("{}{} is {}, outside [{}, {}]", prefix_, key, value, low, high));
    return value;
  }
  const GgufFile& file_;
  std::string prefix_;
};

// The pair whose wavelength makes `turns` turns over the original context (YaRN, arXiv:2309.00071, equation 23).
double yarn_pair(double dims, double context, double base, double turns) {
  return dims * std::log(context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
}

void read_rope(const Reader& reader, const GgufFile& file, ModelConfig& config) {
  RopeParams& rope = config.rope;
  rope.dims = reader.get("rope.dimension_count", config.shape.head_dim, 2, config.shape.head_dim);
  if (rope.dims % 2 != 0) reader.fail(fmt::format("rope.dimension_count is {}, not even", rope.dims));
  rope.base = reader.get_float("rope.freq_base", 10000.0, 1.0001, 1e12);
  rope.interleaved = config.shape.architecture == "llama";

  // A factor without a type is linear, and 0 is none: so llama.cpp reads older files.
  const std::string_view kind = reader.get_string("rope.scaling.type", "linear");
  const double given =
      reader.get_float("rope.scaling.factor", reader.get_float("rope.scale_linear", 0.0, 0.0, 1e6), 0.0, 1e6);
  const double factor = given == 0.0 ? 1.0 : given;
  if (kind == "linear" || kind == "yarn") {
    if (factor < 1e-3) reader.fail(fmt::format("rope.scaling.factor is {}, which cannot scale positions", factor));
    rope.frequency_scale = static_cast<float>(1.0 / factor);
  } else if (kind != "none" && kind != "llama3") {  // llama3's factors come as a tensor
    reader.fail(fmt::format("rope.scaling.type \"{}\" is not one of none, linear, yarn, llama3", kind));
  }
  if (kind == "yarn") {
    const auto original = static_cast<double>(
        reader.get("rope.scaling.original_context_length", config.shape.context_length, 1, std::int64_t{1} << 31));
    const double fast = reader.get_float("rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6);
    const double slow = reader.get_float("rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6);
    rope.yarn_ext_factor = reader.get_float("rope.scaling.yarn_ext_factor", 1.0, 0.0, 1.0);
    const auto dims = static_cast<double>(rope.dims);
    rope.yarn_low = static_cast<float>(std::max(0.0, std::floor(yarn_pair(dims, original, rope.base, fast))));
    rope.yarn_high = static_cast<float>(std::min(dims - 1.0, std::ceil(yarn_pair(dims, original, rope.base, slow))));
    rope.mscale = reader.get_float("rope.scaling.attn_factor", 1.0, 1e-3, 1e3) *
                  static_cast<float>(rope.yarn_ext_factor > 0 ? 1.0 + 0.1 * std::log(factor) : 1.0);
  }
  const bool has_factors = file.find_tensor("rope_freqs.weight") != nullptr;
  if (kind == "llama3" && !has_factors)
    reader.fail(
        "rope.scaling.type is \"llama3\", but the tensor rope_freqs.weight with its factors is missing; convert the model "
        "again");
  if (has_factors) {
    const WeightView factors = file.matrix("rope_freqs.weight", 1, rope.dims / 2);
    config.rope_factors.resize(static_cast<std::size_t>(factors.cols));
    dequantize_row(factors, 0, config.rope_factors);
    for (const float f : config.rope_factors)
      if (!(f > 0.0f)) reader.fail(fmt::format("rope_freqs.weight holds {}, which divides no frequency", f));
  }
}

}  // namespace

ModelConfig read_config(const GgufFile& file) {
  const Reader reader(file);
  ModelConfig config;
  ModelShape& shape = config.shape;
  shape.architecture = file.need_string("general.architecture");
  if (shape.architecture != "llama" && shape.architecture != "qwen2")
    reader.fail(fmt::format("architecture \"{}\" is not supported; supported are llama and qwen2", shape.architecture));
  constexpr std::int64_t kMaxWidth = std::int64_t{1} << 20;
  shape.num_layers = reader.need("block_count", 1, 4096);
  shape.hidden_size = reader.need("embedding_length", 1, kMaxWidth);
  shape.intermediate_size = reader.need("feed_forward_length", 1, kMaxWidth);
  shape.num_heads = reader.need("attention.head_count", 1, 4096);
  shape.num_kv_heads = reader.get("attention.head_count_kv", shape.num_heads, 1, shape.num_heads);
  shape.context_length = reader.need("context_length", 1, std::int64_t{1} << 30);
  if (shape.num_heads % shape.num_kv_heads != 0)
    reader.fail(
        fmt::format("{} attention heads cannot share {} key-value heads evenly", shape.num_heads, shape.num_kv_heads));
  shape.head_dim = reader.get("attention.key_length", shape.hidden_size / shape.num_heads, 1, 256);
  if (reader.get("attention.value_length", shape.head_dim, 1, 256) != shape.head_dim)
    reader.fail("keys and values of different widths are not supported");
  if (shape.head_dim % 16 != 0)
    reader.fail(fmt::format("heads are {} wide; supported are multiples of 16 up to 256", shape.head_dim));
  if (reader.get("expert_count", 0, 0, 1 << 20) != 0) reader.fail("mixtures of experts are not supported");

  config.norm_epsilon = reader.get_float("attention.layer_norm_rms_epsilon", 1e-5, 0.0, 1.0);
  config.softmax_scale = reader.get_float("attention.scale", 0.0, 0.0, 1e6);
  if (config.softmax_scale == 0.0f)
    config.softmax_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  config.sliding_window = reader.get("attention.sliding_window", 0, 0, std::int64_t{1} << 31);
  const WeightView embedding = file.matrix("token_embd.weight", -1, shape.hidden_size);
  shape.vocab_size = embedding.rows;
  if (shape.vocab_size < 1 || shape.vocab_size > kMaxVocab)
    reader.fail(fmt::format("a vocabulary of {} tokens is outside [1, {}]", shape.vocab_size, kMaxVocab));
  config.tie_word_embeddings = file.find_tensor("output.weight") == nullptr;
  read_rope(reader, file, config);
  return config;
}

}  // namespace warploom
