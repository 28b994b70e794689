#include "tokenizer/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tokenizer/jinja/error.h"

namespace warploom::jinja {
namespace {

std::string_view name_of(const Token& token) {
  switch (token.type) {
    case TokenType::text: return "text";
    case TokenType::print_begin: return "{{";
    case TokenType::print_end: return "}}";
    case TokenType::block_begin: return "{%";
    case TokenType::block_end: return "%}";
    case TokenType::end: return "the template's end";
    default: return token.value;
  }
}

// Not an initialiser list, which would copy.
template <typename... Parts>
std::vector<Expression> parts(Parts... expressions) {
  std::vector<Expression> all;
  all.reserve(sizeof...(expressions));
  (all.push_back(std::move(expressions)), ...);
  return all;
}

// Expressions are evaluated and destroyed by recursion.
void check_height(const Expression& expression) {
  if (expression.height > 100) fail(expression.line, "the expression is too long");
}

void add_operand(Expression& parent, Expression operand) {
  parent.height = std::max(parent.height, operand.height + 1);
  check_height(parent);
  parent.operands.push_back(std::move(operand));
}

Expression make(ExpressionType type, int line, std::string name = {}, std::vector<Expression> operands = {}) {
  Expression made;
  made.type = type;
  made.line = line;
  made.name = std::move(name);
  made.operands = std::move(operands);
  for (const Expression& operand : made.operands) made.height = std::max(made.height, operand.height + 1);
  check_height(made);
  return made;
}

}  // namespace

const Token& TokenReader::peek(std::size_t ahead) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

Token TokenReader::next() {
  Token token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenReader::take(TokenType type, std::string_view value) {
  if (!at(type, value)) return false;
  next();
  return true;
}

void TokenReader::expect(TokenType type, std::string_view value) {
  if (peek().type != type || (!value.empty() && peek().value != value))
    fail(line(), "'{}' is where '{}' should be", name_of(peek()), value.empty() ? name_of({type, "a name", line()}) : value);
  next();
}

std::string TokenReader::expect_name() {
  if (peek().type != TokenType::name) fail(line(), "'{}' is where a name should be", name_of(peek()));
  return next().value;
}

bool TokenReader::named_since(std::size_t position, std::string_view name) const {
  for (std::size_t i = position; i < at_; ++i) {
    const bool is_attribute = i > 0 && tokens_[i - 1].type == TokenType::op && tokens_[i - 1].value == ".";
    if (tokens_[i].type == TokenType::name && tokens_[i].value == name && !is_attribute) return true;
  }
  return false;
}

// Expressions within expressions are read, evaluated and destroyed by recursion.
class ExpressionParser::Depth {
 public:
  explicit Depth(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.depth_ > 100) fail(parser_.reader_.line(), "the expression is nested too deeply");
  }
  ~Depth() { --parser_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  ExpressionParser& parser_;
};

Expression ExpressionParser::expression() {
  const Depth depth(*this);
  Expression value = disjunction();
  if (!reader_.at(TokenType::name, "if")) return value;
  const int line = reader_.next().line;
  Expression condition = disjunction();
  Expression otherwise = reader_.take_name("else") ? expression() : make(ExpressionType::missing, line);
  return make(ExpressionType::conditional, line, {}, parts(std::move(value), std::move(condition), std::move(otherwise)));
}

Expression ExpressionParser::tuple() {
  const int line = reader_.line();
  Expression first = expression();
  if (!reader_.at(TokenType::op, ",")) return first;
  Expression list = make(ExpressionType::list, line, {}, parts(std::move(first)));
  while (reader_.take_op(",") && at_operand()) add_operand(list, expression());
  return list;
}

// The operators of one level of precedence are applied from left to right.
Expression ExpressionParser::chain(Level next_level, TokenType type, std::initializer_list<std::string_view> ops) {
  Expression left = next_level();
  while (reader_.peek().type == type && std::ranges::count(ops, reader_.peek().value) > 0) {
    const Token op = reader_.next();
    Expression right = next_level();
    left = make(ExpressionType::binary, op.line, op.value, parts(std::move(left), std::move(right)));
  }
  return left;
}

Expression ExpressionParser::disjunction() {
  return chain([this] { return conjunction(); }, TokenType::name, {"or"});
}
Expression ExpressionParser::conjunction() {
  return chain([this] { return negation(); }, TokenType::name, {"and"});
}
Expression ExpressionParser::sum() {
  return chain([this] { return concatenation(); }, TokenType::op, {"+", "-"});
}
Expression ExpressionParser::concatenation() {
  return chain([this] { return product(); }, TokenType::op, {"~"});
}
Expression ExpressionParser::product() {
  return chain([this] { return unary(true); }, TokenType::op, {"*", "//", "%"});
}

Expression ExpressionParser::negation() {
  const Depth depth(*this);
  const int line = reader_.line();
  if (reader_.take_name("not")) return make(ExpressionType::unary, line, "not", parts(negation()));
  return comparison();
}

Expression ExpressionParser::comparison() {
  static constexpr auto kOps = std::to_array<std::string_view>({"==", "!=", "<", "<=", ">", ">="});
  const int line = reader_.line();
  std::vector<Expression> operands = {sum()};
  std::vector<std::string> ops;
  for (;;) {
    const Token& token = reader_.peek();
    if (token.type == TokenType::op && std::ranges::count(kOps, token.value) > 0) {
      ops.push_back(reader_.next().value);
    } else if (reader_.take_name("in")) {
      ops.emplace_back("in");
    } else if (reader_.at(TokenType::name, "not") && reader_.peek(1).type == TokenType::name &&
               reader_.peek(1).value == "in") {
      reader_.next();
      reader_.next();
      ops.emplace_back("not in");
    } else {
      break;
    }
    operands.push_back(sum());
  }
  if (ops.empty()) return std::move(operands[0]);
  Expression all = make(ExpressionType::comparison, line, {}, std::move(operands));
  all.keywords = std::move(ops);
  return all;
}

Expression ExpressionParser::unary(bool with_filters) {
  const Depth depth(*this);
  const int line = reader_.line();
  Expression value;
  if (reader_.at(TokenType::op, "-") || reader_.at(TokenType::op, "+")) {
    const std::string op = reader_.next().value;
    value = make(ExpressionType::unary, line, op, parts(unary(false)));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters(std::move(value)) : value;
}

Expression ExpressionParser::primary() {
  const int line = reader_.line();
  const TokenType type = reader_.peek().type;
  if (type == TokenType::string) {
    std::string value = reader_.next().value;
    while (reader_.peek().type == TokenType::string) value += reader_.next().value;
    return make(ExpressionType::string, line, std::move(value));
  }
  if (type == TokenType::integer) {
    Expression number = make(ExpressionType::integer, line);
    number.number = std::stoll(reader_.next().value);
    return number;
  }
  if (type == TokenType::name) {
    const std::string name = reader_.next().value;
    if (name == "none" || name == "None") return make(ExpressionType::none, line);
    Expression value = make(ExpressionType::boolean, line);
    value.number = name == "true" || name == "True" ? 1 : 0;
    if (value.number == 1 || name == "false" || name == "False") return value;
    return make(ExpressionType::name, line, name);
  }
  if (reader_.take_op("(")) return parenthesised();
  if (reader_.take_op("[")) return list("]", ExpressionType::list);
  if (reader_.take_op("{")) return list("}", ExpressionType::dictionary);
  fail(line, "'{}' is where a value should be", name_of(reader_.peek()));
}

Expression ExpressionParser::parenthesised() {
  const int line = reader_.line();
  if (reader_.take_op(")")) return make(ExpressionType::list, line);
  Expression value = tuple();
  reader_.expect(TokenType::op, ")");
  return value;
}

Expression ExpressionParser::list(std::string_view close, ExpressionType type) {
  Expression list = make(type, reader_.line());
  while (!reader_.take_op(close)) {
    if (!list.operands.empty()) {
      reader_.expect(TokenType::op, ",");
      if (reader_.take_op(close)) break;
    }
    add_operand(list, expression());
    if (type == ExpressionType::list) continue;
    reader_.expect(TokenType::op, ":");
    add_operand(list, expression());
  }
  return list;
}

Expression ExpressionParser::postfix(Expression object) {
  for (;;) {
    const int line = reader_.line();
    if (reader_.take_op(".")) {
      object = make(ExpressionType::attribute, line, reader_.expect_name(), parts(std::move(object)));
    } else if (reader_.take_op("[")) {
      object = subscript(std::move(object));
    } else if (reader_.at(TokenType::op, "(")) {
      object = make(ExpressionType::call, line, {}, parts(std::move(object)));
      arguments(object);
    } else {
      return object;
    }
  }
}

Expression ExpressionParser::subscript(Expression object) {
  const int line = reader_.line();
  const auto part = [&] {
    const bool given = !reader_.at(TokenType::op, ":") && !reader_.at(TokenType::op, "]");
    return given ? expression() : make(ExpressionType::missing, line);
  };
  Expression first = part();
  if (!reader_.at(TokenType::op, ":")) {
    reader_.expect(TokenType::op, "]");
    return make(ExpressionType::subscript, line, {}, parts(std::move(object), std::move(first)));
  }
  Expression slice = make(ExpressionType::slice, line, {}, parts(std::move(object), std::move(first)));
  while (slice.operands.size() < 4) {
    add_operand(slice, reader_.take_op(":") ? part() : make(ExpressionType::missing, line));
  }
  reader_.expect(TokenType::op, "]");
  return slice;
}

Expression ExpressionParser::filters(Expression object) {
  for (;;) {
    const int line = reader_.line();
    if (reader_.take_op("|")) {
      object = make(ExpressionType::filter, line, reader_.expect_name(), parts(std::move(object)));
      if (reader_.at(TokenType::op, "(")) arguments(object);
    } else if (reader_.take_name("is")) {
      object = test(std::move(object));
    } else {
      return object;
    }
  }
}

Expression ExpressionParser::test(Expression object) {
  const int line = reader_.line();
  const bool negated = reader_.take_name("not");
  Expression test = make(ExpressionType::test, line, reader_.expect_name(), parts(std::move(object)));
  if (reader_.at(TokenType::op, "(")) {
    arguments(test);
  } else if (at_operand()) {
    add_operand(test, postfix(primary()));
  }
  return negated ? make(ExpressionType::unary, line, "not", parts(std::move(test))) : test;
}

// Whether another value follows in a test without parentheses, or in a tuple.
bool ExpressionParser::at_operand() const {
  static constexpr auto kWords =
      std::to_array<std::string_view>({"if", "else", "and", "or", "is", "in", "not", "recursive"});
  const Token& token = reader_.peek();
  if (token.type == TokenType::string || token.type == TokenType::integer) return true;
  if (token.type == TokenType::name) return std::ranges::count(kWords, token.value) == 0;
  return token.type == TokenType::op && (token.value == "(" || token.value == "[" || token.value == "{");
}

void ExpressionParser::arguments(Expression& call) {
  reader_.expect(TokenType::op, "(");
  for (bool first = true; !reader_.take_op(")"); first = false) {
    if (!first) {
      reader_.expect(TokenType::op, ",");
      if (reader_.take_op(")")) return;
    }
    const Token& after = reader_.peek(1);
    if (reader_.peek().type == TokenType::name && after.type == TokenType::op && after.value == "=") {
      const Token keyword = reader_.next();
      if (std::ranges::count(call.keywords, keyword.value) > 0)
        fail(keyword.line, "the argument '{}' is given twice", keyword.value);
      call.keywords.push_back(keyword.value);
      reader_.next();
    } else if (!call.keywords.empty()) {
      fail(reader_.line(), "an argument without a name follows one with a name");
    }
    add_operand(call, expression());
  }
}

}  // namespace warploom::jinja
