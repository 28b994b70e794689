#include "tokenizer/vocabulary.h"

#include <array>
#include <optional>

#include <algorithm>

#include <fmt/format.h>

#include "tokenizer/pretokenize.h"
#include "warploom/error.h"

namespace warploom {
namespace {

// Tokens that end a turn or a text in the models of which this library knows the format. Files name one or two of them in
// their metadata, and often not the one that the chat template ends a turn with.
constexpr auto kEnds = std::to_array<std::string_view>(
    {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>"});

}  // namespace

void throw_tokenizer_error(const TokenizerData& data, const std::string& what) {
  throw ModelError(fmt::format("{}: {}", data.path, what));
}

Vocabulary read_vocabulary(const TokenizerData& data, TokenIndex& index) {
  const std::vector<std::string_view>& tokens = data.tokens;
  Vocabulary vocabulary;
  vocabulary.algorithm = data.algorithm;
  vocabulary.pieces.assign(tokens.begin(), tokens.end());
  vocabulary.kinds = data.kinds;

  index.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty()) continue;  // never encoded
    const auto [at, fresh] = index.emplace(tokens[i], static_cast<TokenId>(i));
    if (!fresh)
      throw_tokenizer_error(data, fmt::format("{}[{}] repeats entry {}: '{}'", data.names.tokens, i, at->second, tokens[i]));
  }

  vocabulary.bos = data.bos;
  vocabulary.eos = data.eos;
  vocabulary.unknown = data.unknown;
  const auto ends = [&vocabulary](TokenId id) {
    if (std::ranges::find(vocabulary.eog, id) == vocabulary.eog.end()) vocabulary.eog.push_back(id);
  };
  if (data.eos >= 0) ends(data.eos);
  std::ranges::for_each(data.other_eog, ends);
  for (const std::string_view text : kEnds) {
    const auto found = index.find(text);
    // A normal token of that spelling is a piece of text, for instance of HTML.
    if (found == index.end() || !vocabulary.is_atomic(found->second)) continue;
    vocabulary.kinds[found->second] = TokenKind::control;
    ends(found->second);
  }

  const bool sentencepiece = vocabulary.algorithm == TokenAlgorithm::sentencepiece;
  vocabulary.space_prefix = data.add_space_prefix.value_or(sentencepiece);
  const auto flag = [&](std::optional<bool> given, std::string_view key, TokenId id, bool otherwise) {
    const bool value = given.value_or(otherwise && id >= 0);
    if (value && id < 0)
      throw_tokenizer_error(data, fmt::format("{} is true, but the file does not say which token that is", key));
    return value;
  };
  const PreTokenizerKind* words = find_pretokenizer(data.pre_tokenizer);
  const bool add_bos = sentencepiece || (words != nullptr && words->add_bos);
  vocabulary.add_bos = flag(data.add_bos, data.names.add_bos, data.bos, add_bos);
  vocabulary.add_eos = flag(data.add_eos, data.names.add_eos, data.eos, false);
  return vocabulary;
}

}  // namespace warploom
