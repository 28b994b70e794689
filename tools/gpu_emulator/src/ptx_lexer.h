// PTX text to tokens, one at a time.
#pragma once

#include <cstdint>
#include <string_view>

namespace emulator::ptx {

struct Token {
  enum class Kind : uint8_t { kEnd, kWord, kInteger, kFloat32, kFloat64, kString, kPunctuation };
  Kind kind = Kind::kEnd;
  std::string_view text;
  int64_t value = 0;  // integer, or the bits of a float
  uint32_t line = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }

  const Token& peek() const { return token_; }
  Token next() {
    Token token = token_;
    advance();
    return token;
  }

 private:
  void advance();
  void skip_blanks();
  void number();

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  Token token_;
};

}  // namespace emulator::ptx
