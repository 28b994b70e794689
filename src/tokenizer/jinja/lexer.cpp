#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "tokenizer/jinja/error.h"
#include "tokenizer/white_space.h"

namespace warploom::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// Line ends are line feeds, and one at the template's end does not count.
std::string normalise_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

void append_utf8(std::string& out, std::uint32_t c, int line) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
    fail(line, "a string has an escape of U+{:04X}, which is no character", c);
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    add(TokenType::end, "");
    return std::move(tokens_);
  }

 private:
  void add(TokenType type, std::string value) { tokens_.push_back({type, std::move(value), line_}); }

  void move_to(std::size_t position) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
    at_ = position;
  }

  std::size_t find_tag() const {
    for (std::size_t i = source_.find('{', at_); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char next = i + 1 < source_.size() ? source_[i + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return i;
    }
    return source_.size();
  }

  void text_and_tag() {
    const std::size_t tag = find_tag();
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    const bool ended = tag == source_.size();
    const char kind = ended ? '\0' : source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (!ended && sign == '-') {
      text.remove_suffix(white_space_after(text));
    } else if (!ended && sign != '+' && kind != '{') {
      text = without_indent(text);
    }
    if (!text.empty()) add(TokenType::text, std::string(text));
    move_to(tag);
    if (ended) return;
    move_to(tag + 2);
    if (kind == '#') return comment();
    if (sign == '-' || sign == '+') move_to(at_ + 1);
    add(kind == '{' ? TokenType::print_begin : TokenType::block_begin, "");
    code(kind == '{' ? '}' : '%');
  }

  // Leaves out white space that is alone before a block or a comment on its line.
  std::string_view without_indent(std::string_view text) const {
    const std::size_t line_end = text.rfind('\n');
    const bool line_starts = at_ == 0 || source_[at_ - 1] == '\n';
    if (line_end == std::string_view::npos && !line_starts) return text;
    const std::size_t begin = line_end == std::string_view::npos ? 0 : line_end + 1;
    return white_space_before(text.substr(begin)) == text.size() - begin ? text.substr(0, begin) : text;
  }

  void comment() {
    const int line = line_;
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail(line, "a comment has no end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    move_to(end + 2);
    after_tag(sign, true);
  }

  void after_tag(char sign, bool drops_line_end) {
    if (sign == '-') {
      move_to(at_ + white_space_before(std::string_view(source_).substr(at_)));
    } else if (drops_line_end && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      move_to(at_ + 1);
    }
  }

  // True, and past it, at the tag's end.
  bool tag_ends(char close) {
    const char c = source_[at_];
    const std::size_t sign = c == '-' || c == '+' ? 1 : 0;
    if (source_.compare(at_ + sign, 2, {close, '}'}) != 0) return false;
    move_to(at_ + sign + 2);
    after_tag(sign == 1 ? c : '\0', close == '%');
    return true;
  }

  void code(char close) {
    const int line = line_;
    int brackets = 0;  // within them, }} closes two dictionaries
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (const std::size_t space = white_space_before(std::string_view(source_).substr(at_)); space > 0) {
        move_to(at_ + space);
      } else if (brackets == 0 && tag_ends(close)) {
        add(close == '}' ? TokenType::print_end : TokenType::block_end, "");
        return;
      } else if (is_name_start(c)) {
        std::size_t end = at_;
        while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
        add(TokenType::name, source_.substr(at_, end - at_));
        move_to(end);
      } else if (is_digit(c)) {
        integer();
      } else if (c == '\'' || c == '"') {
        string();
      } else {
        op(brackets);
      }
    }
    fail(line, "a tag has no end");
  }

  void integer() {
    std::size_t end = at_;
    while (end < source_.size() && is_digit(source_[end])) ++end;
    if (end < source_.size() && (source_[end] == '.' || source_[end] == '_' || is_name_start(source_[end])))
      fail(line_, "only decimal whole numbers are supported");
    if (end - at_ > 9) fail(line_, "the number {} is too large", source_.substr(at_, end - at_));
    add(TokenType::integer, source_.substr(at_, end - at_));
    move_to(end);
  }

  void string() {
    const char quote = source_[at_];
    std::size_t i = at_ + 1;
    std::string value;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\') {
        value += source_[i];
      } else {
        i = escape(i + 1, value);
      }
    }
    if (i >= source_.size()) fail(line_, "a string has no end");
    add(TokenType::string, std::move(value));
    move_to(i + 1);
  }

  // Reads one of Python's escapes: `i` is behind the backslash; returns the place of the escape's last character.
  std::size_t escape(std::size_t i, std::string& value) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = i < source_.size() ? source_[i] : '\0';
    if (const std::size_t known = kLetters.find(c); c != '\0' && known != std::string_view::npos) {
      value += kMeanings[known];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      std::uint32_t code = 0;
      for (std::size_t k = 1; k <= digits; ++k) {
        const char digit = i + k < source_.size() ? source_[i + k] : '\0';
        const std::size_t at = std::string_view("0123456789abcdefABCDEF").find(digit);
        if (digit == '\0' || at == std::string_view::npos) fail(line_, "a string has a \\{} with too few digits", c);
        code = code << 4 | static_cast<std::uint32_t>(at < 16 ? at : at - 6);
      }
      append_utf8(value, code, line_);
      return i + digits;
    } else if (is_digit(c) || c == 'N') {
      fail(line_, "the escape \\{} is not supported", c);
    } else if (c != '\n') {  // a line that goes on
      value += '\\';         // any other backslash is itself
      if (i < source_.size()) value += c;
    }
    return i;
  }

  void op(int& brackets) {
    static constexpr auto kOps =
        std::to_array<std::string_view>({"==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<",
                                         ">",  "=",  "(",  ")",  "[",  "]",  "{", "}", ".", ",", ":", "|"});
    const std::string_view rest = std::string_view(source_).substr(at_);
    const auto found = std::ranges::find_if(kOps, [&](std::string_view o) { return rest.starts_with(o); });
    if (found == kOps.end()) fail(line_, "the character '{}' has no meaning there", rest.substr(0, 1));
    if (*found == "(" || *found == "[" || *found == "{") ++brackets;
    if (*found == ")" || *found == "]" || *found == "}") {
      if (--brackets < 0) fail(line_, "'{}' closes nothing", *found);
    }
    add(TokenType::op, std::string(*found));
    move_to(at_ + found->size());
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace warploom::jinja
