#include <algorithm>

#include "tokenizer/jinja/attributes.h"
#include "tokenizer/jinja/clock.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/interpreter.h"

namespace warploom::jinja {
namespace {

Value undefined(std::string name) { return {Undefined{std::move(name)}}; }

bool in_order(std::string_view op, const Value& a, const Value& b, int line) {
  const auto ordered = [op](const auto& x, const auto& y) {
    return op == "<" ? x < y : op == "<=" ? x <= y : op == ">" ? x > y : x >= y;
  };
  if (a.is<std::int64_t>() && b.is<std::int64_t>())
    return ordered(std::get<std::int64_t>(a.of), std::get<std::int64_t>(b.of));
  if (a.is_text() && b.is_text()) return ordered(a.as_text().bytes, b.as_text().bytes);
  fail(line, "{} {} {} cannot be compared", type_name(a), op, type_name(b));
}

// The result by reference: it is read after the sum is made.
std::int64_t checked(bool overflowed, const std::int64_t& result, int line) {
  if (overflowed) fail(line, "a number is too large");
  return result;
}

}  // namespace

Value Interpreter::evaluate(const Expression& e) {
  spend(1, e.line);
  switch (e.type) {
    case ExpressionType::string: return Value::text(e.name);
    case ExpressionType::integer: return {e.number};
    case ExpressionType::boolean: return {e.number != 0};
    case ExpressionType::none: return {None{}};
    case ExpressionType::missing: return undefined("nothing");
    case ExpressionType::name: return lookup(e);
    case ExpressionType::list: return Value::list(arguments(e).positional);
    case ExpressionType::dictionary: return dictionary(e);
    case ExpressionType::attribute: return attribute_of(evaluate(e.operands[0]), e.name, e.line);
    case ExpressionType::subscript: {
      const Value object = evaluate(e.operands[0]);
      return element_of(object, evaluate(e.operands[1]), e.line);
    }
    case ExpressionType::slice:
      return slice(evaluate(e.operands[0]), evaluate(e.operands[1]), evaluate(e.operands[2]), evaluate(e.operands[3]),
                   e.line);
    case ExpressionType::call: return call(e);
    case ExpressionType::filter: {
      const Value operand = evaluate(e.operands[0]);
      return counted(apply_filter(e.name, operand, arguments(e)), e.line);
    }
    case ExpressionType::test: return {apply_test(e.name, evaluate(e.operands[0]), arguments(e))};
    case ExpressionType::unary: return unary(e);
    case ExpressionType::binary: return binary(e);
    case ExpressionType::comparison: return compare(e);
    case ExpressionType::conditional: return evaluate(e.operands[evaluate(e.operands[1]).truthy() ? 0 : 2]);
  }
  fail(e.line, "an expression of an unknown kind");
}

Value Interpreter::counted(Value made, int line) {
  spend((made.is_text() ? made.as_text().size() : made.is_list() ? made.as_list().size() : 0) / 8, line);
  return made;
}

Value Interpreter::lookup(const Expression& e) const {
  for (std::size_t frame = frames_.size() - 1;; frame = frames_[frame].parent) {
    const auto& values = frames_[frame].values;
    if (const auto found = values.find(e.name); found != values.end()) return found->second;
    if (frame == 0) return undefined(e.name);
  }
}

// All operands but the first, which is what they are given to; of a list all.
Arguments Interpreter::arguments(const Expression& e) {
  Arguments given;
  given.line = e.line;
  const std::size_t named = e.operands.size() - e.keywords.size();
  for (std::size_t i = e.type == ExpressionType::list ? 0 : 1; i < e.operands.size(); ++i) {
    if (i < named) {
      given.positional.push_back(evaluate(e.operands[i]));
    } else {
      given.named.emplace_back(e.keywords[i - named], evaluate(e.operands[i]));
    }
  }
  return given;
}

Value Interpreter::dictionary(const Expression& e) {
  Entries entries;
  for (std::size_t i = 0; i + 1 < e.operands.size(); i += 2) {
    const Value key = evaluate(e.operands[i]);
    if (!key.is_text()) fail(e.line, "a dictionary's key is {}, not a string", type_name(key));
    Value value = evaluate(e.operands[i + 1]);
    const auto before = std::ranges::find(entries, key.as_text().bytes, &Entries::value_type::first);
    if (before == entries.end()) {
      entries.emplace_back(key.as_text().bytes, std::move(value));
    } else {
      before->second = std::move(value);
    }
  }
  return Value::dictionary(std::move(entries));
}

Value Interpreter::call(const Expression& e) {
  const Expression& callee = e.operands[0];
  if (callee.type == ExpressionType::attribute) {
    const Value object = evaluate(callee.operands[0]);
    const Arguments given = arguments(e);
    if (const auto* loop = std::get_if<LoopPointer>(&object.of)) return call_loop(*loop, callee.name, given);
    const Value* held = object.is<Entries*>() ? object.find(callee.name) : nullptr;  // a namespace may hold a macro
    if (held != nullptr && held->is<Macro>()) return call_macro(std::get<Macro>(held->of), given);
    return counted(call_method(callee.name, object, given), e.line);
  }
  if (callee.type != ExpressionType::name) fail(e.line, "what is called is no function");
  const Value found = lookup(callee);
  if (const auto* macro = std::get_if<Macro>(&found.of)) return call_macro(*macro, arguments(e));
  if (const auto* function = std::get_if<Function>(&found.of)) return call_function(function->name, arguments(e));
  if (found.is<Undefined>()) fail(e.line, "the function '{}' is not supported", callee.name);
  fail(e.line, "'{}' is {}, not a function", callee.name, type_name(found));
}

Value Interpreter::call_loop(const LoopPointer& loop, std::string_view name, const Arguments& given) {
  if (!given.named.empty()) fail(given.line, "loop.{} takes no argument '{}'", name, given.named[0].first);
  if (name == "cycle") {
    if (given.positional.empty()) fail(given.line, "loop.cycle: an argument is missing");
    return given.positional[loop->index0 % given.positional.size()];
  }
  if (name != "changed") fail(given.line, "'{}' of a loop is not supported", name);
  Value now = Value::list(given.positional);
  const auto [before, is_first] = changed_.try_emplace(loop.get(), now);
  if (!is_first && equal(before->second, now, given.line)) return {false};
  before->second = std::move(now);
  return {true};
}

Value Interpreter::call_function(std::string_view name, const Arguments& given) {
  if (name == "raise_exception") {
    const Value* message = given.find(0, "message");
    throw RaisedByTemplate(message == nullptr ? "" : to_text(*message, given.line).bytes);
  }
  if (name == "strftime_now") {
    const Value* format = given.find(0, "format");
    if (format == nullptr || !format->is_text() || given.positional.size() + given.named.size() > 1)
      fail(given.line, "strftime_now: takes one string, the format");
    // What somebody said keeps its author.
    const std::string& authors = format->as_text().authors;
    const std::size_t said = authors.find_first_not_of(static_cast<char>(Author::format));
    const Author author = said == std::string::npos ? Author::format : static_cast<Author>(authors[said]);
    return Value::text(Text(strftime_now(format->as_text().bytes, given.line), author));
  }
  if (name == "namespace" && given.positional.empty()) {
    namespaces_.push_back(given.named);
    return {&namespaces_.back()};
  }
  if (name == "dict" && given.positional.empty()) return Value::dictionary(given.named);
  if (name == "range") return range(given);
  fail(given.line, "the function '{}' is not supported{}", name, given.positional.empty() ? "" : " with such arguments");
}

Value Interpreter::range(const Arguments& given) {
  if (given.positional.empty() || given.positional.size() > 3 || !given.named.empty())
    fail(given.line, "range: takes one to three numbers");
  const auto bound = [&](std::size_t i, std::int64_t otherwise) {
    const Value* value = given.find(i);
    if (value == nullptr) return otherwise;
    if (!value->is<std::int64_t>()) fail(given.line, "range: {} is where a number should be", type_name(*value));
    return std::get<std::int64_t>(value->of);
  };
  const bool one = given.positional.size() == 1;
  const std::int64_t begin = one ? 0 : bound(0, 0), end = bound(one ? 0 : 1, 0), step = bound(2, 1);
  if (step == 0) fail(given.line, "range: the step is 0");
  List numbers;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    spend(1, given.line);
    numbers.push_back({i});
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(numbers));
}

