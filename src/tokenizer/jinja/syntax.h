// A template as a tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warploom::jinja {

enum class ExpressionType : std::uint8_t {
  string,       // name: its value
  integer,      // number
  boolean,      // number: 0 or 1
  none,         //
  name,         // name
  list,         // operands: its elements; tuples too
  dictionary,   // operands: key, value, key, value
  attribute,    // operands: object; name
  subscript,    // operands: object, index
  slice,        // operands: object; begin, end and step, each of type `missing` if it is not given
  call,         // operands: what is called, then arguments; keywords
  filter,       // operands: what is filtered, then arguments; keywords; name
  test,         // operands: what is tested, then arguments; name
  unary,        // operands: one; name: "-", "+", "not"
  binary,       // operands: two; name: "+", "and", ...
  comparison,   // operands: all that is compared; keywords: the operators between them
  conditional,  // operands: value, condition, otherwise
  missing,      // no expression: undefined
};

struct Expression {
  ExpressionType type = ExpressionType::missing;
  int line = 0;
  int height = 1;
  std::string name;
  std::int64_t number = 0;
  std::vector<Expression> operands;
  std::vector<std::string> keywords;  // of the last operands, one each
};

enum class StatementType : std::uint8_t {
  text,        // name: the text
  print,       // expressions: one
  branch,      // expressions: conditions; bodies: one each, and one more for `else`
  loop,        // expressions: what is iterated over, and the filter if there is one; names: targets; bodies: one, and `else`
  set,         // names: targets, or an object and its attribute; expressions: the value; without one, bodies: a text
  macro,       // name; names: parameters; expressions: defaults of the last ones; bodies: one
  scope,       // bodies: one, whose names are its own
  leave_loop,  // break
  next_loop,   // continue
};

struct Statement {
  StatementType type = StatementType::text;
  int line = 0;
  std::string name;
  bool sets_attribute = false;
  bool takes_varargs = false, takes_kwargs = false;  // of a macro: its body names them
  std::vector<std::string> names;
  std::vector<Expression> expressions;
  std::vector<std::vector<Statement>> bodies;
};

using Body = std::vector<Statement>;

/// Throws TemplateError naming the line and what is not supported there.
Body parse(std::string_view source);

}  // namespace warploom::jinja
