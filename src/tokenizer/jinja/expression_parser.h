// Expressions of a template, by Jinja's precedence.
#pragma once

#include <functional>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/syntax.h"

namespace warploom::jinja {

/// Reads tokens one by one. Both parsers share it.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  const Token& peek(std::size_t ahead = 0) const;
  Token next();
  bool at(TokenType type, std::string_view value) const { return peek().type == type && peek().value == value; }
  /// Past the token if it is that one.
  bool take(TokenType type, std::string_view value);
  bool take_op(std::string_view op) { return take(TokenType::op, op); }
  bool take_name(std::string_view name) { return take(TokenType::name, name); }
  void expect(TokenType type, std::string_view value);
  std::string expect_name();
  int line() const { return peek().line; }
  std::size_t position() const { return at_; }
  /// Whether a variable of that name was read since then.
  bool named_since(std::size_t position, std::string_view name) const;

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& reader) : reader_(reader) {}
  Expression expression();
  /// One expression, or several with commas between: a list.
  Expression tuple();
  /// What a loop iterates over: without `x if y else z`, whose `if` would be the loop's filter.
  Expression without_condition() { return disjunction(); }

 private:
  class Depth;
  using Level = const std::function<Expression()>&;
  Expression chain(Level next_level, TokenType type, std::initializer_list<std::string_view> ops);
  Expression disjunction();
  Expression conjunction();
  Expression negation();
  Expression comparison();
  Expression sum();
  Expression concatenation();
  Expression product();
  Expression unary(bool with_filters);
  Expression primary();
  Expression parenthesised();
  Expression list(std::string_view close, ExpressionType type);
  Expression postfix(Expression object);
  Expression filters(Expression object);
  Expression test(Expression object);
  Expression subscript(Expression object);
  void arguments(Expression& call);
  bool at_operand() const;

  TokenReader& reader_;
  int depth_ = 0;
};

}  // namespace warploom::jinja
