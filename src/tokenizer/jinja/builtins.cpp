#include "tokenizer/jinja/builtins.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "tokenizer/jinja/attributes.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/string_methods.h"

namespace warploom::jinja {
namespace {

std::size_t length(const Value& value, int line) {
  if (value.is_text()) return character_starts(value.as_text().bytes).size() - 1;
  if (value.is_list()) return value.as_list().size();
  if (value.entries() != nullptr) return value.entries()->size();
  if (value.is<Undefined>()) return 0;
  fail(line, "{} has no length", type_name(value));
}

List items(const Value& value, int line) {
  if (value.is<Undefined>()) return {};
  if (!value.is_dictionary()) fail(line, "items: {} is where a dictionary should be", type_name(value));
  List all;
  for (const auto& [key, each] : *value.entries()) all.push_back(Value::list({Value::text(key), each}));
  return all;
}

// Without the first `count` arguments, for the filter or the test that one of them names.
Arguments without(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  const auto given = static_cast<std::ptrdiff_t>(std::min(count, rest.positional.size()));
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + given);
  return rest;
}

// select, selectattr and their opposites: an attribute, the name of a test, and the test's arguments.
List select(const Value& list, bool keep, bool by_attribute, const Arguments& arguments) {
  if (!list.truthy()) return {};
  const std::size_t before = by_attribute ? 1 : 0;
  const Value* path = by_attribute ? arguments.find(0) : nullptr;
  if (by_attribute && path == nullptr) fail(arguments.line, "selectattr: an argument is missing");
  const bool has_test = arguments.find(before) != nullptr;
  const Arguments rest = without(arguments, before + 1);
  List selected;
  for (const Value& each : elements(list, arguments.line)) {
    const Value value = by_attribute ? follow_path(each, *path, nullptr, arguments.line) : each;
    const bool passes = has_test ? apply_test(arguments.text(before, "select").bytes, value, rest) : value.truthy();
    if (passes == keep) selected.push_back(each);
  }
  return selected;
}

// Another filter with its arguments, or an attribute.
List map(const Value& list, const Arguments& arguments) {
  if (!list.truthy()) return {};
  List mapped;
  if (!arguments.positional.empty()) {
    if (arguments.positional.size() > 100) fail(arguments.line, "map: too many arguments");  // each may be map again
    const std::string& filter = arguments.text(0, "map").bytes;
    const Arguments rest = without(arguments, 1);
    std::size_t left = kMaxTextBytes, parts_left = kMaxSplitBytes;
    for (const Value& each : elements(list, arguments.line)) {
      mapped.push_back(apply_filter(filter, each, rest));
      const Value& made = mapped.back();
      const std::size_t size = made.is_text() ? made.as_text().size() : 0,
                        parts = made.is_list() ? made.as_list().size() : 0;
      if (size > left || parts > parts_left) fail(arguments.line, "map: the template makes too much text");
      left -= size;
      parts_left -= parts;
    }
    return mapped;
  }
  arguments.check("map", {"attribute", "default"});
  const Value* path = arguments.find(0, "attribute");
  if (path == nullptr) fail(arguments.line, "map: an argument is missing");
  const Value* otherwise = arguments.find(1, "default");
  if (otherwise != nullptr && otherwise->is<None>()) otherwise = nullptr;
  for (const Value& each : elements(list, arguments.line))
    mapped.push_back(follow_path(each, *path, otherwise, arguments.line));
  return mapped;
}

Text joined(const Value& list, const Arguments& arguments) {
  List parts = elements(list, arguments.line);
  const Value* path = arguments.find(1, "attribute");
  if (path != nullptr && !path->is<None>())
    for (Value& part : parts) part = follow_path(part, *path, nullptr, arguments.line);
  const Value* separator = arguments.find(0, "d");
  return join(parts, separator == nullptr ? Text() : to_text(*separator, arguments.line), arguments.line);
}

bool otherwise_needed(const Value& value, const Arguments& arguments) {
  const Value* falsy_too = arguments.find(1, "boolean");
  return value.is<Undefined>() || (falsy_too != nullptr && falsy_too->truthy() && !value.truthy());
}

struct Filter {
  Parameters parameters;
  std::function<Value(const Value&, const Arguments&)> apply;
  bool has_any = false;  // it looks at its arguments by itself
};
using Filters = std::map<std::string_view, Filter>;

const Filters& filters() {
  static const Filters known = [] {
    Filters all;
    all["trim"] = {{"chars"}, [](const Value& v, const Arguments& a) {
                     return Value::text(strip(to_text(v, a.line), a.find(0, "chars"), true, true, a.line));
                   }};
    for (const std::string_view how : {"upper", "lower", "title", "capitalize"})
      all[how] = {{}, [how](const Value& v, const Arguments& a) {
                    return Value::text(change_case(to_text(v, a.line), how, a.line));
                  }};
    all["length"] = {{}, [](const Value& v, const Arguments& a) { return Value::integer(length(v, a.line)); }};
    all["count"] = all["length"];
    all["first"] = {
        {}, [](const Value& v, const Arguments& a) { return at_index(Value::list(elements(v, a.line)), 0, a.line); }};
    all["last"] = {
        {}, [](const Value& v, const Arguments& a) { return at_index(Value::list(elements(v, a.line)), -1, a.line); }};
    all["list"] = {{}, [](const Value& v, const Arguments& a) { return Value::list(elements(v, a.line)); }};
    all["string"] = {{}, [](const Value& v, const Arguments& a) { return Value::text(to_text(v, a.line)); }};
    all["safe"] = all["string"];
    all["replace"] = {
        {"old", "new", "count"}, [](const Value& v, const Arguments& a) {
          return Value::text(replace(to_text(v, a.line), a.text(0, "replace", "old"), a.text(1, "replace", "new"),
                                     a.number(2, "replace", "count").value_or(-1)));
        }};
    all["join"] = {{"d", "attribute"}, [](const Value& v, const Arguments& a) { return Value::text(joined(v, a)); }};
    all["default"] = {{"default_value", "boolean"}, [](const Value& v, const Arguments& a) {
                        if (!otherwise_needed(v, a)) return v;
                        const Value* otherwise = a.find(0, "default_value");
                        return otherwise == nullptr ? Value::text("") : *otherwise;
                      }};
    all["d"] = all["default"];
    all["reverse"] = {{}, [](const Value& v, const Arguments& a) {
                        if (v.is_text()) fail(a.line, "reverse: not supported of strings");
                        List list = elements(v, a.line);
                        std::ranges::reverse(list);
                        return Value::list(std::move(list));
                      }};
    all["items"] = {{}, [](const Value& v, const Arguments& a) { return Value::list(items(v, a.line)); }};
    for (const bool keep : {true, false})
      for (const bool by_attribute : {true, false})
        all[keep ? (by_attribute ? "selectattr" : "select") : (by_attribute ? "rejectattr" : "reject")] = {
            {},
            [keep, by_attribute](const Value& v, const Arguments& a) {
              return Value::list(select(v, keep, by_attribute, a));
            },
            true};
    all["map"] = {{}, [](const Value& v, const Arguments& a) { return Value::list(map(v, a)); }, true};
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
    all["sequence"] = [](const Value& v, const Arguments&) {
      return v.is_text() || v.is_list() || v.is_dictionary() || v.is<Undefined>();
    };
    all["iterable"] = [](const Value& v, const Arguments& a) { return v.is<LoopPointer>() || apply_test("sequence", v, a); };
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

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found == filters().end()) fail(arguments.line, "the filter '{}' is not supported", name);
  if (!found->second.has_any) arguments.check(name, found->second.parameters);
  return found->second.apply(value, arguments);
}

bool apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) fail(arguments.line, "the test '{}' is not supported", name);
  static constexpr auto kWithArgument = std::to_array<std::string_view>({"equalto", "eq", "==", "ne", "in"});
  arguments.check(name, std::ranges::count(kWithArgument, name) > 0 ? Parameters{""} : Parameters{});
  return found->second(value, arguments);
}

Value call_method(std::string_view name, const Value& object, const Arguments& arguments) {
  if (object.is_text()) return call_string_method(name, object, arguments);
  if (object.is_dictionary()) {
    arguments.check(name, name == "get" ? Parameters{"", ""} : Parameters{});
    if (name == "items") return Value::list(items(object, arguments.line));
    if (name == "keys") return Value::list(elements(object, arguments.line));
    if (name == "values") {
      List all;
      for (const auto& [key, each] : *object.entries()) all.push_back(each);
      return Value::list(std::move(all));
    }
    if (name == "get") {
      const Value* found = object.find(arguments.text(0, "get").bytes);
      const Value* otherwise = arguments.find(1);
      return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value{None{}};
    }
  }
  if (object.is<Undefined>())
    fail(arguments.line, "'{}' is undefined, so it has no '{}'", std::get<Undefined>(object.of).name, name);
  fail(arguments.line, "'{}' of {} is not supported", name, type_name(object));
}

}  // namespace warploom::jinja
