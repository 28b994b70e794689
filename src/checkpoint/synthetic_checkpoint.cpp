#include "checkpoint/synthetic_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "checkpoint/file_type.h"
#include "checkpoint/random_weight.h"
#include "core/check.h"
#include "warploom/error.h"

namespace warploom {

namespace {

const FileType& find_file_type(std::string_view name) {
  std::string known;
  for (const FileType& type : file_types()) {
    if (type.name == name) return type;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", type.name);
  }
  throw InvalidArgument(fmt::format("weights of type \"{}\" are not known; known are {}", name, known));
}

constexpr std::int64_t kLeastVocab = 258;                                     // 256 bytes and two special tokens
constexpr std::int64_t kMaxVocab = std::int64_t{1} << 22, kMaxLayers = 4096;  // as src/model/config.cpp has them

// The word with this number: "Ġa", "Ġb", ... "Ġaa"; Ġ is how byte-level vocabularies spell a space.
std::string made_up_word(std::int64_t number) {
  std::string letters;
  for (; number >= 0; number = number / 26 - 1) letters.insert(letters.begin(), static_cast<char>('a' + number % 26));
  return "\u0120" + letters;
}

std::vector<std::string> made_up_tokens(std::int64_t vocab_size) {
  std::vector<std::string> tokens;
  tokens.reserve(static_cast<std::size_t>(vocab_size));
  for (const char32_t c : byte_alphabet())
    tokens.push_back(c < 128 ? std::string(1, static_cast<char>(c))
                             : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))});
  for (std::int64_t i = kLeastVocab; i < vocab_size; ++i) tokens.push_back(made_up_word(i - kLeastVocab));
  tokens.insert(tokens.end(), {"<|im_start|>", "<|im_end|>"});
  return tokens;
}

constexpr std::string_view kChatTemplate =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

std::string_view module_name(TensorRole role) {
  switch (role) {
    case TensorRole::embed_tokens: return "embed_tokens";
    case TensorRole::final_norm: return "norm";
    case TensorRole::lm_head: return "lm_head";
    case TensorRole::rope_factors: return "rope_factors";
    case TensorRole::input_norm: return "input_layernorm";
    case TensorRole::q_proj: return "q_proj";
    case TensorRole::k_proj: return "k_proj";
    case TensorRole::v_proj: return "v_proj";
    case TensorRole::qkv_proj: return "qkv_proj";
    case TensorRole::o_proj: return "o_proj";
    case TensorRole::post_attention_norm: return "post_attention_layernorm";
    case TensorRole::gate_proj: return "gate_proj";
    case TensorRole::up_proj: return "up_proj";
    case TensorRole::down_proj: return "down_proj";
  }
  return "";
}

class SyntheticCheckpoint final : public Checkpoint {
 public:
  SyntheticCheckpoint(const ModelShape& shape, const FileType& file_type, std::uint64_t seed, int threads)
      : shape_(shape),
        file_type_(file_type),
        seed_(seed),
        threads_(threads),
        path_(fmt::format("{} weights from seed {}", file_type.name, seed)),
        tokens_(made_up_tokens(shape.vocab_size)),
        spellings_(tokens_.begin(), tokens_.end()) {
    list_tensors();
  }

  const std::filesystem::path& path() const override { return path_; }
  std::string_view architecture() const override { return shape_.architecture; }
  std::optional<std::int64_t> get_int(ConfigKey key) const override {
    switch (key) {
      case ConfigKey::num_hidden_layers: return shape_.num_layers;
      case ConfigKey::hidden_size: return shape_.hidden_size;
      case ConfigKey::intermediate_size: return shape_.intermediate_size;
      case ConfigKey::num_attention_heads: return shape_.num_heads;
      case ConfigKey::num_key_value_heads: return shape_.num_kv_heads;
      case ConfigKey::head_dim: return shape_.head_dim;
      case ConfigKey::max_position_embeddings: return shape_.context_length;
      default: return std::nullopt;
    }
  }
  std::optional<double> get_float(ConfigKey) const override { return std::nullopt; }
  std::optional<std::string_view> get_string(ConfigKey) const override { return std::nullopt; }
  bool rope_interleaved() const override { return shape_.architecture == "llama"; }

