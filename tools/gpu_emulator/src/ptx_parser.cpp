#include "ptx_parser.h"

#include <stdexcept>

#include "ptx_lexer.h"
#include "ptx_registers.h"

namespace emulator::ptx {
namespace {

class Parser {
 public:
  explicit Parser(Module& module) : module_(module), lexer_(module.text) {}
  void run();

 private:
  using Kind = Token::Kind;

  [[noreturn]] void fail(const std::string& message) const { fail(message, lexer_.peek().line); }
  [[noreturn]] static void fail(const std::string& message, uint32_t line) {
    throw std::runtime_error("PTX line " + std::to_string(line) + ": " + message);
  }
  bool at(std::string_view text) const { return lexer_.peek().text == text && lexer_.peek().kind != Kind::kString; }
  bool accept(std::string_view text) {
    if (!at(text)) return false;
    lexer_.next();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail("expected '" + std::string(text) + "' before '" + std::string(lexer_.peek().text) + "'");
  }
  std::string_view word() {
    if (lexer_.peek().kind != Kind::kWord) fail("expected a name before '" + std::string(lexer_.peek().text) + "'");
    return lexer_.next().text;
  }
  int64_t integer() {
    const bool negative = accept("-");
    if (lexer_.peek().kind != Kind::kInteger) fail("expected an integer before '" + std::string(lexer_.peek().text) + "'");
    const int64_t value = lexer_.next().value;
    return negative ? -value : value;
  }
  void skip_line() {
    for (const uint32_t line = lexer_.peek().line; lexer_.peek().line == line && lexer_.peek().kind != Kind::kEnd;)
      lexer_.next();
  }
  void skip_braces();

  Variable variable(Space space, bool with_init);
  void initialiser(Variable& variable);
  void parameter_list(std::vector<Variable>& list);
  void function(bool is_entry);
  void body(Function& f);
  void statement(Function& f, const Token& first);
  void registers(Function& f);
  void location(Function& f);
  Operand operand(Function& f);
  Operand register_or_symbol(Function& f, std::string_view name);

