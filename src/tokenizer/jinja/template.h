// Runs the programs that model files carry for their chats: the part of Jinja that these use, as Hugging Face's library sets it
// up. Whatever else a program does is an error that names it, never a guess.
#pragma once

#include <string_view>

#include "tokenizer/jinja/syntax.h"
#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

/// Immutable and safe to share between threads.
class Template {
 public:
  /// Throws TemplateError if the source is not understood. Filters, tests and functions are looked up when they are reached.
  explicit Template(std::string_view source) : body_(parse(source)) {}

  /// Throws RaisedByTemplate if the template refuses the variables, and TemplateError if it does what is not supported, or too
  /// much of it.
  Text render(Entries variables) const;

 private:
  Body body_;
};

}  // namespace warploom::jinja
