#include "tokenizer/vocabulary.h"

#include <array>
#include <optional>
#include <span>

#include <algorithm>

#include <fmt/format.h>

#include "tokenizer/pretokenize.h"
#include "warploom/error.h"

namespace warploom {
namespace {

// Tokens that end a turn or a text, or what is filled in between two parts of a file. Files name one or two of them in their
// metadata, and often not the one that the chat template ends a turn with.
constexpr auto kEnds = std::to_array<std::string_view>({"<|im_end|>",
                                                        "<|endoftext|>",
                                                        "<|eot_id|>",
                                                        "<|eom_id|>",
                                                        "<|end_of_text|>",
                                                        "<|end|>",
                                                        "<|EOT|>",
                                                        "<|end_of_turn|>",
                                                        "<end_of_turn>",
                                                        "<end_of_utterance>",
                                                        "<eos>",
                                                        "</s>",
                                                        "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
                                                        "<EOT>",
                                                        "\u2581<EOT>",
                                                        "<|fim_pad|>",
                                                        "<fim_pad>",
                                                        "<fim-pad>",
                                                        "<|repo_name|>",
                                                        "<repo_name>",
                                                        "<reponame>",
                                                        "<|fim_repo|>",
                                                        "<fim-repo>",
                                                        "<|file_sep|>",
                                                        "<file_sep>"});

// Spelled as no text is: "<|end|>".
bool is_barred(std::string_view text) { return text.size() > 4 && text.starts_with("<|") && text.ends_with("|>"); }

// Spelled as tokens with a role are, though text may be too: "</s>", "[PAD]".
bool looks_special(std::string_view text) {
  if (text.starts_with("\u2581")) text.remove_prefix(std::string_view("\u2581").size());
  if (text.size() < 3 || text.find(' ') != std::string_view::npos) return false;
  return (text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']');
}

}  // namespace

void throw_tokenizer_error(const TokenizerData& data, const std::string& what) {
  throw ModelError(fmt::format("{}: {}", data.path, what));
}

Vocabulary read_vocabulary(const TokenizerData& data, TokenIndex& index) {
  const std::span<const std::string_view> tokens = data.tokens;
  Vocabulary vocabulary;
  vocabulary.algorithm = data.algorithm;
  vocabulary.pieces.assign(tokens.begin(), tokens.end());
  vocabulary.kinds = data.kinds;

  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty()) continue;  // never encoded
    if (const TokenId same = index.insert(static_cast<TokenId>(i)); same >= 0)
      throw_tokenizer_error(data, fmt::format("{}[{}] repeats entry {}: '{}'", data.names.tokens, i, same, tokens[i]));
  }

  vocabulary.bos = data.bos;
  vocabulary.eos = data.eos;
  vocabulary.unknown = data.unknown;
  // Files that only fill up the vocabulary say so of "[PAD259]", if not always by its kind, and some of text that encoding may well
  // come to.
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].starts_with("[PAD") && tokens[i] == fmt::format("[PAD{}]", i)) vocabulary.kinds[i] = TokenKind::unused;
    if (vocabulary.kinds[i] == TokenKind::unused && !looks_special(tokens[i])) vocabulary.kinds[i] = TokenKind::normal;
  }
  // A role that the file gives by number counts more than the kind that it gives to the token.
  const auto has_role = [&](TokenId id) {
    const bool is_byte = id < 0 || vocabulary.kinds[id] == TokenKind::byte;
    if (!is_byte && !vocabulary.is_special(id) && looks_special(tokens[id])) vocabulary.kinds[id] = TokenKind::control;
  };
  const auto ends = [&](TokenId id) {
    has_role(id);
    if (std::ranges::find(vocabulary.eog, id) == vocabulary.eog.end()) vocabulary.eog.push_back(id);
  };
  has_role(data.bos);
  has_role(data.padding);
  if (data.eos >= 0) ends(data.eos);
  std::ranges::for_each(data.other_eog, ends);
  for (const std::string_view text : kEnds) {
    const TokenId found = index.find(text);
    if (found < 0) continue;
    // A normal token of that spelling may be a piece of text, for instance of HTML.
    if (vocabulary.is_atomic(found) || is_barred(text)) ends(found);
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
  vocabulary.nfc = !sentencepiece && words != nullptr && words->nfc;
  const bool add_bos = sentencepiece || (words != nullptr && words->add_bos);
  vocabulary.add_bos = flag(data.add_bos, data.names.add_bos, data.bos, add_bos);
  vocabulary.add_eos = flag(data.add_eos, data.names.add_eos, data.eos, false);
  return vocabulary;
}

}  // namespace warploom
