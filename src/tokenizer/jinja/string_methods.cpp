#include "tokenizer/jinja/string_methods.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "tokenizer/jinja/error.h"
#include "tokenizer/white_space.h"

namespace warploom::jinja {
namespace {

// Bytes of those characters of `set` that lie one after another at the front or the back.
std::size_t leading(std::string_view text, const std::set<std::string_view>& set) {
  const auto starts = character_starts(text);
  std::size_t i = 0;
  while (i + 1 < starts.size() && set.contains(text.substr(starts[i], starts[i + 1] - starts[i]))) ++i;
  return starts[i];
}
std::size_t trailing(std::string_view text, const std::set<std::string_view>& set) {
  const auto starts = character_starts(text);
  std::size_t i = starts.size() - 1;
  while (i > 0 && set.contains(text.substr(starts[i - 1], starts[i] - starts[i - 1]))) --i;
  return text.size() - starts[i];
}

// The part of a text that a method looks at.
struct Window {
  std::string_view bytes;
  std::size_t begin;                // of it in the text, in bytes
  std::vector<std::size_t> starts;  // of the text's characters
  bool exists;                      // not where it begins behind its end: there is nothing then, not even an empty text
};

Window window(const Text& text, const Arguments& arguments, std::string_view what) {
  Window w{.bytes = {}, .begin = 0, .starts = character_starts(text.bytes), .exists = false};
  const auto size = static_cast<std::int64_t>(w.starts.size() - 1);
  const auto from_front = [&](std::int64_t at) { return at < 0 ? std::max<std::int64_t>(at + size, 0) : at; };
  const std::int64_t begin = from_front(arguments.number(1, what).value_or(0));
  const std::int64_t end = std::min(from_front(arguments.number(2, what).value_or(size)), size);
  if (begin > end) return w;
  w.exists = true;
  w.begin = w.starts[static_cast<std::size_t>(begin)];
  w.bytes = std::string_view(text.bytes).substr(w.begin, w.starts[static_cast<std::size_t>(end)] - w.begin);
  return w;
}

bool begins_or_ends(const Text& text, const Arguments& arguments, std::string_view what) {
  const Value* wanted = arguments.find(0);
  if (wanted == nullptr) fail(arguments.line, "{}: an argument is missing", what);
  const Window w = window(text, arguments, what);
  const auto fits = [&](const Value& each) {
    if (!each.is_text()) fail(arguments.line, "{}: {} is where a string should be", what, type_name(each));
    const std::string& bytes = each.as_text().bytes;
    return w.exists && (what == "startswith" ? w.bytes.starts_with(bytes) : w.bytes.ends_with(bytes));
  };
  return wanted->is_list() ? std::ranges::any_of(wanted->as_list(), fits) : fits(*wanted);
}

std::int64_t find(const Text& text, const Arguments& arguments, bool last) {
  const std::string_view what = last ? "rfind" : "find";
  const std::string& wanted = arguments.text(0, what).bytes;
  const Window w = window(text, arguments, what);
  const std::size_t found = last ? w.bytes.rfind(wanted) : w.bytes.find(wanted);
  if (!w.exists || found == std::string_view::npos) return -1;
  return std::ranges::lower_bound(w.starts, w.begin + found) - w.starts.begin();
}

std::int64_t count(const Text& text, const Arguments& arguments) {
  const std::string& wanted = arguments.text(0, "count").bytes;
  const Window w = window(text, arguments, "count");
  if (!w.exists) return 0;
  if (wanted.empty()) return static_cast<std::int64_t>(character_starts(w.bytes).size());
  std::int64_t number = 0;
  for (std::size_t at = w.bytes.find(wanted); at != std::string_view::npos; at = w.bytes.find(wanted, at + wanted.size()))
    ++number;
  return number;
}

struct Part {
  std::size_t begin, end;
};

std::vector<Part> words(std::string_view text) {
  std::vector<Part> found;
  for (std::size_t at = white_space_before(text); at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && white_space_before(text.substr(end)) == 0) ++end;
    found.push_back({at, end});
    at = end + white_space_before(text.substr(end));
  }
  return found;
}

// `max` parts are split off, from the front or the back.
std::vector<Part> split_words(std::string_view text, std::size_t max, bool from_back) {
  std::vector<Part> parts = words(text);
  if (parts.size() <= max) return parts;
  if (!from_back) {
    parts.resize(max + 1);
    parts.back().end = text.size();
    return parts;
  }
  parts.erase(parts.begin(), parts.end() - static_cast<std::ptrdiff_t>(max + 1));
  parts.front().begin = 0;
  return parts;
}

std::vector<Part> split_by(std::string_view text, std::string_view separator, std::size_t max, bool from_back) {
  std::vector<Part> parts;
  std::size_t begin = 0, end = text.size();
  while (parts.size() < max) {
    const std::string_view rest = text.substr(begin, end - begin);
    const std::size_t found = from_back ? rest.rfind(separator) : rest.find(separator);
    if (found == std::string_view::npos) break;
    if (from_back) {
      parts.push_back({begin + found + separator.size(), end});
      end = begin + found;
    } else {
      parts.push_back({begin, begin + found});
      begin += found + separator.size();
    }
  }
  parts.push_back({begin, end});
  if (from_back) std::ranges::reverse(parts);
  return parts;
}

List split(const Text& text, const Arguments& arguments, bool from_back) {
  const std::string_view what = from_back ? "rsplit" : "split";
  const std::int64_t limit = arguments.number(1, what, "maxsplit").value_or(-1);
  const std::size_t max = limit < 0 ? text.size() + 1 : static_cast<std::size_t>(limit);
  const Value* by = arguments.find(0, "sep");
  std::vector<Part> parts;
  if (by == nullptr || by->is<None>()) {
    parts = split_words(text.bytes, max, from_back);
  } else {
    const std::string& separator = arguments.text(0, what, "sep").bytes;
    if (separator.empty()) fail(arguments.line, "{}: the separator is empty", what);
    parts = split_by(text.bytes, separator, max, from_back);
  }
  List list;
  for (const Part& part : parts) list.push_back(Value::text(text.substr(part.begin, part.end - part.begin)));
  return list;
}

struct Callable {
  Parameters parameters;
  std::function<Value(const Text&, const Arguments&)> call;
};
using Methods = std::map<std::string_view, Callable>;

const Methods& methods() {
  static const Methods known = [] {
    Methods all;
    const auto stripper = [](bool front, bool back) {
      return [=](const Text& t, const Arguments& a) { return Value::text(strip(t, a.find(0), front, back, a.line)); };
    };
    all["strip"] = {{""}, stripper(true, true)};
    all["lstrip"] = {{""}, stripper(true, false)};
    all["rstrip"] = {{""}, stripper(false, true)};
    for (const std::string_view how : {"upper", "lower", "title", "capitalize"})
      all[how] = {{}, [how](const Text& t, const Arguments& a) { return Value::text(change_case(t, how, a.line)); }};
    all["replace"] = {{"", "", "count"}, [](const Text& t, const Arguments& a) {
                        return Value::text(replace(t, a.text(0, "replace"), a.text(1, "replace"),
                                                   a.number(2, "replace", "count").value_or(-1)));
                      }};
    all["split"] = {{"sep", "maxsplit"}, [](const Text& t, const Arguments& a) { return Value::list(split(t, a, false)); }};
    all["rsplit"] = {{"sep", "maxsplit"}, [](const Text& t, const Arguments& a) { return Value::list(split(t, a, true)); }};
    all["join"] = {{""}, [](const Text& t, const Arguments& a) {
                     const Value* list = a.find(0);
                     if (list == nullptr) fail(a.line, "join: an argument is missing");
                     return Value::text(join(elements(*list, a.line), t, a.line));
                   }};
    for (const std::string_view what : {"startswith", "endswith"})
      all[what] = {{"", "", ""}, [what](const Text& t, const Arguments& a) { return Value{begins_or_ends(t, a, what)}; }};
    all["find"] = {{"", "", ""}, [](const Text& t, const Arguments& a) { return Value{find(t, a, false)}; }};
    all["rfind"] = {{"", "", ""}, [](const Text& t, const Arguments& a) { return Value{find(t, a, true)}; }};
    all["count"] = {{"", "", ""}, [](const Text& t, const Arguments& a) { return Value{count(t, a)}; }};
    return all;
  }();
  return known;
}

}  // namespace

