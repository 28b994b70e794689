#include "tokenizer/jinja/value.h"

#include <algorithm>

#include "tokenizer/jinja/error.h"
#include "tokenizer/utf8.h"

namespace warploom::jinja {

Text Text::substr(std::size_t begin, std::size_t count) const {
  Text part;
  part.bytes = bytes.substr(begin, count);
  part.authors = authors.substr(begin, count);
  return part;
}

void Text::append(const Text& more) {
  if (more.size() > kMaxTextBytes - std::min(size(), kMaxTextBytes)) throw TemplateError("the template makes too much text");
  bytes += more.bytes;
  authors += more.authors;
}

namespace {

// Values within values are destroyed by recursion.
int checked_height(int height) {
  if (height > 100) throw TemplateError("lists and dictionaries are nested too deeply");
  return height;
}

}  // namespace

int height_of(const List& items) {
  int height = 1;
  for (const Value& each : items) height = std::max(height, each.height() + 1);
  return checked_height(height);
}

Value Value::list(List list) {
  const int height = height_of(list);
  return {std::make_shared<const Container<List>>(Container<List>{std::move(list), height})};
}

Value Value::dictionary(Entries entries) {
  int height = 1;
  for (const auto& [key, each] : entries) height = std::max(height, each.height() + 1);
  return {std::make_shared<const Container<Entries>>(Container<Entries>{std::move(entries), checked_height(height)})};
}

int Value::height() const {
  if (is_list()) return std::get<ListPointer>(of)->height;
  if (is<LoopPointer>()) return std::get<LoopPointer>(of)->height;
  return is_dictionary() ? std::get<DictionaryPointer>(of)->height : 0;
}

const Entries* Value::entries() const {
  if (const auto* dictionary = std::get_if<DictionaryPointer>(&of)) return &(*dictionary)->items;
  const auto* space = std::get_if<Entries*>(&of);
  return space == nullptr ? nullptr : *space;
}

const Value* Value::find(std::string_view key) const {
  const Entries* all = entries();
  if (all == nullptr) return nullptr;
  const auto found = std::ranges::find(*all, key, &Entries::value_type::first);
  return found == all->end() ? nullptr : &found->second;
}

bool Value::truthy() const {
  if (is<Undefined>() || is<None>()) return false;
  if (const bool* truth = std::get_if<bool>(&of)) return *truth;
  if (const std::int64_t* number = std::get_if<std::int64_t>(&of)) return *number != 0;
  if (is_text()) return as_text().size() > 0;
  if (is_list()) return !as_list().empty();
  if (is_dictionary()) return !entries()->empty();
  return true;
}

std::string_view type_name(const Value& value) {
  if (value.is<Undefined>()) return "undefined";
  if (value.is<None>()) return "none";
  if (value.is<bool>()) return "a truth value";
  if (value.is<std::int64_t>()) return "a number";
  if (value.is_text()) return "a string";
  if (value.is_list()) return "a list";
  if (value.entries() != nullptr) return value.is_dictionary() ? "a dictionary" : "a namespace";
  if (value.is<LoopPointer>()) return "a loop";
  if (value.is<Macro>()) return "a macro";
  return value.is<Function>() ? "a function" : "a method";
}

namespace {

// Truth values count as numbers, as in Python.
bool is_number(const Value& value) { return value.is<std::int64_t>() || value.is<bool>(); }
std::int64_t number(const Value& value) {
  return value.is<bool>() ? std::int64_t{std::get<bool>(value.of)} : std::get<std::int64_t>(value.of);
}

}  // namespace

bool equal(const Value& a, const Value& b, int line) {
  if (is_number(a) && is_number(b)) return number(a) == number(b);
  if (a.is_text() && b.is_text()) return a.as_text().bytes == b.as_text().bytes;
  if (a.is_list() && b.is_list()) {
    return std::ranges::equal(a.as_list(), b.as_list(), [&](const Value& x, const Value& y) {
      if (x.is_list() && y.is_list()) fail(line, "comparing lists of lists is not supported");
      return equal(x, y, line);
    });
  }
  if (a.entries() != nullptr && b.entries() != nullptr) fail(line, "comparing dictionaries is not supported");
  return (a.is<None>() && b.is<None>()) || (a.is<Undefined>() && b.is<Undefined>());
}

bool contains(const Value& container, const Value& item, int line) {
  if (container.is_text() && item.is_text())
    return container.as_text().bytes.find(item.as_text().bytes) != std::string::npos;
  if (container.is<Undefined>()) return false;
  if (container.is_list())
    return std::ranges::any_of(container.as_list(), [&](const Value& each) { return equal(each, item, line); });
  if (container.entries() != nullptr) return item.is_text() && container.find(item.as_text().bytes) != nullptr;
  fail(line, "{} cannot be looked for in {}", type_name(item), type_name(container));
}

Text to_text(const Value& value, int line) {
  if (value.is_text()) return value.as_text();
  if (value.is<Undefined>()) return {};
  if (value.is<None>()) return Text("None");
  if (value.is<bool>()) return Text(std::get<bool>(value.of) ? "True" : "False");
  if (value.is<std::int64_t>()) return Text(fmt::format("{}", std::get<std::int64_t>(value.of)));
  fail(line, "writing {} as text is not supported", type_name(value));
}

std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts = {0};
  while (starts.back() < text.size()) starts.push_back(starts.back() + utf8_front(text.substr(starts.back())).bytes);
  return starts;
}