  Module& module_;
  Lexer lexer_;
  ScopedRegisters scopes_;
  Location location_;
};

void Parser::skip_braces() {
  expect("{");
  for (int depth = 1; depth > 0;) {
    if (lexer_.peek().kind == Kind::kEnd) fail("'{' without '}'");
    const Token token = lexer_.next();
    if (token.kind != Kind::kPunctuation) continue;
    depth += token.text == "{" ? 1 : token.text == "}" ? -1 : 0;
  }
}

// After the state space: [.align N] [.v2|.v4] [.ptr ...] .type name [dims] [= init]
Variable Parser::variable(Space space, bool with_init) {
  Variable v;
  v.space = space;
  uint64_t vector = 1;
  while (true) {
    const std::string_view token = word();
    if (token == ".align") {
      v.align = static_cast<uint64_t>(integer());
    } else if (token == ".v2") {
      vector = 2;
    } else if (token == ".v4") {
      vector = 4;
    } else if (token == ".attribute") {
      expect("(");
      while (!accept(")")) lexer_.next();
    } else if (token == ".ptr" || token == ".global" || token == ".shared" || token == ".const" || token == ".local") {
      continue;  // what a pointer parameter points at
    } else if (token[0] == '.' && type_from_name(token.substr(1)) != Type::kNone) {
      v.type = type_from_name(token.substr(1));
    } else {
      v.name = token;
      break;
    }
  }
  const uint64_t element = static_cast<uint64_t>(size_of(v.type)) * vector;
  v.align = std::max(v.align, element);
  v.size = element;
  while (accept("[")) {
    v.size *= at("]") ? 0 : static_cast<uint64_t>(integer());
    expect("]");
  }
  if (with_init && accept("=")) initialiser(v);
  return v;
}

void Parser::initialiser(Variable& v) {
  if (accept("{")) {
    if (accept("}")) return;
    do initialiser(v);
    while (accept(","));
    expect("}");
    return;
  }
  Initialiser scalar;
  if (lexer_.peek().kind == Kind::kWord) {
    std::string_view name = word();
    if (name == "generic" && accept("(")) {
      name = word();
      expect(")");
    }
    scalar.symbol = name;
    if (accept("+")) scalar.value = integer();
  } else if (lexer_.peek().kind == Kind::kFloat32 || lexer_.peek().kind == Kind::kFloat64) {
    scalar.value = lexer_.next().value;
  } else {
    scalar.value = integer();
  }
  v.init.push_back(scalar);
}

void Parser::parameter_list(std::vector<Variable>& list) {
  expect("(");
  if (accept(")")) return;
  do {
    if (!accept(".param")) expect(".reg");
    list.push_back(variable(Space::kParam, false));
  } while (accept(","));
  expect(")");
}

void Parser::function(bool is_entry) {
  Function f;
  f.is_entry = is_entry;
  f.line = lexer_.peek().line;
  if (at("(")) parameter_list(f.results);
  f.name = word();
  if (at("(")) parameter_list(f.params);
  while (!at("{") && !at(";")) {
    const std::string_view directive = word();
    if (directive == ".maxntid" || directive == ".reqntid") {
      for (uint32_t& n : f.max_threads) n = 1;
      for (int i = 0; i < 3; ++i) {
        f.max_threads[i] = static_cast<uint32_t>(integer());
        if (!accept(",")) break;
      }
    } else if (directive == ".minnctapersm" || directive == ".maxnreg") {
      (directive == ".maxnreg" ? f.max_registers : f.min_blocks) = static_cast<uint32_t>(integer());
    } else if (directive == ".pragma") {
      lexer_.next();
      accept(";");
    } else if (directive != ".noreturn") {
      fail("unknown function directive " + std::string(directive));
    }
  }
  if (accept(";")) {
    module_.functions.push_back(std::move(f));
    return;
  }
  f.has_body = true;
  body(f);
  module_.functions.push_back(std::move(f));
}

void Parser::body(Function& f) {
  scopes_.clear();
  location_ = {};
  int depth = 0;
  do {
    const Token token = lexer_.next();
    if (token.kind == Kind::kEnd) fail("function " + std::string(f.name) + " has no end");
    if (token.text == "{") {
      f.scope_parent.push_back(scopes_.scope());
      scopes_.open(static_cast<int>(f.scope_parent.size()) - 1);
      ++depth;
    } else if (token.text == "}") {
      scopes_.close();
      --depth;
    } else if (token.text != ";") {
      statement(f, token);
    }
  } while (depth > 0);
}

void Parser::registers(Function& f) {
  const std::string_view type_name = word();
  const Type type = type_from_name(type_name.substr(1));
  if (type == Type::kNone) fail("unknown register type " + std::string(type_name));
  do {
    const std::string_view name = word();
    const int base = static_cast<int>(f.registers.size());
    int count = 1;
    if (accept("<")) {
      count = static_cast<int>(integer());
      expect(">");
      scopes_.declare_range(name, base, count);
    } else {
      scopes_.declare(name, base);
    }
    f.registers.resize(f.registers.size() + static_cast<size_t>(count), Register{type});
  } while (accept(","));
  expect(";");
}

void Parser::location(Function& f) {
  const uint32_t line = lexer_.peek().line;
  auto place = [this] {
    Location l;
    l.file = static_cast<uint32_t>(integer());
    l.line = static_cast<uint32_t>(integer());
    l.column = static_cast<uint32_t>(integer());
    return l;
  };
  location_ = place();
  while (lexer_.peek().line == line)
    if (lexer_.next().text == "inlined_at") f.inlined_at[location_] = place();
}

Operand Parser::register_or_symbol(Function&, std::string_view name) {
  Operand o;
  o.reg = scopes_.find(name);
  o.kind = o.reg >= 0 ? Operand::Kind::kRegister : Operand::Kind::kSymbol;
  o.name = name;
  return o;
}

Operand Parser::operand(Function& f) {
  Operand o;
  if (accept("{") || at("(")) {
    const bool is_list = accept("(");
    o.kind = is_list ? Operand::Kind::kList : Operand::Kind::kVector;
    const std::string_view close = is_list ? ")" : "}";
    if (accept(close)) return o;
    do o.elements.push_back(operand(f));
    while (accept(","));
    expect(close);
    return o;
  }
  if (accept("[")) {
    if (lexer_.peek().kind == Kind::kWord) {
      const std::string_view name = word();
      o = register_or_symbol(f, name);
    }
    o.kind = Operand::Kind::kAddress;
    if (o.name.empty())
      o.value = integer();
    else if (accept("+"))
      o.value = integer();
    else if (at("-"))
      o.value = integer();
    expect("]");
    return o;
  }
  bool negative = false;
  if (accept("!"))
    o.negated = true;
  else if (accept("-"))
    negative = true;
  const Token token = lexer_.next();
  switch (token.kind) {
    case Kind::kInteger:
      o.kind = Operand::Kind::kInteger;
      o.value = negative ? -token.value : token.value;
      return o;
    case Kind::kFloat32:
      o.kind = Operand::Kind::kFloat32;
      o.value = negative ? token.value ^ 0x80000000 : token.value;
      return o;
    case Kind::kFloat64:
      o.kind = Operand::Kind::kFloat64;
      o.value = negative ? token.value ^ INT64_MIN : token.value;
      return o;
    case Kind::kWord: break;
    default: fail("unexpected '" + std::string(token.text) + "'", token.line);
  }
  if (token.text == "_") return o;
  const bool negated = o.negated || negative;
  o = register_or_symbol(f, token.text);
  o.negated = negated;
  if (accept("|")) {
    const std::string_view second = word();
    o.second = scopes_.find(second);
    if (o.second < 0 && second != "_") fail("unknown register " + std::string(second));
  } else if (o.kind == Operand::Kind::kSymbol && accept("+")) {
    o.value = integer();
  }
  return o;
}

void Parser::statement(Function& f, const Token& first) {
  std::string_view text = first.text;
  if (text == ".reg") return registers(f);
  if (text == ".loc") return location(f);
  if (text == ".local" || text == ".shared" || text == ".param" || text == ".const" || text == ".global") {
    const Space space = text == ".local"    ? Space::kLocal
                        : text == ".shared" ? Space::kShared
                        : text == ".param"  ? Space::kParam
                        : text == ".const"  ? Space::kConst
                                            : Space::kGlobal;
    f.locals.push_back(variable(space, true));
    expect(";");
    return;
  }
  if (text == ".pragma") {
    lexer_.next();
    return;
  }
  Instruction in;
  in.line = first.line;
  in.source = location_;
  in.scope = scopes_.scope();
  if (text == "@") {
    in.guard_negated = accept("!");
    const std::string_view name = word();
    in.guard = scopes_.find(name);
    if (in.guard < 0) fail("unknown predicate " + std::string(name));
    text = word();
  }
  if (first.kind == Kind::kWord && accept(":")) {
    if (at(".branchtargets") || at(".calltargets")) {
      lexer_.next();
      do f.branch_targets[text].push_back(word());
      while (accept(","));
      expect(";");
    } else if (at(".callprototype")) {
      while (!accept(";")) lexer_.next();
    } else {
      f.labels[{in.scope, text}] = static_cast<uint32_t>(f.code.size());
    }
    return;
  }
  in.opcode = text;
  for (size_t start = 0; start <= text.size();) {
    const size_t dot = std::min(text.find('.', start), text.size());
    if (dot > start) in.parts.push_back(text.substr(start, dot - start));
    start = dot + 1;
  }
  if (in.parts.empty()) fail("expected an instruction before '" + std::string(text) + "'", first.line);
  while (!accept(";")) {
    in.operands.push_back(operand(f));
    if (!at(";")) expect(",");
  }
  f.code.push_back(std::move(in));
}

void Parser::run() {
  bool is_extern = false;
  while (lexer_.peek().kind != Kind::kEnd) {
    const std::string_view token = word();
    if (token == ".version" || token == ".target" || token == ".address_size" || token == ".loc") {
      skip_line();
    } else if (token == ".visible" || token == ".weak" || token == ".common") {
      continue;
    } else if (token == ".extern") {
      is_extern = true;
      continue;
    } else if (token == ".entry" || token == ".func") {
      function(token == ".entry");
    } else if (token == ".global" || token == ".const" || token == ".shared") {
      Variable v = variable(token == ".global" ? Space::kGlobal : token == ".const" ? Space::kConst : Space::kShared, true);
      v.is_extern = is_extern;
      module_.variables.push_back(std::move(v));
      expect(";");
    } else if (token == ".file") {
      const uint32_t id = static_cast<uint32_t>(integer());
      module_.files[id] = std::string(lexer_.next().text);
      if (accept(",")) {
        integer();
        expect(",");
        integer();
      }
    } else if (token == ".section") {
      word();
      skip_braces();
    } else if (token == ".pragma" || token == ".alias") {
      while (!accept(";")) lexer_.next();
    } else {
      fail("unknown directive " + std::string(token));
    }
    is_extern = false;
  }
}

}  // namespace

std::unique_ptr<Module> parse(std::string text) {
  auto module = std::make_unique<Module>();
  module->text = std::move(text);
  Parser(*module).run();
  return module;
}

}  // namespace emulator::ptx
