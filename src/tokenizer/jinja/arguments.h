// What a filter, a test, a method or a function is given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

/// The names of what a callable takes, in order; an empty one is only given by its place.
using Parameters = std::vector<std::string_view>;

struct Arguments {
  List positional;
  Entries named;
  int line = 0;

  /// The argument at that place or of that name; null if it was not given.
  const Value* find(std::size_t place, std::string_view name = {}) const;
  /// Throws TemplateError, as does the next, if it is missing or no string.
  const Text& text(std::size_t place, std::string_view what, std::string_view name = {}) const;
  /// Empty if it was not given, or is none.
  std::optional<std::int64_t> number(std::size_t place, std::string_view what, std::string_view name = {}) const;
  /// Throws TemplateError if more is given than `what` takes, or something of another name.
  void check(std::string_view what, const Parameters& parameters) const;
};

}  // namespace warploom::jinja