Text strip(const Text& text, const Value* chars, bool front, bool back, int line) {
  const std::string_view bytes = text.bytes;
  if (chars == nullptr || chars->is<None>()) {
    const std::size_t begin = front ? white_space_before(bytes) : 0;
    const std::size_t end = back ? white_space_after(bytes.substr(begin)) : 0;
    return text.substr(begin, bytes.size() - begin - end);
  }
  if (!chars->is_text()) fail(line, "strip: {} is where a string should be", type_name(*chars));
  std::set<std::string_view> set;
  const std::string_view all = chars->as_text().bytes;
  const auto starts = character_starts(all);
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) set.insert(all.substr(starts[i], starts[i + 1] - starts[i]));
  const std::size_t begin = front ? leading(bytes, set) : 0;
  const std::size_t end = back ? trailing(bytes.substr(begin), set) : 0;
  return text.substr(begin, bytes.size() - begin - end);
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

Text replace(const Text& text, const Text& from, const Text& to, std::int64_t count) {
  Text out;
  std::size_t at = 0;
  if (from.size() == 0) {  // is found around each character
    const auto starts = character_starts(text.bytes);
    for (std::size_t i = 0; i < starts.size() && count != 0; ++i, --count) {
      out.append(text.substr(at, starts[i] - at));
      out.append(to);
      at = starts[i];
    }
  } else {
    for (std::size_t found = text.bytes.find(from.bytes); found != std::string::npos && count != 0; --count) {
      out.append(text.substr(at, found - at));
      out.append(to);
      at = found + from.size();
      found = text.bytes.find(from.bytes, at);
    }
  }
  out.append(text.substr(at));
  return out;
}

Text join(const List& parts, const Text& separator, int line) {
  Text out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(separator);
    out.append(to_text(parts[i], line));
  }
  return out;
}

Value call_string_method(std::string_view name, const Value& text, const Arguments& arguments) {
  const auto found = methods().find(name);
  if (found == methods().end()) fail(arguments.line, "'{}' of a string is not supported", name);
  arguments.check(name, found->second.parameters);
  return found->second.call(text.as_text(), arguments);
}

}  // namespace warploom::jinja
