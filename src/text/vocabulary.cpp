#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "text/pretokenize.h"
#include "warploom/error.h"

namespace warploom {
namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kKinds = "tokenizer.ggml.token_type";

// Tokens that end a turn or a text in the models of which this library knows the format. Files name one or two of them in
// their metadata, and often not the one that the chat template ends a turn with.
constexpr auto kEnds = std::to_array<std::string_view>(
    {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>"});

TokenAlgorithm read_algorithm(const GgufFile& file) {
  const std::string_view model = file.need_string("tokenizer.ggml.model");
  if (model == "gpt2") return TokenAlgorithm::byte_level_bpe;
  if (model == "llama") return TokenAlgorithm::sentencepiece;
  throw_tokenizer_error(file, fmt::format("tokenizer.ggml.model is '{}'; supported are 'gpt2' (byte-level BPE) and 'llama' "
                                          "(SentencePiece)",
                                          model));
}

std::vector<TokenKind> read_kinds(const GgufFile& file, std::size_t tokens) {
  const GgufValue* value = file.find(kKinds);
  if (value == nullptr) return std::vector<TokenKind>(tokens, TokenKind::normal);
  const auto* array = std::get_if<GgufArray>(value);
  std::vector<TokenKind> kinds;
  const auto convert = [&](const auto& numbers) {
    if (numbers.size() != tokens) {
      throw_tokenizer_error(file, fmt::format("{} has {} entries for {} tokens", kKinds, numbers.size(), tokens));
    }
    kinds.reserve(tokens);
    for (std::size_t i = 0; i < tokens; ++i) {
      if (numbers[i] < 1 || numbers[i] > 6) {
        throw_tokenizer_error(file, fmt::format("{}[{}] is {}, not a token kind (1 to 6)", kKinds, i, numbers[i]));
      }
      kinds.push_back(static_cast<TokenKind>(numbers[i]));
    }
  };
  if (array != nullptr && std::holds_alternative<std::vector<std::int64_t>>(*array)) {
    convert(std::get<std::vector<std::int64_t>>(*array));
  } else if (array != nullptr && std::holds_alternative<std::vector<std::uint64_t>>(*array)) {
    convert(std::get<std::vector<std::uint64_t>>(*array));
  } else {
    throw_tokenizer_error(file, fmt::format("{} is not an array of integers", kKinds));
  }
  return kinds;
}

// -1 where the file has no such key.
TokenId read_role(const GgufFile& file, std::string_view key, std::size_t tokens) {
  const auto id = file.get_int(key);
  if (!id) return -1;
  if (*id < 0 || static_cast<std::uint64_t>(*id) >= tokens) {
    throw_tokenizer_error(file, fmt::format("{} is {}, outside the vocabulary of {} tokens", key, *id, tokens));
  }
  return static_cast<TokenId>(*id);
}

}  // namespace

void throw_tokenizer_error(const GgufFile& file, const std::string& what) {
  throw ModelError(fmt::format("{}: {}", file.path().string(), what));
}

Vocabulary read_vocabulary(const GgufFile& file, TokenIndex& index) {
  Vocabulary vocabulary;
  vocabulary.algorithm = read_algorithm(file);
  const std::vector<std::string_view>* tokens = file.get_strings(kTokens);
  if (tokens == nullptr) throw_tokenizer_error(file, fmt::format("{} is missing: the file has no tokenizer", kTokens));
  if (tokens->empty() || tokens->size() > INT32_MAX) {
    throw_tokenizer_error(file, fmt::format("{} has {} entries; 1 to 2^31 - 1 are possible", kTokens, tokens->size()));
  }
  vocabulary.pieces.assign(tokens->begin(), tokens->end());
  vocabulary.kinds = read_kinds(file, tokens->size());

  index.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    if ((*tokens)[i].empty()) continue;  // never encoded
    const auto [at, fresh] = index.emplace((*tokens)[i], static_cast<TokenId>(i));
    if (!fresh)
      throw_tokenizer_error(file, fmt::format("{}[{}] repeats entry {}: '{}'", kTokens, i, at->second, (*tokens)[i]));
  }

  const auto role = [&](std::string_view key) { return read_role(file, key, tokens->size()); };
  vocabulary.bos = role("tokenizer.ggml.bos_token_id");
  vocabulary.eos = role("tokenizer.ggml.eos_token_id");
  vocabulary.unknown = role("tokenizer.ggml.unknown_token_id");
  vocabulary.ends.resize(tokens->size());
  for (const TokenId id : {vocabulary.eos, role("tokenizer.ggml.eot_token_id"), role("tokenizer.ggml.eom_token_id")}) {
    if (id >= 0) vocabulary.ends[id] = true;
  }
  for (const std::string_view text : kEnds) {
    const auto found = index.find(text);
    // A normal token of that spelling is a piece of text, for instance of HTML.
    if (found == index.end() || !vocabulary.is_atomic(found->second)) continue;
    vocabulary.kinds[found->second] = TokenKind::control;
    vocabulary.ends[found->second] = true;
  }

  const bool sentencepiece = vocabulary.algorithm == TokenAlgorithm::sentencepiece;
  vocabulary.space_prefix = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(sentencepiece);
  const auto flag = [&](std::string_view key, TokenId id, bool otherwise) {
    const bool value = file.get_bool(key).value_or(otherwise && id >= 0);
    if (value && id < 0)
      throw_tokenizer_error(file, fmt::format("{} is true, but the file does not say which token that is", key));
    return value;
  };
  const PreTokenizerKind* words = find_pretokenizer(file.get_string("tokenizer.ggml.pre").value_or(""));
  const bool add_bos = sentencepiece || (words != nullptr && words->add_bos);
  vocabulary.add_bos = flag("tokenizer.ggml.add_bos_token", vocabulary.bos, add_bos);
  vocabulary.add_eos = flag("tokenizer.ggml.add_eos_token", vocabulary.eos, false);
  return vocabulary;
}

}  // namespace warploom
