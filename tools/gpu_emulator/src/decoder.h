// Syntax tree to Insts: picks each instruction's handler by opcode and types, resolves names, labels and calls, then lays
// out registers so that those which are never live together share a place.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "machine.h"

namespace emulator {

enum Builtin : int { kNotBuiltin, kVprintf, kAssertFail, kMalloc, kFree };

// A loaded module: PTX, the addresses of its variables, its decoded functions.
struct Program {
  std::unique_ptr<ptx::Module> module;
  std::map<std::string_view, uint64_t> addresses;  // global and constant variables
  std::map<std::string_view, const ptx::Variable*> variables;
  std::map<std::string_view, size_t> functions;
  std::map<std::string_view, std::unique_ptr<Code>> decoded;
  std::recursive_mutex mutex;
};

std::unique_ptr<Program> load_program(std::string ptx_text);      // parses, allocates and initialises variables
const Code* decode(Program& program, std::string_view function);  // cached; throws std::runtime_error naming line and opcode
const Code* code_at(uint64_t function_address);                   // for indirect calls; nullptr where there is none
uint64_t function_address(Program& program, std::string_view name);

class Encoder;
using Encode = void (*)(Encoder&);
// The families of instructions (ops_*.cpp) enter their encoders here, by the opcode's first part; where a name has several
// families, followed by the first type's class: "add:i" (integers and bits), "add:f" (f32, f64), "add:h" (f16, bf16).
using EncoderTable = std::unordered_map<std::string, Encode>;
void add_integer_ops(EncoderTable& table);
void add_float_ops(EncoderTable& table);
void add_half_ops(EncoderTable& table);
void add_convert_ops(EncoderTable& table);
void add_compare_ops(EncoderTable& table);
void add_move_ops(EncoderTable& table);
void add_mbarrier_ops(EncoderTable& table);
void add_memory_ops(EncoderTable& table);
void add_async_ops(EncoderTable& table);
void add_dependence_ops(EncoderTable& table);
void add_atomic_ops(EncoderTable& table);
void add_bit_ops(EncoderTable& table);
void add_control_ops(EncoderTable& table);
void add_warp_ops(EncoderTable& table);
void add_matrix_ops(EncoderTable& table);

// What an encoder works with: the instruction at hand, and the function being built. Modifiers are taken one by one; one
// that nobody takes makes the instruction unsupported, so nothing is ignored by accident.
class Encoder {
 public:
  Encoder(Program& program, const ptx::Function& function, Code& code);
  void run();

  const ptx::Instruction& in() const { return *in_; }
  size_t operands() const { return in_->operands.size(); }
  const ptx::Operand& operand(size_t i) const;

  bool take(std::string_view modifier);
  bool take_any();        // whichever is next, for instructions whose modifiers change nothing here
  ptx::Type take_type();  // the first type left, or fails
  std::string_view take_one(std::initializer_list<std::string_view> names);  // the first of them that is there, or ""
  [[noreturn]] void unsupported(const std::string& why = "") const;

  uint32_t dst(const ptx::Operand& o, int bytes);       // bytes of the type written; 0 for a predicate
  uint32_t src(const ptx::Operand& o, ptx::Type type);  // a register, or a constant in all lanes
  uint32_t src_predicate(const ptx::Operand& o);
  uint32_t temporary(int bytes);
  uint32_t constant(uint64_t value, int bytes);
  uint32_t carry();                                  // the condition code register
  bool used_elsewhere(const ptx::Operand& o) const;  // whether another operand names the register, too
  int width(const ptx::Operand& o) const;            // bytes of the register (2 for a byte), or 0 where it is none
  ptx::Type type_of(const ptx::Operand& o) const;    // as declared
  Inst& emit(Handler handler, std::initializer_list<uint32_t> destinations, std::initializer_list<uint32_t> sources);
  Inst& emit(Handler handler, const std::vector<uint32_t>& destinations, const std::vector<uint32_t>& sources);

  // Names.
  struct Symbol {
    enum class Kind : uint8_t { kNone, kAddress, kShared, kDynamicShared, kLocal, kParam, kCallParam, kFunction };
    Kind kind = Kind::kNone;
    uint64_t value = 0;  // address, or offset in the space
  };
  Symbol symbol(std::string_view name);
  uint32_t label(std::string_view name) const;  // index of the target in the syntax tree; translated when all is encoded
  const std::vector<std::string_view>& branch_table(std::string_view name) const;
  Program& program() { return program_; }
  Code& code() { return code_; }
  const ptx::Function& function() const { return function_; }

  struct Pending {
    Inst inst;
    InstructionCost cost;
    uint32_t destinations = 0;
    std::vector<uint32_t> operands;       // virtual codes: register number << 2 | bits
    bool branches = false, ends = false;  // for liveness: op goes to inst.target; nothing follows
    std::vector<uint32_t> targets;        // of an indirect branch, as labels
  };
  Pending& last() { return pending_.back(); }
  void accesses(InstructionCost::Access access, size_t operand, size_t bytes);  // tells the counters of the last one
  uint32_t param_register(uint32_t bytes);  // a call parameter's place: bytes a lane, lane by lane
  uint32_t param_stride(uint32_t code) const { return sizes_[code >> 2] / kLanes; }
  const int64_t* keep(int64_t value);  // lives as long as the code

 private:
  void encode(const ptx::Instruction& in, const EncoderTable& table);
  void layout_variables();
  void prepare_clock(const std::vector<uint32_t>& offsets);
  void finish();

  Program& program_;
  const ptx::Function& function_;
  Code& code_;
  const ptx::Instruction* in_ = nullptr;
  std::vector<std::string_view> modifiers_;
  std::vector<Pending> pending_;
  std::vector<uint32_t> first_inst_;  // of each syntax tree instruction
  std::vector<uint32_t> sizes_;       // of each virtual register, bytes of 32 lanes (4 for predicates)
  std::vector<bool> pinned_;          // not to be shared
  std::vector<uint32_t> mentions_;    // of each register in the syntax tree
  std::map<std::pair<uint64_t, int>, uint32_t> constant_offsets_;
  std::vector<uint8_t> constants_;
  std::map<std::string_view, Symbol> symbols_;
  uint32_t carry_ = kNoOperand;
};

// register_allocation.cpp: the byte offset of every virtual register; returns the frame's size. `live`: the most registers of
// 32 bits that hold something later instructions read.
uint32_t allocate_registers(const std::vector<Encoder::Pending>& code, const std::vector<uint32_t>& sizes,
                            const std::vector<bool>& pinned, std::vector<uint32_t>& offsets, uint32_t& live);

}  // namespace emulator
