// A template as a row of tokens. White space between text and tags is settled here, with trim_blocks and lstrip_blocks on, as
// Hugging Face's library sets them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warploom::jinja {

enum class TokenType : std::uint8_t { text, print_begin, print_end, block_begin, block_end, name, string, integer, op, end };

struct Token {
  TokenType type;
  std::string value;  // of text and strings what they mean: escapes are resolved
  int line;
};

/// Ends in a token of type `end`. Throws TemplateError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace warploom::jinja
