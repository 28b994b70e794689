// Tokenizers from metadata that no sane file holds: written to a GGUF file and read again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "checkpoint/gguf_parser.h"
#include "support/gguf_writer.h"
#include "warploom/error.h"
#include "warploom/tokenizer.h"

namespace warploom {

struct GgufInMemory {
  std::map<std::string, GgufValue, std::less<>> values;

  std::string bytes() const {
    std::string file = "GGUF";
    append(file, std::uint32_t{3});
    append(file, std::uint64_t{0});  // tensors
    append(file, std::uint64_t{values.size()});
    for (const auto& [key, value] : values) {
      append(file, std::string_view(key));
      std::visit([&](const auto& v) { append(file, kind_of(v)), append(file, v); }, value);
    }
    return file;
  }

 private:
  template <typename T>
  static std::uint32_t kind_of(const T&) {
    if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
    if constexpr (std::is_same_v<T, std::int64_t>) return 11;
    if constexpr (std::is_same_v<T, double>) return 12;
    if constexpr (std::is_same_v<T, bool>) return 7;
    if constexpr (std::is_same_v<T, std::string_view>) return 8;
    return 9;
  }
  template <typename T>
  static void append(std::string& file, const T& value) {
    file.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void append(std::string& file, std::string_view text) {
    append(file, std::uint64_t{text.size()});
    file += text;
  }
  static void append(std::string& file, const GgufArray& array) {
    const auto elements = [&]<typename T>(const std::vector<T>& values) {
      append(file, kind_of(T{}));
      append(file, std::uint64_t{values.size()});
      for (const T& value : values) append(file, value);
    };
    std::visit(elements, array);
  }
};

inline std::shared_ptr<const Tokenizer> load_tokenizer(const std::shared_ptr<const GgufInMemory>& file) {
  return Tokenizer::load(test::TemporaryModel(file->bytes()).path());
}

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
