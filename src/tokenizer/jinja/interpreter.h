// Executes a parsed template. Expressions are evaluated in evaluate.cpp, statements executed in template.cpp.
#pragma once

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
  explicit Interpreter(Entries variables);
  Text run(const Body& body);

 private:
  using Frame = std::map<std::string, Value, std::less<>>;
  enum class Flow { next, leave_loop, next_loop };

  Flow execute(const Body& body);
  Flow execute(const Statement& statement);
  Flow branch(const Statement& branch);
  Flow loop(const Statement& loop);
  void assign(const Statement& loop, const Value& item);
  void set(const Statement& set);
  Text captured(const Body& body);
  Value call_macro(const Statement& macro, const Arguments& arguments);

  Value evaluate(const Expression& expression);
  Value lookup(const Expression& expression) const;
  Value attribute(const Expression& expression);
  Value subscript(const Expression& expression);
  Value call(const Expression& expression);
  Value call_function(std::string_view name, const Arguments& arguments);
  Value unary(const Expression& expression);
  Value binary(const Expression& expression);
  Value arithmetic(const Expression& expression, const Value& left, const Value& right);
  Value compare(const Expression& expression);
  Value dictionary(const Expression& expression);
  Arguments arguments(const Expression& expression);

  // Counts work, and ends a template that does not end.
  void spend(std::size_t work, int line);

  std::vector<Frame> frames_;  // the last is the innermost
  std::deque<Entries> namespaces_;
  Text output_;
  std::size_t budget_;
  int macro_depth_ = 0;
};

}  // namespace warploom::jinja
