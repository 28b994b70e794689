#include <algorithm>

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
    case ExpressionType::attribute: return attribute(e);
    case ExpressionType::subscript: return subscript(e);
    case ExpressionType::slice:
      return slice(evaluate(e.operands[0]), evaluate(e.operands[1]), evaluate(e.operands[2]), evaluate(e.operands[3]),
                   e.line);
    case ExpressionType::call: return call(e);
    case ExpressionType::filter: return apply_filter(e.name, evaluate(e.operands[0]), arguments(e));
    case ExpressionType::test: return {apply_test(e.name, evaluate(e.operands[0]), arguments(e))};
    case ExpressionType::unary: return unary(e);
    case ExpressionType::binary: return binary(e);
    case ExpressionType::comparison: return compare(e);
    case ExpressionType::conditional: return evaluate(e.operands[evaluate(e.operands[1]).truthy() ? 0 : 2]);
  }
  fail(e.line, "an expression of an unknown kind");
}

Value Interpreter::lookup(const Expression& e) const {
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame)
    if (const auto found = frame->find(e.name); found != frame->end()) return found->second;
  return undefined(e.name);
}

Value Interpreter::attribute(const Expression& e) {
  const Value object = evaluate(e.operands[0]);
  if (object.is<Undefined>())
    fail(e.line, "'{}' is undefined, so it has no '{}'", std::get<Undefined>(object.of).name, e.name);
  const Value* found = object.find(e.name);
  return found == nullptr ? undefined(e.name) : *found;
}

Value Interpreter::subscript(const Expression& e) {
  const Value object = evaluate(e.operands[0]), index = evaluate(e.operands[1]);
  if (object.is<Undefined>()) fail(e.line, "'{}' is undefined, so it has no elements", std::get<Undefined>(object.of).name);
  if (index.is_text()) {
    const Value* found = object.find(index.as_text().bytes);
    return found == nullptr ? undefined(index.as_text().bytes) : *found;
  }
  if (!index.is<std::int64_t>()) fail(e.line, "{} is no index", type_name(index));
  return at_index(object, std::get<std::int64_t>(index.of), e.line);
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
    entries.emplace_back(key.as_text().bytes, evaluate(e.operands[i + 1]));
  }
  return Value::dictionary(std::move(entries));
}

Value Interpreter::call(const Expression& e) {
  const Expression& callee = e.operands[0];
  if (callee.type == ExpressionType::attribute) {
    const Value object = evaluate(callee.operands[0]);
    const Value result = call_method(callee.name, object, arguments(e));
    if (result.is_text()) spend(result.as_text().size() / 8, e.line);
    return result;
  }
  if (callee.type != ExpressionType::name) fail(e.line, "what is called is no function");
  const Value found = lookup(callee);
  if (const auto* macro = std::get_if<const Statement*>(&found.of)) return call_macro(**macro, arguments(e));
  if (!found.is<Undefined>()) fail(e.line, "'{}' is {}, not a function", callee.name, type_name(found));
  return call_function(callee.name, arguments(e));
}

Value Interpreter::call_function(std::string_view name, const Arguments& given) {
  if (name == "raise_exception") {
    const Value* message = given.find(0);
    throw RaisedByTemplate(message == nullptr ? "" : to_text(*message, given.line).bytes);
  }
  if (name == "namespace" && given.positional.empty()) {
    namespaces_.push_back(given.named);
    return {&namespaces_.back()};
  }
  if (name == "dict" && given.positional.empty()) return Value::dictionary(given.named);
  if (name == "range") {
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
  fail(given.line, "the function '{}' is not supported", name);
}

Value Interpreter::unary(const Expression& e) {
  const Value value = evaluate(e.operands[0]);
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
