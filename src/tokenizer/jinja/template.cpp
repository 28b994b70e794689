#include "tokenizer/jinja/template.h"

#include <algorithm>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/interpreter.h"

namespace warploom::jinja {
namespace {

// Bytes of all text in a value: long conversations may take more work.
std::size_t text_size(const Value& value) {
  if (value.is_text()) return value.as_text().size();
  std::size_t size = 1;
  if (value.is_list())
    for (const Value& each : value.as_list()) size += text_size(each);
  if (value.entries() != nullptr)
    for (const auto& [key, each] : *value.entries()) size += text_size(each);
  return size;
}

Value loop_value(const List& items, std::size_t i) {
  const auto neighbour = [&](bool there, std::size_t at) { return there ? items[at] : Value{Undefined{"loop neighbour"}}; };
  const bool first = i == 0, last = i + 1 == items.size();
  return Value::dictionary({{"index", Value::integer(i + 1)},
                            {"index0", Value::integer(i)},
                            {"revindex", Value::integer(items.size() - i)},
                            {"revindex0", Value::integer(items.size() - i - 1)},
                            {"first", {first}},
                            {"last", {last}},
                            {"length", Value::integer(items.size())},
                            {"previtem", neighbour(!first, i - 1)},
                            {"nextitem", neighbour(!last, i + 1)}});
}

}  // namespace

Text Template::render(Entries variables) const { return Interpreter(std::move(variables)).run(body_); }

Interpreter::Interpreter(Entries variables) : frames_(1), budget_(1'000'000) {
  for (auto& [name, value] : variables) {
    budget_ += 100 * text_size(value);
    frames_[0].emplace(std::move(name), std::move(value));
  }
}

Text Interpreter::run(const Body& body) {
  execute(body);
  return std::move(output_);
}

void Interpreter::spend(std::size_t work, int line) {
  if (work > budget_) fail(line, "the template does not come to an end");
  budget_ -= work;
}

Interpreter::Flow Interpreter::execute(const Body& body) {
  for (const Statement& statement : body)
    if (const Flow flow = execute(statement); flow != Flow::next) return flow;
  return Flow::next;
}

Interpreter::Flow Interpreter::execute(const Statement& statement) {
  spend(1, statement.line);
  switch (statement.type) {
    case StatementType::text: output_.append(Text(statement.name)); break;
    case StatementType::print: output_.append(to_text(evaluate(statement.expressions[0]), statement.line)); break;
    case StatementType::branch: return branch(statement);
    case StatementType::loop: return loop(statement);
    case StatementType::set: set(statement); break;
    case StatementType::macro: frames_.back()[statement.name] = Value{&statement}; break;
    case StatementType::leave_loop: return Flow::leave_loop;
    case StatementType::next_loop: return Flow::next_loop;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::branch(const Statement& branch) {
  for (std::size_t i = 0; i < branch.expressions.size(); ++i)
    if (evaluate(branch.expressions[i]).truthy()) return execute(branch.bodies[i]);
  return branch.bodies.size() > branch.expressions.size() ? execute(branch.bodies.back()) : Flow::next;
}

// What is set in a loop's body is forgotten at its end.
Interpreter::Flow Interpreter::loop(const Statement& loop) {
  List items = elements(evaluate(loop.expressions[0]), loop.line);
  if (loop.expressions.size() > 1) {
    std::erase_if(items, [&](const Value& item) {
      frames_.emplace_back();
      assign(loop, item);
      const bool keep = evaluate(loop.expressions[1]).truthy();
      frames_.pop_back();
      return !keep;
    });
  }
  if (items.empty()) return loop.bodies.size() > 1 ? execute(loop.bodies[1]) : Flow::next;
  for (std::size_t i = 0; i < items.size(); ++i) {
    frames_.emplace_back();
    frames_.back()["loop"] = loop_value(items, i);
    assign(loop, items[i]);
    const Flow flow = execute(loop.bodies[0]);
    frames_.pop_back();
    if (flow == Flow::leave_loop) break;
  }
  return Flow::next;
}

void Interpreter::assign(const Statement& loop, const Value& item) {
  spend(1, loop.line);
  if (loop.names.size() == 1) {
    frames_.back()[loop.names[0]] = item;
    return;
  }
  const List parts = elements(item, loop.line);
  if (parts.size() != loop.names.size()) fail(loop.line, "{} values are given to {} names", parts.size(), loop.names.size());
  for (std::size_t i = 0; i < parts.size(); ++i) frames_.back()[loop.names[i]] = parts[i];
}

void Interpreter::set(const Statement& set) {
  const Value value = set.expressions.empty() ? Value::text(captured(set.bodies[0])) : evaluate(set.expressions[0]);
  if (!set.sets_attribute) return assign(set, value);
  Expression object;
  object.type = ExpressionType::name;
  object.line = set.line;
  object.name = set.names[0];
  const Value found = lookup(object);
  Entries* const* space = std::get_if<Entries*>(&found.of);
  if (space == nullptr) fail(set.line, "'{}' is no namespace", set.names[0]);
  const auto entry = std::ranges::find(**space, set.names[1], &Entries::value_type::first);
  if (entry == (*space)->end()) {
    (*space)->emplace_back(set.names[1], value);
  } else {
    entry->second = value;
  }
}

Text Interpreter::captured(const Body& body) {
  Text outer = std::exchange(output_, {});
  execute(body);
  return std::exchange(output_, std::move(outer));
}

// A macro sees its arguments and what is set outside of every loop and macro.
Value Interpreter::call_macro(const Statement& macro, const Arguments& arguments) {
  if (++macro_depth_ > 8) fail(macro.line, "the macro '{}' calls itself too often", macro.name);
  if (arguments.positional.size() > macro.names.size())
    fail(arguments.line, "the macro '{}' takes {} arguments", macro.name, macro.names.size());
  Frame frame;
  const std::size_t required = macro.names.size() - macro.expressions.size();
  for (std::size_t i = 0; i < macro.names.size(); ++i) {
    const Value* given = arguments.find(i, macro.names[i]);
    if (given != nullptr) {
      frame[macro.names[i]] = *given;
    } else {
      frame[macro.names[i]] = i < required ? Value{Undefined{macro.names[i]}} : evaluate(macro.expressions[i - required]);
    }
  }
  std::vector<Frame> inner;
  inner.push_back(std::move(frames_[0]));
  inner.push_back(std::move(frame));
  std::vector<Frame> outer = std::exchange(frames_, std::move(inner));
  Text text = captured(macro.bodies[0]);
  outer[0] = std::move(frames_[0]);
  frames_ = std::move(outer);
  --macro_depth_;
  return Value::text(std::move(text));
}

}  // namespace warploom::jinja
