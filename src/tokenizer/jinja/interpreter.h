// Executes a parsed template. Expressions are evaluated in evaluate.cpp, statements executed in template.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/syntax.h"
#include "tokenizer/jinja/value.h"

namespace warploom::jinja {

class Interpreter {
 public:
  explicit Interpreter(const Entries& variables);
  Text run(const Body& body);

 private:
  // What is set in the template, in a loop's pass, in a macro's call or in a block.
  struct Frame {
    std::map<std::string, Value, std::less<>> values;
    std::size_t parent;    // the frame around it in the template's text
    std::uint64_t serial;  // tells it from later ones in the same place
  };
  enum class Flow { next, leave_loop, next_loop };

  Flow execute(const Body& body);
  Flow execute(const Statement& statement);
  Flow branch(const Statement& branch);
  Flow loop(const Statement& loop);
  void assign(const Statement& loop, const Value& item);
  void set(const Statement& set);
  void define_macro(const Statement& macro);
  Flow execute_in_frame(const Body& body);
  Text captured(const Body& body);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  void push_frame(std::size_t parent);
  std::map<std::string, Value, std::less<>>& names() { return frames_.back().values; }

  Value evaluate(const Expression& expression);
  Value lookup(const Expression& expression) const;
  Value call(const Expression& expression);
  Value call_function(std::string_view name, const Arguments& arguments);
  Value call_loop(const LoopPointer& loop, std::string_view name, const Arguments& arguments);
  Value range(const Arguments& arguments);
  Value unary(const Expression& expression);
  Value binary(const Expression& expression);
  Value arithmetic(const Expression& expression, const Value& left, const Value& right);
  Value compare(const Expression& expression);
  Value dictionary(const Expression& expression);
  Arguments arguments(const Expression& expression);

  // Counts work, and ends a template that does not end.
  void spend(std::size_t work, int line);
  // A text or list that a filter or a method made, once its size is counted.
  Value counted(Value made, int line);

  std::vector<Frame> frames_;  // the last is the one that is executed
  std::uint64_t frames_made_ = 0;
  std::deque<Entries> namespaces_;
  std::map<const Loop*, Value> changed_;  // what loop.changed() was given last
  Text output_;
  std::size_t budget_;
  int macro_depth_ = 0;
};

}  // namespace warploom::jinja