Value Interpreter::unary(const Expression& e) {
  Value value = evaluate(e.operands[0]);
  if (e.name == "not") return {!value.truthy()};
  if (!value.is<std::int64_t>()) fail(e.line, "'{}' needs a number, not {}", e.name, type_name(value));
  if (e.name == "+") return value;
  std::int64_t result = 0;
  return {checked(__builtin_sub_overflow(std::int64_t{0}, std::get<std::int64_t>(value.of), &result), result, e.line)};
}

Value Interpreter::binary(const Expression& e) {
  Value left = evaluate(e.operands[0]);
  if (e.name == "and") return left.truthy() ? evaluate(e.operands[1]) : left;
  if (e.name == "or") return left.truthy() ? left : evaluate(e.operands[1]);
  const Value right = evaluate(e.operands[1]);
  const bool joined = e.name == "~" || (e.name == "+" && left.is_text() && right.is_text());
  if (!joined) return arithmetic(e, left, right);
  Text text = to_text(left, e.line);
  text.append(to_text(right, e.line));
  spend(text.size() / 8, e.line);
  return Value::text(std::move(text));
}

Value Interpreter::arithmetic(const Expression& e, const Value& left, const Value& right) {
  if (e.name == "+" && left.is_list() && right.is_list()) {
    List both = left.as_list();
    both.insert(both.end(), right.as_list().begin(), right.as_list().end());
    spend(both.size(), e.line);
    return Value::list(std::move(both));
  }
  for (const Value* value : {&left, &right}) {
    if (value->is<Undefined>())
      fail(e.line, "'{}' is undefined, where '{}' needs a value", std::get<Undefined>(value->of).name, e.name);
  }
  if (!left.is<std::int64_t>() || !right.is<std::int64_t>())
    fail(e.line, "'{}' of {} and {} is not supported", e.name, type_name(left), type_name(right));
  const std::int64_t a = std::get<std::int64_t>(left.of), b = std::get<std::int64_t>(right.of);
  std::int64_t result = 0;
  if (e.name == "+") return {checked(__builtin_add_overflow(a, b, &result), result, e.line)};
  if (e.name == "-") return {checked(__builtin_sub_overflow(a, b, &result), result, e.line)};
  if (e.name == "*") return {checked(__builtin_mul_overflow(a, b, &result), result, e.line)};
  if (b == 0) fail(e.line, "division by 0");
  if (b == -1)
    return {e.name == "%" ? std::int64_t{0} : checked(__builtin_sub_overflow(std::int64_t{0}, a, &result), result, e.line)};
  // Python's division rounds down.
  const std::int64_t down = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
  return {e.name == "//" ? down : a - down * b};
}

Value Interpreter::compare(const Expression& e) {
  Value left = evaluate(e.operands[0]);
  for (std::size_t i = 0; i < e.keywords.size(); ++i) {
    Value right = evaluate(e.operands[i + 1]);
    const std::string_view op = e.keywords[i];
    bool holds = false;
    if (op == "==" || op == "!=") {
      holds = equal(left, right, e.line) == (op == "==");
    } else if (op == "in" || op == "not in") {
      holds = contains(right, left, e.line) == (op == "in");
    } else {
      holds = in_order(op, left, right, e.line);
    }
    if (!holds) return {false};
    left = std::move(right);
  }
  return {true};
}

}  // namespace warploom::jinja
