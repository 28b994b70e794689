#include "tokenizer/jinja/arguments.h"

#include <algorithm>

#include "tokenizer/jinja/error.h"

namespace warploom::jinja {

const Value* Arguments::find(std::size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  const auto found = std::ranges::find(named, name, &Entries::value_type::first);
  return name.empty() || found == named.end() ? nullptr : &found->second;
}

const Text& Arguments::text(std::size_t place, std::string_view what, std::string_view name) const {
  const Value* given = find(place, name);
  if (given == nullptr) fail(line, "{}: an argument is missing", what);
  if (!given->is_text()) fail(line, "{}: {} is where a string should be", what, type_name(*given));
  return given->as_text();
}

std::optional<std::int64_t> Arguments::number(std::size_t place, std::string_view what, std::string_view name) const {
  const Value* given = find(place, name);
  if (given == nullptr || given->is<None>()) return std::nullopt;
  if (!given->is<std::int64_t>()) fail(line, "{}: {} is where a number should be", what, type_name(*given));
  return std::get<std::int64_t>(given->of);
}

void Arguments::check(std::string_view what, const Parameters& parameters) const {
  if (positional.size() > parameters.size()) fail(line, "{}: takes {} arguments at most", what, parameters.size());
  for (const auto& [name, value] : named) {
    const auto at = std::ranges::find(parameters, name);
    if (at == parameters.end() || name.empty()) fail(line, "{}: takes no argument '{}'", what, name);
    if (static_cast<std::size_t>(at - parameters.begin()) < positional.size())
      fail(line, "{}: the argument '{}' is given twice", what, name);
  }
}

}  // namespace warploom::jinja