List elements(const Value& value, int line) {
  if (value.is_list()) return value.as_list();
  List all;
  if (value.is_text()) {
    if (value.as_text().size() > kMaxSplitBytes)
      fail(line, "a text of {} bytes is gone over by characters; at most {} are supported", value.as_text().size(),
           kMaxSplitBytes);
    const auto starts = character_starts(value.as_text().bytes);
    for (std::size_t i = 0; i + 1 < starts.size(); ++i)
      all.push_back(Value::text(value.as_text().substr(starts[i], starts[i + 1] - starts[i])));
  } else if (value.entries() != nullptr) {
    for (const auto& [key, unused] : *value.entries()) all.push_back(Value::text(key));
  } else if (!value.is<Undefined>()) {
    fail(line, "{} is no list to go over", type_name(value));
  }
  return all;
}

Value at_index(const Value& sequence, std::int64_t index, int line) {
  if (!sequence.is_list() && !sequence.is_text()) fail(line, "{} has no elements by number", type_name(sequence));
  const auto starts = sequence.is_text() ? character_starts(sequence.as_text().bytes) : std::vector<std::size_t>{};
  const auto size = static_cast<std::int64_t>(sequence.is_text() ? starts.size() - 1 : sequence.as_list().size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return {Undefined{fmt::format("element {}", index)}};
  const auto at = static_cast<std::size_t>(index);
  return sequence.is_list() ? sequence.as_list()[at]
                            : Value::text(sequence.as_text().substr(starts[at], starts[at + 1] - starts[at]));
}

Value slice(const Value& sequence, const Value& begin, const Value& end, const Value& step, int line) {
  const auto bound = [&](const Value& given, std::int64_t otherwise) {
    if (given.is<Undefined>() || given.is<None>()) return otherwise;
    if (!given.is<std::int64_t>()) fail(line, "a slice's bound is {}, not a number", type_name(given));
    return std::get<std::int64_t>(given.of);
  };
  const std::int64_t by = std::clamp<std::int64_t>(bound(step, 1), INT32_MIN, INT32_MAX);
  if (by == 0) fail(line, "a slice's step is 0");
  if (sequence.is_text() && by != 1) fail(line, "strings are only sliced by a step of 1");
  if (!sequence.is_text() && !sequence.is_list()) fail(line, "{} cannot be sliced", type_name(sequence));
  const auto starts = sequence.is_text() ? character_starts(sequence.as_text().bytes) : std::vector<std::size_t>{};
  const auto size = static_cast<std::int64_t>(sequence.is_text() ? starts.size() - 1 : sequence.as_list().size());
  const auto inside = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
    return std::clamp(at < 0 ? at + size : at, low, high);
  };
  const std::int64_t low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
  const bool open_begin = begin.is<Undefined>() || begin.is<None>(), open_end = end.is<Undefined>() || end.is<None>();
  const std::int64_t first = open_begin ? (by > 0 ? low : high) : inside(bound(begin, 0), low, high);
  const std::int64_t last = open_end ? (by > 0 ? high : low) : inside(bound(end, 0), low, high);
  if (sequence.is_text()) {
    const auto from = static_cast<std::size_t>(first), to = static_cast<std::size_t>(std::max(first, last));
    return Value::text(sequence.as_text().substr(starts[from], starts[to] - starts[from]));
  }
  List part;
  for (std::int64_t i = first; by > 0 ? i < last : i > last; i += by)
    part.push_back(sequence.as_list()[static_cast<std::size_t>(i)]);
  return Value::list(std::move(part));
}

}  // namespace warploom::jinja
