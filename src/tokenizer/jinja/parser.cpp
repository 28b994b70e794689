#include <algorithm>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/expression_parser.h"

namespace warploom::jinja {
namespace {

Statement make(StatementType type, int line, std::string name = {}) {
  Statement statement;
  statement.type = type;
  statement.line = line;
  statement.name = std::move(name);
  return statement;
}

class Parser {
 public:
  explicit Parser(std::string_view source) : reader_(tokenize(source)) {}

  Body run() { return body({}); }

 private:
  using Names = std::vector<std::string_view>;

  // Up to a block that begins with one of `ends`, which is left for the caller but for its {%; or to the template's end.
  Body body(const Names& ends) {
    if (++depth_ > 100) fail(reader_.line(), "blocks are nested too deeply");
    Body statements;
    while (reader_.peek().type != TokenType::end) {
      if (reader_.peek().type == TokenType::block_begin && reader_.peek(1).type == TokenType::name &&
          std::ranges::count(ends, reader_.peek(1).value) > 0)
        break;
      statement(statements);
    }
    --depth_;
    return statements;
  }

  // A break or a continue within it cannot mean a loop around it.
  Body body_without_loop(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Body statements = body({end});
    loops_ = loops;
    return statements;
  }

  void statement(Body& statements) {
    const Token token = reader_.next();
    if (token.type == TokenType::text) {
      statements.push_back(make(StatementType::text, token.line, token.value));
    } else if (token.type == TokenType::print_begin) {
      Statement print = make(StatementType::print, token.line);
      print.expressions.push_back(expressions_.expression());
      reader_.expect(TokenType::print_end, "");
      statements.push_back(std::move(print));
    } else {
      block(statements);
    }
  }

  void block(Body& statements) {
    const int line = reader_.line();
    const std::string word = reader_.expect_name();
    if (word == "if") {
      statements.push_back(branch(line));
    } else if (word == "for") {
      statements.push_back(loop(line));
    } else if (word == "set") {
      statements.push_back(set(line));
    } else if (word == "macro") {
      statements.push_back(macro(line));
    } else if (word == "break" || word == "continue") {
      if (loops_ == 0) fail(line, "'{}' is outside every loop of its block", word);
      reader_.expect(TokenType::block_end, "");
      statements.push_back(make(word == "break" ? StatementType::leave_loop : StatementType::next_loop, line));
    } else if (word == "generation") {  // marks what is trained on, and does nothing else
      reader_.expect(TokenType::block_end, "");
      Statement scope = make(StatementType::scope, line);
      scope.bodies.push_back(body_without_loop("endgeneration"));
      end_of("generation", "endgeneration", line);
      statements.push_back(std::move(scope));
    } else {
      fail(line, "the block '{}' is not supported", word);
    }
  }

  void end_of(std::string_view what, std::string_view end, int line) {
    if (reader_.peek().type == TokenType::end) fail(line, "the block '{}' has no end", what);
    reader_.expect(TokenType::block_begin, "");
    reader_.expect(TokenType::name, end);
    reader_.expect(TokenType::block_end, "");
  }

  Statement branch(int line) {
    Statement branch = make(StatementType::branch, line);
    for (bool more = true; more;) {
      branch.expressions.push_back(expressions_.tuple());
      reader_.expect(TokenType::block_end, "");
      branch.bodies.push_back(body({"elif", "else", "endif"}));
      more = reader_.peek(1).value == "elif" && reader_.peek().type == TokenType::block_begin;
      if (more) reader_.next(), reader_.next();
    }
    otherwise(branch, "endif");
    end_of("if", "endif", line);
    return branch;
  }

  void otherwise(Statement& statement, std::string_view end) {
    if (reader_.peek().type != TokenType::block_begin || reader_.peek(1).value != "else") return;
    reader_.next();
    reader_.next();
    reader_.expect(TokenType::block_end, "");
    statement.bodies.push_back(body({end}));
  }

  Statement loop(int line) {
    Statement loop = make(StatementType::loop, line);
    loop.names = targets();
    reader_.expect(TokenType::name, "in");
    loop.expressions.push_back(expressions_.without_condition());
    if (reader_.take_name("if")) loop.expressions.push_back(expressions_.expression());
    if (reader_.at(TokenType::name, "recursive")) fail(line, "recursive loops are not supported");
    reader_.expect(TokenType::block_end, "");
    ++loops_;
    loop.bodies.push_back(body({"else", "endfor"}));
    --loops_;
    otherwise(loop, "endfor");
    end_of("for", "endfor", line);
    return loop;
  }

  std::vector<std::string> targets() {
    const bool parenthesised = reader_.take_op("(");
    std::vector<std::string> names = {reader_.expect_name()};
    while (reader_.take_op(",")) names.push_back(reader_.expect_name());
    if (parenthesised) reader_.expect(TokenType::op, ")");
    return names;
  }

  Statement set(int line) {
    Statement set = make(StatementType::set, line);
    set.names = targets();
    if (set.names.size() == 1 && reader_.take_op(".")) {
      set.sets_attribute = true;
      set.names.push_back(reader_.expect_name());
    }
    if (reader_.take_op("=")) {
      set.expressions.push_back(expressions_.tuple());
      reader_.expect(TokenType::block_end, "");
      return set;
    }
    if (set.names.size() > 1) fail(line, "a block cannot set that");
    reader_.expect(TokenType::block_end, "");
    set.bodies.push_back(body_without_loop("endset"));
    end_of("set", "endset", line);
    return set;
  }

  Statement macro(int line) {
    Statement macro = make(StatementType::macro, line, reader_.expect_name());
    reader_.expect(TokenType::op, "(");
    for (bool first = true; !reader_.take_op(")"); first = false) {
      if (!first) reader_.expect(TokenType::op, ",");
      macro.names.push_back(reader_.expect_name());
      if (reader_.take_op("=")) {
        macro.expressions.push_back(expressions_.expression());
      } else if (!macro.expressions.empty()) {
        fail(line, "a parameter without a default follows one with a default");
      }
    }
    reader_.expect(TokenType::block_end, "");
    const std::size_t begin = reader_.position();
    macro.bodies.push_back(body_without_loop("endmacro"));
    macro.takes_varargs = reader_.named_since(begin, "varargs");
    macro.takes_kwargs = reader_.named_since(begin, "kwargs");
    end_of("macro", "endmacro", line);
    return macro;
  }

  TokenReader reader_;
  ExpressionParser expressions_{reader_};
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source) { return Parser(source).run(); }

}  // namespace warploom::jinja
