// Jinja's filters and tests, and the methods of Python's strings and dictionaries: those that chat templates use.
#pragma once

#include <string_view>

#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

struct Arguments {
  List positional;
  Entries named;
  int line = 0;

  /// The argument at that place or of that name; null if it was not given.
  const Value* find(std::size_t place, std::string_view name = {}) const;
};

// Each throws TemplateError if there is no such thing, or not with such arguments.
Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(std::string_view name, const Value& value, const Arguments& arguments);
Value call_method(std::string_view name, const Value& object, const Arguments& arguments);

}  // namespace warploom::jinja
