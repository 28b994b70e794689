// The methods of Python's strings, as far as chat templates use them; positions count characters.
#pragma once

#include <string_view>

#include "tokenizer/jinja/arguments.h"
#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

// Each throws TemplateError if there is no such thing, or not with such arguments.
Value call_string_method(std::string_view name, const Value& text, const Arguments& arguments);

/// Without white space, or the characters of `chars` if it is given and not none, at the front and the back.
Text strip(const Text& text, const Value* chars, bool front, bool back, int line);
/// `how`: upper, lower, title or capitalize.
Text change_case(const Text& text, std::string_view how, int line);
/// What `count` says, if it is not negative, is the maximum.
Text replace(const Text& text, const Text& from, const Text& to, std::int64_t count);
Text join(const List& parts, const Text& separator, int line);

}  // namespace warploom::jinja
