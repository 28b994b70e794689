// What the parser makes of PTX text: names resolved to registers, labels to instruction indices, lines kept.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace emulator::ptx {

enum class Type : uint8_t {
  kNone,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kB8,
  kB16,
  kB32,
  kB64,
  kB128,
  kF16,
  kBF16,
  kF16x2,
  kBF16x2,
  kF32,
  kF64,
  kPred
};
Type type_from_name(std::string_view name);  // "u32"; kNone where it is no type
int size_of(Type type);                      // bytes; 0 for predicates

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kConst, kParam };

struct Operand {
  enum class Kind : uint8_t { kRegister, kInteger, kFloat32, kFloat64, kSymbol, kAddress, kVector, kList, kWildcard };
  Kind kind = Kind::kWildcard;
  bool negated = false;           // !p or -x before a register
  int reg = -1;                   // index into Function::registers; of the base where kind is kAddress
  std::string_view name;          // symbol (label, variable, function, special register), also as an address's base
  int64_t value = 0;              // integer, the bits of a float, or the offset of an address or symbol
  std::vector<Operand> elements;  // of a vector {a,b} or list (a,b)
  int second = -1;                // register q of a destination p|q
};

struct Location {
  uint32_t file = 0, line = 0, column = 0;
  auto operator<=>(const Location&) const = default;
};

struct Instruction {
  std::string_view opcode;              // as written, "add.s32"
  std::vector<std::string_view> parts;  // split at the dots
  int guard = -1;                       // predicate register
  bool guard_negated = false;
  std::vector<Operand> operands;
  uint32_t line = 0;  // in the PTX text
  Location source;    // from .loc
  int scope = 0;      // for labels
};

struct Register {
  Type type;
};

struct Initialiser {  // one scalar of a variable's initial value
  int64_t value = 0;
  std::string_view symbol;  // its address is added where not empty
};

struct Variable {
  std::string_view name;
  Space space = Space::kGlobal;
  Type type = Type::kB8;
  uint64_t align = 1, size = 0;
  bool is_extern = false;
  std::vector<Initialiser> init;
};

struct Function {
  std::string_view name;
  bool is_entry = false, has_body = false;
  std::vector<Variable> params, results, locals;  // locals: .local, .shared and call .param variables
  std::vector<Register> registers;
  std::vector<Instruction> code;
  std::map<std::pair<int, std::string_view>, uint32_t> labels;  // (scope, name) -> instruction index
  std::vector<int> scope_parent;
  std::map<Location, Location> inlined_at;  // where the function that holds a location was called
  std::map<std::string_view, std::vector<std::string_view>> branch_targets;  // .branchtargets tables
  uint32_t max_threads[3] = {0, 0, 0};                                       // .maxntid or .reqntid
  uint32_t min_blocks = 0, max_registers = 0;                                // .minnctapersm, .maxnreg
  uint32_t line = 0;
};

struct Module {
  std::string text;  // everything above points into it
  std::vector<Variable> variables;
  std::vector<Function> functions;
  std::map<uint32_t, std::string> files;  // .file
};

}  // namespace emulator::ptx
