// The tokens of a model, checked: what they spell, of which kind they are, which of them have a role.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tokenizer_data.h"
#include "tokenizer/token_index.h"
#include "warploom/types.h"

namespace warploom {

struct Vocabulary {
  TokenAlgorithm algorithm = TokenAlgorithm::byte_level_bpe;
  std::vector<std::string> pieces;  // what each token spells, as decode writes it
  std::vector<TokenKind> kinds;
  std::vector<TokenId> eog;  // tokens that end a generation, each once
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unknown = -1;
  bool add_bos = false;
  bool add_eos = false;
  bool nfc = false;           // encode normalises text to Unicode's form C
  bool space_prefix = false;  // encode puts a space before a text's first word

  std::size_t size() const { return pieces.size(); }
  /// Has a role in the model, and does not belong to the text.
  bool is_special(TokenId id) const { return kinds[id] == TokenKind::control || kinds[id] == TokenKind::unknown; }
  /// Text that someone wrote may be made of it.
  bool is_text(TokenId id) const { return !is_special(id) && kinds[id] != TokenKind::unused; }
  /// Found in a text as a whole, before any algorithm sees it.
  bool is_atomic(TokenId id) const { return is_special(id) || kinds[id] == TokenKind::user_defined; }
};

/// Puts all tokens but empty ones into `index`, which is that of `data.tokens`. Throws ModelError naming path and key if a token
/// appears twice or a special token is to be added that there is not.
Vocabulary read_vocabulary(const TokenizerData& data, TokenIndex& index);

[[noreturn]] void throw_tokenizer_error(const TokenizerData& data, const std::string& what);

}  // namespace warploom