  bool has(const TensorName& name) const override { return tensors_.contains(key_of(name)); }
  WeightView tensor(const TensorName& name, std::int64_t rows, std::int64_t cols) const override;
  std::uint64_t tensor_bytes() const override {
    std::uint64_t sum = 0;
    for (const auto& [key, tensor] : tensors_) sum += tensor.view.bytes();
    return sum;
  }

  TokenizerData tokenizer() const override;
  CheckpointInfo info() const override;
  std::string name_of(ConfigKey key) const override;
  std::string name_of(const TensorName& name) const override {
    const std::string_view part = name.part == TensorPart::bias ? "bias" : "weight";
    if (name.layer < 0) return fmt::format("{}.{}", module_name(name.role), part);
    return fmt::format("layers.{}.{}.{}", name.layer, module_name(name.role), part);
  }

 private:
  void read_rows(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const override;

  using Key = std::tuple<std::int64_t, TensorRole, TensorPart>;
  static Key key_of(const TensorName& name) { return {name.layer, name.role, name.part}; }

  struct Tensor {
    std::string name;
    WeightView view;  // without data
    float rms = 0;
    float mean = 0;
    std::uint64_t number = 0;
  };

  void list_tensors();
  void add_matrix(TensorRole role, std::int64_t layer, std::int64_t rows, std::int64_t cols, float gain = 1);
  void add_vector(TensorRole role, std::int64_t layer, std::int64_t size, float mean, TensorPart part = TensorPart::weight);
  void add(const TensorName& name, Tensor tensor);

  const ModelShape shape_;
  const FileType& file_type_;
  const std::uint64_t seed_;
  const int threads_;
  const std::filesystem::path path_;
  const std::vector<std::string> tokens_;
  const std::vector<std::string_view> spellings_;  // of them
  std::map<Key, Tensor> tensors_;
};

// Every product of a matrix and a vector of unit variance has about the variance of `gain` squared, so that activations keep
// their size from layer to layer.
void SyntheticCheckpoint::add_matrix(TensorRole role, std::int64_t layer, std::int64_t rows, std::int64_t cols, float gain) {
  Tensor tensor;
  const TensorName name{role, layer};
  tensor.view.type = matrix_type(file_type_, name, cols, shape_.num_layers, shape_.tie_word_embeddings);
  tensor.view.rows = rows;
  tensor.view.cols = cols;
  tensor.rms = gain / std::sqrt(static_cast<float>(cols));
  add(name, std::move(tensor));
}

void SyntheticCheckpoint::add_vector(TensorRole role, std::int64_t layer, std::int64_t size, float mean, TensorPart part) {
  Tensor tensor;
  tensor.view.rows = 1;
  tensor.view.cols = size;
  tensor.rms = 0.1f;
  tensor.mean = mean;
  add({role, layer, part}, std::move(tensor));
}

void SyntheticCheckpoint::add(const TensorName& name, Tensor tensor) {
  tensor.name = name_of(name);
  tensor.number = tensors_.size();
  tensors_.emplace(key_of(name), std::move(tensor));
}

void SyntheticCheckpoint::list_tensors() {
  using enum TensorRole;
  const ModelShape& s = shape_;
  const std::int64_t query = s.num_heads * s.head_dim, key = s.num_kv_heads * s.head_dim;
  constexpr float kLogitsDeviation = 3;  // about that of trained models
  // What layers add outweighs the embedding; else a tied output matrix would repeat the last token.
  constexpr float kResidualGain = 4;
  add_matrix(embed_tokens, -1, s.vocab_size, s.hidden_size, kLogitsDeviation);
  if (!s.tie_word_embeddings) add_matrix(lm_head, -1, s.vocab_size, s.hidden_size, kLogitsDeviation);
  add_vector(final_norm, -1, s.hidden_size, 1);
  for (std::int64_t i = 0; i < s.num_layers; ++i) {
    add_vector(input_norm, i, s.hidden_size, 1);
    add_matrix(q_proj, i, query, s.hidden_size);
    add_matrix(k_proj, i, key, s.hidden_size);
    add_matrix(v_proj, i, key, s.hidden_size);
    if (s.architecture == "qwen2") {
      add_vector(q_proj, i, query, 0, TensorPart::bias);
      add_vector(k_proj, i, key, 0, TensorPart::bias);
      add_vector(v_proj, i, key, 0, TensorPart::bias);
    }
    add_matrix(o_proj, i, s.hidden_size, query, kResidualGain);
    add_vector(post_attention_norm, i, s.hidden_size, 1);
    add_matrix(gate_proj, i, s.intermediate_size, s.hidden_size);
    add_matrix(up_proj, i, s.intermediate_size, s.hidden_size);
    add_matrix(down_proj, i, s.hidden_size, s.intermediate_size, kResidualGain);
  }
}

WeightView SyntheticCheckpoint::tensor(const TensorName& name, std::int64_t rows, std::int64_t cols) const {
  const auto found = tensors_.find(key_of(name));
  if (found == tensors_.end()) fail(fmt::format("there is no tensor {}", name_of(name)));
  const Tensor& tensor = found->second;
  WeightView view = tensor.view;
  if ((rows >= 0 && view.rows != rows) || (cols >= 0 && view.cols != cols))
    fail(fmt::format("{} is [{}, {}], not [{}, {}]", tensor.name, view.rows, view.cols, rows, cols));
  view.name = tensor.name;
  return view;
}

void SyntheticCheckpoint::read_rows(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const {
  const auto named = [&](const auto& entry) { return entry.second.name == view.name; };
  const Tensor& tensor = std::ranges::find_if(tensors_, named)->second;
  WeightView rows = tensor.view;
  rows.rows = count;
  fill_random(rows, out, tensor.rms, seed_ + tensor.number * 0xA0761D6478BD642Fu, threads_, first);
  if (tensor.mean == 0) return;
  for (std::int64_t i = 0; i < tensor.view.cols; ++i) {
    float value;
    std::memcpy(&value, out + 4 * i, sizeof value);
    value += tensor.mean;
    std::memcpy(out + 4 * i, &value, sizeof value);
  }
}

TokenizerData SyntheticCheckpoint::tokenizer() const {
  TokenizerData data;
  data.path = path_.string();
  data.tokens = spellings_;
  data.kinds.assign(tokens_.size(), TokenKind::normal);
  data.kinds[tokens_.size() - 2] = data.kinds[tokens_.size() - 1] = TokenKind::control;
  data.pre_tokenizer = "llama-bpe";  // takes a word that is a token as it is: no merges are needed
  data.bos = static_cast<TokenId>(tokens_.size() - 2);
  data.eos = static_cast<TokenId>(tokens_.size() - 1);
  data.add_bos = false;
  data.chat_template = kChatTemplate;
  data.names = {"tokens", "merges", "the pre-tokenizer", "add_bos", "add_eos", "the chat template"};
  return data;
}

CheckpointInfo SyntheticCheckpoint::info() const {
  CheckpointInfo info;
  info.format = path_.string();
  info.bytes = tensor_bytes();
  for (const auto& [key, tensor] : tensors_) {
    const WeightView& view = tensor.view;
    info.tensors.push_back({tensor.name, std::string(traits(view.type).name), {view.rows, view.cols}, 0, view.bytes()});
  }
  return info;
}

std::string SyntheticCheckpoint::name_of(ConfigKey key) const {
  switch (key) {
    case ConfigKey::num_hidden_layers: return "num_layers";
    case ConfigKey::hidden_size: return "hidden_size";
    case ConfigKey::intermediate_size: return "intermediate_size";
    case ConfigKey::num_attention_heads: return "num_heads";
    case ConfigKey::num_key_value_heads: return "num_kv_heads";
    case ConfigKey::head_dim: return "head_dim";
    case ConfigKey::max_position_embeddings: return "context_length";
    default: return "a value that no synthetic model has";
  }
}

}  // namespace

std::shared_ptr<const Checkpoint> synthetic_checkpoint(const ModelShape& shape, std::string_view file_type,
                                                       std::uint64_t seed, int threads) {
  const FileType& type = find_file_type(file_type);
  const auto in_range = [](const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
    require_that(value >= low && value <= high, "{} is {}; it must be in [{}, {}]", name, value, low, high);
  };
  in_range("vocab_size", shape.vocab_size, kLeastVocab, kMaxVocab);
  in_range("num_layers", shape.num_layers, 1, kMaxLayers);
  return std::make_shared<const SyntheticCheckpoint>(shape, type, seed, std::max(1, threads));
}

}  // namespace warploom
