// SentencePiece's BPE with byte fallback (Kudo and Richardson 2018, arXiv:1808.06226), as the Llama and Gemma families use
// it.
#pragma once

#include <array>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/tokenizer_data.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/vocabulary.h"

namespace warploom {

/// Merges the neighbours whose joint token has the highest score, the leftmost first, until no two make a token. Characters
/// without a token become their bytes' tokens, or the unknown token. The vocabulary's U+2581 stands for a space; a U+2581 in
/// the text is itself and is spelled with byte tokens.
class SentencePieceEncoder final : public TextEncoder {
 public:
  /// Replaces the spelling of tokens in `vocabulary`, which must outlive the encoder, by their bytes. Throws ModelError
  /// if a byte token is malformed, or bytes have neither tokens of their own nor an unknown token.
  SentencePieceEncoder(const TokenizerData& data, Vocabulary& vocabulary);

  void encode(std::string_view text, std::vector<TokenId>& ids) const override;

 private:
  std::unordered_map<std::string_view, TokenId> tokens_;  // what text can be merged into, by spelling
  std::vector<float> scores_;
  std::array<TokenId, 256> byte_tokens_;  // -1 if the vocabulary has none
  TokenId unknown_;
  std::size_t longest_ = 0;  // bytes of the longest token
};

}  // namespace warploom
