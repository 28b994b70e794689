// What a template computes with. Text remembers byte by byte who wrote it, through every operation, so that what people said
// is never taken for the format's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace warploom::jinja {

struct Statement;

/// Who wrote a byte: the template, or one of the messages given to it.
enum class Author : char { format, system, earlier_message, message_before_last, last_message };

/// A few replacements within one another could fill any memory.
inline constexpr std::size_t kMaxTextBytes = std::size_t{1} << 28;
/// Of a text that is gone over character by character, each of which takes some hundred bytes then.
inline constexpr std::size_t kMaxSplitBytes = std::size_t{1} << 20;

struct Text {
  std::string bytes;
  std::string authors;  // an Author for each byte

  Text() = default;
  explicit Text(std::string_view text, Author author = Author::format)
      : bytes(text), authors(text.size(), static_cast<char>(author)) {}
  std::size_t size() const { return bytes.size(); }
  Text substr(std::size_t begin, std::size_t count = std::string::npos) const;
  void append(const Text& more);
};

struct Undefined {
  std::string name;  // what was looked up
};
struct None {};
/// raise_exception, range, ...
struct Function {
  std::string_view name;
};
/// A method of a string, a list or a dictionary; it is called where it is looked up, and nowhere else.
struct Method {
  std::string_view name;
};
struct Macro {
  const Statement* statement;
  std::size_t frame;     // where it is defined: it sees what is set there
  std::uint64_t serial;  // that frame's
};
struct Loop;
struct Value;
using List = std::vector<Value>;
using Entries = std::vector<std::pair<std::string, Value>>;

template <typename T>
struct Container {
  T items;
  int height;  // of the containers within it, and itself
};
using TextPointer = std::shared_ptr<const Text>;
using ListPointer = std::shared_ptr<const Container<List>>;
using DictionaryPointer = std::shared_ptr<const Container<Entries>>;
using LoopPointer = std::shared_ptr<const Loop>;

struct Value {
  // An Entries* is a namespace, which belongs to the interpreter.
  std::variant<Undefined, None, bool, std::int64_t, TextPointer, ListPointer, DictionaryPointer, LoopPointer, Entries*,
               Function, Method, Macro>
      of;

  static Value text(Text text) { return {std::make_shared<const Text>(std::move(text))}; }
  static Value text(std::string_view text) { return Value::text(Text(text)); }
  // Both throw TemplateError on too deep a nesting.
  static Value list(List list);
  static Value dictionary(Entries entries);
  static Value integer(std::size_t number) { return {static_cast<std::int64_t>(number)}; }

  template <typename T>
  bool is() const {
    return std::holds_alternative<T>(of);
  }
  bool is_text() const { return is<TextPointer>(); }
  bool is_list() const { return is<ListPointer>(); }
  bool is_dictionary() const { return is<DictionaryPointer>(); }
  const Text& as_text() const { return *std::get<TextPointer>(of); }
  const List& as_list() const { return std::get<ListPointer>(of)->items; }
  int height() const;
  /// The entries of a dictionary or a namespace; null if it is neither.
  const Entries* entries() const;
  /// The value of that key; null if there is none.
  const Value* find(std::string_view key) const;
  bool truthy() const;
};

/// What `loop` is within a loop.
struct Loop {
  List items;
  int height;  // as a container's
  std::size_t index0 = 0;
};

/// The height of a container of these. Throws TemplateError on too deep a nesting.
int height_of(const List& items);

/// For messages: "a string", "a list", ...
std::string_view type_name(const Value& value);

bool equal(const Value& a, const Value& b, int line);
/// Python's `in`.
bool contains(const Value& container, const Value& item, int line);
/// As it is printed.
Text to_text(const Value& value, int line);
/// What a loop goes over: a list, the keys of a dictionary, the characters of a string; of an undefined value nothing.
List elements(const Value& value, int line);

/// Where each character (of Unicode) begins, and the text's size at the end.
std::vector<std::size_t> character_starts(std::string_view text);

/// Python's subscript and slice of a list or a string.
Value at_index(const Value& sequence, std::int64_t index, int line);
Value slice(const Value& sequence, const Value& begin, const Value& end, const Value& step, int line);

}  // namespace warploom::jinja
