// Answers as people read them.
#pragma once

#include <string_view>

#include "warploom/request.h"
#include "warploom/tokenizer.h"

namespace warploom::cli {

/// The text of an answer that comes token by token. Some vocabularies put a space before a text's first word; it belongs to the
/// tokens, not to the answer.
class AnswerText {
 public:
  explicit AnswerText(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// What is to be shown of the next event.
  std::string_view next(const TokenEvent& event);

 private:
  const Tokenizer& tokenizer_;
  bool started_ = false;  // the first token came
  bool space_due_ = false;
};

/// The same of a whole answer.
std::string_view answer_text(const Tokenizer& tokenizer, const Completion& answer);

}  // namespace warploom::cli
