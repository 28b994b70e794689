#include "ptx_lexer.h"

#include <bit>
#include <cctype>
#include <cstdlib>
#include <string>

namespace emulator::ptx {
namespace {

bool starts_word(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
}
bool in_word(char c) { return starts_word(c) || std::isdigit(static_cast<unsigned char>(c)); }

}  // namespace

void Lexer::skip_blanks() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n') {
      ++line_;
      ++at_;
    } else if (std::isspace(static_cast<unsigned char>(c))) {
      ++at_;
    } else if (text_.substr(at_, 2) == "//") {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else if (text_.substr(at_, 2) == "/*") {
      for (at_ += 2; at_ < text_.size() && text_.substr(at_, 2) != "*/"; ++at_) line_ += text_[at_] == '\n';
      at_ += 2;
    } else {
      return;
    }
  }
}

void Lexer::number() {
  const size_t start = at_;
  const std::string_view rest = text_.substr(at_);
  auto hex = [&](size_t digits) {
    const std::string body(rest.substr(2, digits));
    token_.value = static_cast<int64_t>(std::strtoull(body.c_str(), nullptr, 16));
    at_ += 2 + digits;
  };
  if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'f' || rest[1] == 'F')) {
    token_.kind = Token::Kind::kFloat32;
    hex(8);
  } else if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'd' || rest[1] == 'D')) {
    token_.kind = Token::Kind::kFloat64;
    hex(16);
  } else {
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '.')) ++at_;
    const std::string body(text_.substr(start, at_ - start));
    const bool is_hex = body.size() > 1 && (body[1] == 'x' || body[1] == 'X');
    if (!is_hex && body.find_first_of(".eE") != std::string::npos) {
      token_.kind = Token::Kind::kFloat64;
      token_.value = std::bit_cast<int64_t>(std::strtod(body.c_str(), nullptr));
    } else {
      token_.kind = Token::Kind::kInteger;
      const bool binary = body.size() > 1 && (body[1] == 'b' || body[1] == 'B') && !is_hex;
      token_.value = static_cast<int64_t>(std::strtoull(body.c_str() + (binary ? 2 : 0), nullptr, binary ? 2 : 0));
    }
  }
  token_.text = text_.substr(start, at_ - start);
}

void Lexer::advance() {
  skip_blanks();
  token_ = Token{};
  token_.line = line_;
  if (at_ >= text_.size()) return;
  const size_t start = at_;
  const char c = text_[at_];
  if (starts_word(c)) {
    token_.kind = Token::Kind::kWord;
    while (at_ < text_.size()) {
      if (c == '.' && at_ > start && text_[at_] == '.') break;  // ".reg.b32 x;" is a directive and its type
      if (in_word(text_[at_]))
        ++at_;
      else if (text_.substr(at_, 2) == "::")
        at_ += 2;  // .L1::no_allocate, .cluster::cta
      else
        break;
    }
    token_.text = text_.substr(start, at_ - start);
  } else if (std::isdigit(static_cast<unsigned char>(c))) {
    number();
  } else if (c == '"') {
    token_.kind = Token::Kind::kString;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) at_ += text_[at_] == '\\';
    token_.text = text_.substr(start + 1, at_ - start - 1);
    ++at_;
  } else {
    token_.kind = Token::Kind::kPunctuation;
    token_.text = text_.substr(at_++, 1);
  }
}

}  // namespace emulator::ptx
