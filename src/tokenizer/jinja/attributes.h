// What Jinja finds behind a dot and within brackets: a dictionary's entries, a list's elements, a loop's state, and the names
// of Python's methods.
#pragma once

#include <string_view>

#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

/// `object.name`. Undefined if there is no such thing; throws TemplateError if `object` is itself undefined.
Value attribute_of(const Value& object, std::string_view name, int line);
/// `object[index]`, likewise.
Value element_of(const Value& object, const Value& index, int line);
/// What filters call an attribute: a number, or names and numbers with dots between. If something is undefined, `otherwise`
/// takes its place if it is not null.
Value follow_path(const Value& object, const Value& path, const Value* otherwise, int line);

}  // namespace warploom::jinja
