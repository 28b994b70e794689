#include "tokenizer/jinja/template.h"

#include <algorithm>
#include <array>
#include <memory>
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

// Functions of Jinja and of Hugging Face's library. Those that are not supported are defined all the same.
constexpr auto kFunctions = std::to_array<std::string_view>(
    {"raise_exception", "strftime_now", "namespace", "range", "dict", "lipsum", "cycler", "joiner", "self"});

}  // namespace

Text Template::render(const Entries& variables) const { return Interpreter(variables).run(body_); }

Interpreter::Interpreter(const Entries& variables) : budget_(1'000'000) {
  push_frame(0);
  for (const auto& [name, value] : variables) {
    budget_ += 100 * text_size(value);
    names().emplace(name, value);
  }
  for (const std::string_view name : kFunctions) names().emplace(name, Value{Function{name}});
}

void Interpreter::push_frame(std::size_t parent) { frames_.push_back({{}, parent, ++frames_made_}); }

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
    case StatementType::macro: define_macro(statement); break;
    case StatementType::scope: return execute_in_frame(statement.bodies[0]);
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
      push_frame(frames_.size() - 1);
      assign(loop, item);
      const bool keep = evaluate(loop.expressions[1]).truthy();
      frames_.pop_back();
      return !keep;
    });
  }
  if (items.empty()) return loop.bodies.size() > 1 ? execute(loop.bodies[1]) : Flow::next;
  const int height = height_of(items);
  const auto state = std::make_shared<Loop>(Loop{std::move(items), height});
  changed_.erase(state.get());
  for (std::size_t i = 0; i < state->items.size(); ++i) {
    state->index0 = i;
    push_frame(frames_.size() - 1);
    names()["loop"] = Value{LoopPointer(state)};
    assign(loop, state->items[i]);
    const Flow flow = execute(loop.bodies[0]);
    frames_.pop_back();
    if (flow == Flow::leave_loop) break;
  }
  return Flow::next;
}

void Interpreter::assign(const Statement& loop, const Value& item) {
  spend(1, loop.line);
  if (loop.names.size() == 1) {
    names()[loop.names[0]] = item;
    return;
  }
  const List parts = elements(item, loop.line);
  if (parts.size() != loop.names.size()) fail(loop.line, "{} values are given to {} names", parts.size(), loop.names.size());
  for (std::size_t i = 0; i < parts.size(); ++i) names()[loop.names[i]] = parts[i];
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

Interpreter::Flow Interpreter::execute_in_frame(const Body& body) {
  push_frame(frames_.size() - 1);
  const Flow flow = execute(body);
  frames_.pop_back();
  return flow;
}

// What is set within a text that is set is forgotten at its end.
Text Interpreter::captured(const Body& body) {
  Text outer = std::exchange(output_, {});
  execute_in_frame(body);
  return std::exchange(output_, std::move(outer));
}

void Interpreter::define_macro(const Statement& macro) {
  names()[macro.name] = Value{Macro{&macro, frames_.size() - 1, frames_.back().serial}};
}

// A macro sees its arguments and what is set around its definition.
Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const Statement& definition = *macro.statement;
  const std::vector<std::string>& parameters = definition.names;
  if (macro.frame >= frames_.size() || frames_[macro.frame].serial != macro.serial)
    fail(arguments.line, "the macro '{}' is called outside of the block that defines it", definition.name);
  if (++macro_depth_ > 8) fail(definition.line, "the macro '{}' calls itself too often", definition.name);
  const std::size_t placed = std::min(arguments.positional.size(), parameters.size());
  if (arguments.positional.size() > placed && !definition.takes_varargs)
    fail(arguments.line, "the macro '{}' takes {} arguments", definition.name, parameters.size());
  push_frame(macro.frame);
  for (const std::string& name : parameters) names()[name] = Value{Undefined{name}};
  names().emplace("caller", Value{Undefined{"caller"}});
  for (std::size_t i = 0; i < placed; ++i) names()[parameters[i]] = arguments.positional[i];
  std::vector<bool> given(parameters.size());
  std::fill_n(given.begin(), placed, true);
  Entries rest;
  for (const auto& [name, value] : arguments.named) {
    const auto at = static_cast<std::size_t>(std::ranges::find(parameters, name) - parameters.begin());
    const bool fits = at < parameters.size() && !given[at];
    if (!fits && !definition.takes_kwargs)
      fail(arguments.line, "the macro '{}' takes no argument '{}'{}", definition.name, name,
           at < parameters.size() ? " twice" : "");
    if (fits) {
      given[at] = true;
      names()[name] = value;
    } else {
      rest.emplace_back(name, value);
    }
  }
  if (definition.takes_kwargs) names()["kwargs"] = Value::dictionary(std::move(rest));
  if (definition.takes_varargs)
    names()["varargs"] =
        Value::list(List(arguments.positional.begin() + static_cast<std::ptrdiff_t>(placed), arguments.positional.end()));
  // A default may name the parameters before it.
  const std::size_t required = parameters.size() - definition.expressions.size();
  for (std::size_t i = required; i < parameters.size(); ++i)
    if (!given[i]) names()[parameters[i]] = evaluate(definition.expressions[i - required]);
  Text text = captured(definition.bodies[0]);
  frames_.pop_back();
  --macro_depth_;
  return Value::text(std::move(text));
}

}  // namespace warploom::jinja
