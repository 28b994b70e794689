// Metadata without a file, to hand the tokenizer what no sane file holds.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "formats/gguf.h"
#include "warploom/error.h"

namespace warploom {

class GgufInMemory final : public GgufFile {
 public:
  std::map<std::string, GgufValue, std::less<>> values;

  const std::filesystem::path& path() const override { return path_; }
  std::uint32_t version() const override { return 3; }
  std::uint64_t bytes() const override { return 0; }
  std::span<const std::pair<std::string_view, GgufValue>> metadata() const override { return {}; }
  std::span<const GgufTensor> tensors() const override { return {}; }
  const GgufValue* find(std::string_view key) const override {
    const auto found = values.find(key);
    return found == values.end() ? nullptr : &found->second;
  }
  const GgufTensor* find_tensor(std::string_view) const override { return nullptr; }
  std::optional<std::int64_t> get_int(std::string_view key) const override { return get<std::int64_t>(key); }
  std::optional<double> get_float(std::string_view key) const override { return get<double>(key); }
  std::optional<bool> get_bool(std::string_view key) const override { return get<bool>(key); }
  std::optional<std::string_view> get_string(std::string_view key) const override { return get<std::string_view>(key); }
  std::int64_t need_int(std::string_view key) const override { return need(get_int(key), key); }
  std::string_view need_string(std::string_view key) const override { return need(get_string(key), key); }
  const std::vector<std::string_view>* get_strings(std::string_view key) const override {
    const GgufValue* value = find(key);
    if (value == nullptr) return nullptr;
    const auto* array = std::get_if<GgufArray>(value);
    const auto* strings = array == nullptr ? nullptr : std::get_if<std::vector<std::string_view>>(array);
    if (strings == nullptr) throw ModelError(std::string(key) + " is not an array of strings");
    return strings;
  }
  WeightView matrix(std::string_view name, std::int64_t, std::int64_t) const override {
    throw ModelError(std::string(name));
  }
  void release(const WeightView&) const override {}

 private:
  template <class T>
  std::optional<T> get(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) return {};
    if (const T* typed = std::get_if<T>(value)) return *typed;
    throw ModelError(std::string(key) + " is of another kind");
  }
  template <class T>
  static T need(std::optional<T> value, std::string_view key) {
    if (!value) throw ModelError(std::string(key) + " is missing");
    return *value;
  }
  std::filesystem::path path_ = "memory.gguf";
};

/// A byte-level vocabulary of the bytes a, b, c and space with two merges, or a SentencePiece one of the same.
inline std::shared_ptr<GgufInMemory> small_bpe() {
  auto file = std::make_shared<GgufInMemory>();
  using Strings = std::vector<std::string_view>;
  file->values["tokenizer.ggml.model"] = std::string_view("gpt2");
  file->values["tokenizer.ggml.pre"] = std::string_view("gpt-2");
  file->values["tokenizer.ggml.tokens"] = GgufArray(Strings{"a", "b", "c", "Ġ", "ab", "abc", "<|im_start|>", "<|im_end|>"});
  file->values["tokenizer.ggml.token_type"] = GgufArray(std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 3, 3});
  file->values["tokenizer.ggml.merges"] = GgufArray(Strings{"a b", "ab c"});
  return file;
}
inline std::shared_ptr<GgufInMemory> small_sentencepiece() {
  auto file = std::make_shared<GgufInMemory>();
  using Strings = std::vector<std::string_view>;
  file->values["tokenizer.ggml.model"] = std::string_view("llama");
  file->values["tokenizer.ggml.tokens"] = GgufArray(Strings{"<unk>", "<s>", "</s>", "<0x41>", "a", "b", "▁", "▁a"});
  file->values["tokenizer.ggml.token_type"] = GgufArray(std::vector<std::int64_t>{2, 3, 3, 6, 1, 1, 1, 1});
  file->values["tokenizer.ggml.scores"] = GgufArray(std::vector<double>{0, 0, 0, 0, -2, -3, -4, -1});
  file->values["tokenizer.ggml.unknown_token_id"] = std::int64_t{0};
  file->values["tokenizer.ggml.bos_token_id"] = std::int64_t{1};
  file->values["tokenizer.ggml.eos_token_id"] = std::int64_t{2};
  return file;
}

}  // namespace warploom
