#include "cli/answer.h"

#include <span>

namespace warploom::cli {

namespace {

// Decoding leaves out the space that encoding puts before a first word.
bool adds_space(const Tokenizer& tokenizer, TokenId first) {
  return tokenizer.piece(first).starts_with(' ') && !tokenizer.decode(std::span(&first, 1)).starts_with(' ');
}

std::string_view without_space(std::string_view text) { return text.starts_with(' ') ? text.substr(1) : text; }

}  // namespace

std::string_view AnswerText::next(const TokenEvent& event) {
  if (!started_ && event.token >= 0) {
    started_ = true;
    space_due_ = adds_space(tokenizer_, event.token);
  }
  if (!space_due_ || event.text.empty()) return event.text;
  space_due_ = false;
  return without_space(event.text);
}

std::string_view answer_text(const Tokenizer& tokenizer, const Completion& answer) {
  const bool space = !answer.token_ids.empty() && adds_space(tokenizer, answer.token_ids.front());
  return space ? without_space(answer.text) : std::string_view(answer.text);
}

}  // namespace warploom::cli
