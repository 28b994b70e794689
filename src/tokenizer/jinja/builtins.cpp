#include "tokenizer/jinja/builtins.h"

#include <algorithm>
#include <functional>
#include <map>

#include "tokenizer/jinja/error.h"
#include "tokenizer/white_space.h"

namespace warploom::jinja {
namespace {

const Text& text_of(const Value& value, std::string_view what, int line) {
  if (!value.is_text()) fail(line, "{}: {} is where a string should be", what, type_name(value));
  return value.as_text();
}

const Text& text_argument(const Arguments& arguments, std::size_t place, std::string_view what) {
  const Value* given = arguments.find(place);
  if (given == nullptr) fail(arguments.line, "{}: an argument is missing", what);
  return text_of(*given, what, arguments.line);
}

Text strip(const Text& text, const Value* what, bool front, bool back, int line) {
  const std::string_view bytes = text.bytes;
  if (what == nullptr || what->is<None>()) {
    const std::size_t begin = front ? white_space_before(bytes) : 0;
    const std::size_t end = back ? white_space_after(bytes.substr(begin)) : 0;
    return text.substr(begin, bytes.size() - begin - end);
  }
  const std::string& set = text_of(*what, "strip", line).bytes;
  if (std::ranges::any_of(set, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
    fail(line, "strip: only characters of ASCII can be taken away");
  const auto in_set = [&](char c) { return set.find(c) != std::string::npos; };
  std::size_t begin = 0, end = bytes.size();
  while (front && begin < end && in_set(bytes[begin])) ++begin;
  while (back && end > begin && in_set(bytes[end - 1])) --end;
  return text.substr(begin, end - begin);
}

Text change_case(const Text& text, std::string_view how, int line) {
  Text changed = text;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  for (std::size_t i = 0; i < changed.size(); ++i) {
    char& c = changed.bytes[i];
    if (static_cast<unsigned char>(c) >= 0x80) fail(line, "{}: only supported of ASCII", how);
    if (how == "title" && !is_letter(c)) fail(line, "title: only supported of one word");
    const bool up = how == "upper" || ((how == "title" || how == "capitalize") && i == 0);
    if (is_letter(c)) c = static_cast<char>(up ? c & ~0x20 : c | 0x20);
  }
  return changed;
}

Text replace(const Text& text, const Arguments& arguments) {
  const Text& from = text_argument(arguments, 0, "replace");
  const Text& to = text_argument(arguments, 1, "replace");
  if (from.size() == 0 || arguments.find(2) != nullptr)
    fail(arguments.line, "replace: only two strings, the first not empty");
  Text out;
  std::size_t at = 0;
  for (std::size_t found = text.bytes.find(from.bytes); found != std::string::npos;
       found = text.bytes.find(from.bytes, at)) {
    out.append(text.substr(at, found - at));
    out.append(to);
    at = found + from.size();
  }
  out.append(text.substr(at));
  return out;
}

List split(const Text& text, const Arguments& arguments) {
  const Value* limit = arguments.find(1, "maxsplit");
  if (limit != nullptr && !limit->is<std::int64_t>()) fail(arguments.line, "split: maxsplit is not a number");
  std::int64_t left = limit == nullptr ? -1 : std::get<std::int64_t>(limit->of);
  List parts;
  const Value* by = arguments.find(0, "sep");
  if (by == nullptr || by->is<None>()) {
    if (limit != nullptr) fail(arguments.line, "split: maxsplit without a separator is not supported");
    for (std::size_t at = white_space_before(text.bytes); at < text.size();) {
      std::size_t end = at;
      while (end < text.size() && white_space_before(std::string_view(text.bytes).substr(end)) == 0) ++end;
      parts.push_back(Value::text(text.substr(at, end - at)));
      at = end + white_space_before(std::string_view(text.bytes).substr(end));
    }
    return parts;
  }
  const std::string& separator = text_of(*by, "split", arguments.line).bytes;
  if (separator.empty()) fail(arguments.line, "split: the separator is empty");
  std::size_t at = 0;
  for (std::size_t found = text.bytes.find(separator); found != std::string::npos && left != 0; --left) {
    parts.push_back(Value::text(text.substr(at, found - at)));
    at = found + separator.size();
    found = text.bytes.find(separator, at);
  }
  parts.push_back(Value::text(text.substr(at)));
  return parts;
}

Text join(const Value& list, const Value* separator, const Value* attribute, int line) {
  Text out;
  bool first = true;
  for (const Value& each : elements(list, line)) {
    if (!first && separator != nullptr) out.append(text_of(*separator, "join", line));
    first = false;
    const Value* part = attribute == nullptr ? &each : each.find(text_of(*attribute, "join", line).bytes);
    if (part != nullptr) out.append(to_text(*part, line));
  }
  return out;
}

std::size_t length(const Value& value, int line) {
  if (value.is_text()) return character_starts(value.as_text().bytes).size() - 1;
  if (value.is_list()) return value.as_list().size();
  if (value.entries() != nullptr) return value.entries()->size();
  if (value.is<Undefined>()) return 0;
  fail(line, "{} has no length", type_name(value));
}

List items(const Value& value, int line) {
  if (value.entries() == nullptr) fail(line, "items: {} is where a dictionary should be", type_name(value));
  List all;
  for (const auto& [key, each] : *value.entries()) all.push_back(Value::list({Value::text(key), each}));
  return all;
}

// selectattr and rejectattr: an attribute, the name of a test, and its argument.
List select(const Value& list, bool keep, const Arguments& arguments) {
  if (list.is<None>()) return {};
  const std::string& attribute = text_argument(arguments, 0, "selectattr").bytes;
  const Value* test = arguments.find(1);
  Arguments rest{.positional = {}, .named = {}, .line = arguments.line};
  if (arguments.positional.size() > 2) rest.positional.assign(arguments.positional.begin() + 2, arguments.positional.end());
  List selected;
  for (const Value& each : elements(list, arguments.line)) {
    const Value* found = each.find(attribute);
    const Value value = found == nullptr ? Value{Undefined{attribute}} : *found;
    const bool passes =
        test == nullptr ? value.truthy() : apply_test(text_of(*test, "selectattr", arguments.line).bytes, value, rest);
    if (passes == keep) selected.push_back(each);
  }
  return selected;
}

List map(const Value& list, const Arguments& arguments) {
  if (list.is<None>()) return {};
  const Value* attribute = nullptr;
  for (const auto& [name, value] : arguments.named)
    if (name == "attribute") attribute = &value;
  List mapped;
  for (const Value& each : elements(list, arguments.line)) {
    if (attribute == nullptr) {
      mapped.push_back(apply_filter(text_argument(arguments, 0, "map").bytes, each, {{}, {}, arguments.line}));
      continue;
    }
    const std::string& name = text_of(*attribute, "map", arguments.line).bytes;
    const Value* found = each.find(name);
    mapped.push_back(found == nullptr ? Value{Undefined{name}} : *found);
  }
  return mapped;
}

bool otherwise_needed(const Value& value, const Arguments& arguments) {
  const Value* falsy_too = arguments.find(1, "boolean");
  return value.is<Undefined>() || (falsy_too != nullptr && falsy_too->truthy() && !value.truthy());
}

using Function = std::function<Value(const Value&, const Arguments&)>;
using Functions = std::map<std::string_view, Function>;

const Functions& filters() {
  static const Functions known = [] {
    Functions all;
    all["trim"] = [](const Value& v, const Arguments& a) {
      return Value::text(strip(to_text(v, a.line), a.find(0, "chars"), true, true, a.line));
    };
    for (const std::string_view how : {"upper", "lower", "title", "capitalize"})
      all[how] = [how](const Value& v, const Arguments& a) {
        return Value::text(change_case(to_text(v, a.line), how, a.line));
      };
    all["length"] = all["count"] = [](const Value& v, const Arguments& a) { return Value::integer(length(v, a.line)); };
    all["first"] = [](const Value& v, const Arguments& a) { return at_index(Value::list(elements(v, a.line)), 0, a.line); };
    all["last"] = [](const Value& v, const Arguments& a) { return at_index(Value::list(elements(v, a.line)), -1, a.line); };
    all["list"] = [](const Value& v, const Arguments& a) { return Value::list(elements(v, a.line)); };
    all["string"] = [](const Value& v, const Arguments& a) { return Value::text(to_text(v, a.line)); };
    all["safe"] = all["string"];
    all["replace"] = [](const Value& v, const Arguments& a) { return Value::text(replace(to_text(v, a.line), a)); };
    all["join"] = [](const Value& v, const Arguments& a) {
      return Value::text(join(v, a.find(0, "d"), a.find(1, "attribute"), a.line));
    };
    all["default"] = all["d"] = [](const Value& v, const Arguments& a) {
      if (!otherwise_needed(v, a)) return v;
      const Value* otherwise = a.find(0, "default_value");
      return otherwise == nullptr ? Value::text("") : *otherwise;
    };
    all["reverse"] = [](const Value& v, const Arguments& a) {
      if (v.is_text()) fail(a.line, "reverse: not supported of strings");
      List list = elements(v, a.line);
      std::ranges::reverse(list);
      return Value::list(std::move(list));
    };
    all["items"] = [](const Value& v, const Arguments& a) { return Value::list(items(v, a.line)); };
    all["selectattr"] = [](const Value& v, const Arguments& a) { return Value::list(select(v, true, a)); };
    all["rejectattr"] = [](const Value& v, const Arguments& a) { return Value::list(select(v, false, a)); };
    all["map"] = [](const Value& v, const Arguments& a) { return Value::list(map(v, a)); };
    return all;
  }();
  return known;
}

const Functions& string_methods() {
  static const Functions known = [] {
    Functions all;
    const auto stripper = [](bool front, bool back) {
      return [=](const Value& v, const Arguments& a) {
        return Value::text(strip(v.as_text(), a.find(0), front, back, a.line));
      };
    };
    all["strip"] = stripper(true, true);
    all["lstrip"] = stripper(true, false);
    all["rstrip"] = stripper(false, true);
    for (const std::string_view how : {"upper", "lower", "title", "capitalize"})
      all[how] = [how](const Value& v, const Arguments& a) { return Value::text(change_case(v.as_text(), how, a.line)); };
    all["replace"] = [](const Value& v, const Arguments& a) { return Value::text(replace(v.as_text(), a)); };
    all["split"] = [](const Value& v, const Arguments& a) { return Value::list(split(v.as_text(), a)); };
    all["join"] = [](const Value& v, const Arguments& a) {
      const Value* list = a.find(0);
      if (list == nullptr) fail(a.line, "join: an argument is missing");
      return Value::text(join(*list, &v, nullptr, a.line));
    };
    all["startswith"] = [](const Value& v, const Arguments& a) {
      return Value{v.as_text().bytes.starts_with(text_argument(a, 0, "startswith").bytes)};
    };
    all["endswith"] = [](const Value& v, const Arguments& a) {
      return Value{v.as_text().bytes.ends_with(text_argument(a, 0, "endswith").bytes)};
    };
    return all;
  }();
  return known;
}

using Test = std::function<bool(const Value&, const Arguments&)>;

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> known = [] {
    std::map<std::string_view, Test> all;
    all["defined"] = [](const Value& v, const Arguments&) { return !v.is<Undefined>(); };
    all["undefined"] = [](const Value& v, const Arguments&) { return v.is<Undefined>(); };
    all["none"] = [](const Value& v, const Arguments&) { return v.is<None>(); };
    all["string"] = [](const Value& v, const Arguments&) { return v.is_text(); };
    all["boolean"] = [](const Value& v, const Arguments&) { return v.is<bool>(); };
    all["integer"] = [](const Value& v, const Arguments&) { return v.is<std::int64_t>(); };
    all["number"] = [](const Value& v, const Arguments&) { return v.is<std::int64_t>() || v.is<bool>(); };
    all["true"] = [](const Value& v, const Arguments&) { return v.is<bool>() && v.truthy(); };
    all["false"] = [](const Value& v, const Arguments&) { return v.is<bool>() && !v.truthy(); };
    all["mapping"] = [](const Value& v, const Arguments&) { return v.is_dictionary(); };
    all["iterable"] = all["sequence"] = [](const Value& v, const Arguments&) {
      return v.is_text() || v.is_list() || v.is_dictionary() || v.is<Undefined>();
    };
    all["odd"] = [](const Value& v, const Arguments& a) {
      if (!v.is<std::int64_t>()) fail(a.line, "odd: {} is where a number should be", type_name(v));
      return std::get<std::int64_t>(v.of) % 2 != 0;
    };
    all["even"] = [](const Value& v, const Arguments& a) {
      if (!v.is<std::int64_t>()) fail(a.line, "even: {} is where a number should be", type_name(v));
      return std::get<std::int64_t>(v.of) % 2 == 0;
    };
    all["equalto"] = all["eq"] = all["=="] = [](const Value& v, const Arguments& a) {
      const Value* other = a.find(0);
      if (other == nullptr) fail(a.line, "equalto: an argument is missing");
      return equal(v, *other, a.line);
    };
    all["ne"] = [](const Value& v, const Arguments& a) { return !apply_test("eq", v, a); };
    all["in"] = [](const Value& v, const Arguments& a) {
      const Value* container = a.find(0);
      if (container == nullptr) fail(a.line, "in: an argument is missing");
      return contains(*container, v, a.line);
    };
    return all;
  }();
  return known;
}

}  // namespace

const Value* Arguments::find(std::size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  const auto found = std::ranges::find(named, name, &Entries::value_type::first);
  return name.empty() || found == named.end() ? nullptr : &found->second;
}

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found == filters().end()) fail(arguments.line, "the filter '{}' is not supported", name);
  return found->second(value, arguments);
}

bool apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail(arguments.line, "the test '{}' is not supported", name);
  return found->second(value, arguments);
}

Value call_method(std::string_view name, const Value& object, const Arguments& arguments) {
  if (object.is_text()) {
    const auto found = string_methods().find(name);
    if (found != string_methods().end()) return found->second(object, arguments);
  } else if (object.entries() != nullptr) {
    if (name == "items") return Value::list(items(object, arguments.line));
    if (name == "keys") return Value::list(elements(object, arguments.line));
    if (name == "get" && !arguments.positional.empty()) {
      const Value* found = object.find(text_argument(arguments, 0, "get").bytes);
      const Value* otherwise = arguments.find(1);
      return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value{None{}};
    }
  }
  fail(arguments.line, "'{}' of {} is not supported", name, type_name(object));
}

}  // namespace warploom::jinja
