// What a model's files say about its tokenizer, whatever their format.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/types.h"

namespace warploom {

enum class TokenAlgorithm : std::uint8_t { byte_level_bpe, sentencepiece };

/// The numbers are those of GGUF and of SentencePiece's own files.
enum class TokenKind : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// Views are into the checkpoint that gave it and live as long as that. The checkpoint has checked that what the algorithm
/// needs is there, that kinds and scores have one entry for each token, and that ids are in the vocabulary.
struct TokenizerData {
  std::string path;  // of the file, for messages
  TokenAlgorithm algorithm = TokenAlgorithm::byte_level_bpe;
  std::span<const std::string_view> tokens;  // as the vocabulary spells them, e.g. "Ġthe" or "▁the"; 1 to 2^31 - 1
  std::vector<TokenKind> kinds;
  std::span<const std::string_view> merges;  // byte-level BPE: "left right", the first to apply first; below 2^31
  std::vector<float> scores;                 // SentencePiece: finite
  std::string_view pre_tokenizer;            // byte-level BPE: llama.cpp's name for how text is split into words
  TokenId bos = -1;                          // -1: none
  TokenId eos = -1;
  TokenId unknown = -1;
  TokenId padding = -1;
  std::vector<TokenId> other_eog;  // tokens besides eos that end a generation
  std::optional<bool> add_bos;     // empty: the files do not say
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  std::string_view chat_template;  // a Jinja program; empty: none

  /// What the files call these, for messages.
  struct Names {
    std::string_view tokens, merges, pre_tokenizer, add_bos, add_eos, chat_template;
  } names;
};

/// The code point by which a byte-level vocabulary spells each byte, as GPT-2's does: printable bytes as themselves in Latin-1,
/// the other 68 from U+0100 on, in order.
std::array<char32_t, 256> byte_alphabet();

}  // namespace warploom
