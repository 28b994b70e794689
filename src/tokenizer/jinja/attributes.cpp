#include "tokenizer/jinja/attributes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "tokenizer/jinja/error.h"

namespace warploom::jinja {
namespace {

// Methods of Python 3, without those that change their object, which Jinja hides from templates.
constexpr auto kStringMethods = std::to_array<std::string_view>(
    {"capitalize",   "casefold",   "center",    "count",       "encode",    "endswith",     "expandtabs",   "find",
     "format",       "format_map", "index",     "isalnum",     "isalpha",   "isascii",      "isdecimal",    "isdigit",
     "isidentifier", "islower",    "isnumeric", "isprintable", "isspace",   "istitle",      "isupper",      "join",
     "ljust",        "lower",      "lstrip",    "maketrans",   "partition", "removeprefix", "removesuffix", "replace",
     "rfind",        "rindex",     "rjust",     "rpartition",  "rsplit",    "rstrip",       "split",        "splitlines",
     "startswith",   "strip",      "swapcase",  "title",       "translate", "upper",        "zfill"});
constexpr auto kListMethods = std::to_array<std::string_view>({"copy", "count", "index"});
constexpr auto kDictionaryMethods = std::to_array<std::string_view>({"copy", "fromkeys", "get", "items", "keys", "values"});
constexpr auto kLoopMethods = std::to_array<std::string_view>({"changed", "cycle"});

std::span<const std::string_view> methods_of(const Value& object) {
  if (object.is_text()) return kStringMethods;
  if (object.is_list()) return kListMethods;
  if (object.is_dictionary()) return kDictionaryMethods;
  if (object.is<LoopPointer>()) return kLoopMethods;
  return {};
}

std::optional<Value> method(const Value& object, std::string_view name) {
  const auto methods = methods_of(object);
  const auto found = std::ranges::find(methods, name);
  if (found == methods.end()) return std::nullopt;
  return Value{Method{*found}};
}

Value loop_attribute(const Loop& loop, std::string_view name) {
  const std::size_t i = loop.index0, size = loop.items.size();
  if (name == "index") return Value::integer(i + 1);
  if (name == "index0") return Value::integer(i);
  if (name == "revindex") return Value::integer(size - i);
  if (name == "revindex0") return Value::integer(size - i - 1);
  if (name == "first") return {i == 0};
  if (name == "last") return {i + 1 == size};
  if (name == "length") return Value::integer(size);
  if (name == "previtem" && i > 0) return loop.items[i - 1];
  if (name == "nextitem" && i + 1 < size) return loop.items[i + 1];
  // These tell apart the levels of loops that call themselves, which are not supported.
  if (name == "depth") return {std::int64_t{1}};
  if (name == "depth0") return {std::int64_t{0}};
  return {Undefined{std::string(name)}};
}

// An entry, or what else has the name apart from methods.
Value entry(const Value& object, std::string_view name, int line) {
  if (const auto* loop = std::get_if<LoopPointer>(&object.of)) return loop_attribute(**loop, name);
  if (object.is<Macro>() || object.is<Function>() || object.is<Method>())
    fail(line, "'{}' of {} is not supported", name, type_name(object));
  const Value* found = object.find(name);
  return found == nullptr ? Value{Undefined{std::string(name)}} : *found;
}

}  // namespace

Value attribute_of(const Value& object, std::string_view name, int line) {
  if (object.is<Undefined>()) fail(line, "'{}' is undefined, so it has no '{}'", std::get<Undefined>(object.of).name, name);
  if (const auto found = method(object, name)) return *found;
  return entry(object, name, line);
}

Value element_of(const Value& object, const Value& index, int line) {
  if (object.is<Undefined>()) fail(line, "'{}' is undefined, so it has no elements", std::get<Undefined>(object.of).name);
  if (index.is_text()) {
    const std::string& name = index.as_text().bytes;
    const Value found = entry(object, name, line);
    return found.is<Undefined>() ? method(object, name).value_or(found) : found;
  }
  if (!index.is<std::int64_t>()) fail(line, "{} is no index", type_name(index));
  return at_index(object, std::get<std::int64_t>(index.of), line);
}

Value follow_path(const Value& object, const Value& path, const Value* otherwise, int line) {
  Value found = object;
  const auto step = [&](const Value& index) {
    const bool has_elements = found.is_text() || found.is_list() || found.is<Undefined>();
    found = index.is_text() || has_elements ? element_of(found, index, line) : Value{Undefined{"element"}};
    if (found.is<Undefined>() && otherwise != nullptr) found = *otherwise;
  };
  if (!path.is_text()) {
    step(path);
    return found;
  }
  const std::string_view names = path.as_text().bytes;
  for (std::size_t begin = 0, end = 0; begin <= names.size(); begin = end + 1) {
    end = std::min(names.find('.', begin), names.size());
    const std::string_view name = names.substr(begin, end - begin);
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool is_number = error == std::errc() && stop == name.data() + name.size() && number >= 0;
    step(is_number ? Value{number} : Value::text(name));
  }
  return found;
}

}  // namespace warploom::jinja
