// Jinja's filters and tests, and the methods of values: those that chat templates use.
#pragma once

#include <string_view>

#include "tokenizer/jinja/arguments.h"
#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

// Each throws TemplateError if there is no such thing, or not with such arguments.
Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(std::string_view name, const Value& value, const Arguments& arguments);
Value call_method(std::string_view name, const Value& object, const Arguments& arguments);

}  // namespace warploom::jinja
