#include "decoder.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>

#include "counters.h"
#include "memory.h"
#include "ops_move.h"

namespace emulator {
namespace {

const EncoderTable& encoders() {
  static const EncoderTable table = [] {
    EncoderTable t;
    add_integer_ops(t);
    add_float_ops(t);
    add_half_ops(t);
    add_convert_ops(t);
    add_compare_ops(t);
    add_move_ops(t);
    add_mbarrier_ops(t);
    add_memory_ops(t);
    add_async_ops(t);
    add_dependence_ops(t);
    add_atomic_ops(t);
    add_bit_ops(t);
    add_control_ops(t);
    add_warp_ops(t);
    add_matrix_ops(t);
    return t;
  }();
  return table;
}

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

// Of a lane's value in a register: a byte has two, a predicate none of its own.
constexpr int place_bytes(int bytes) { return bytes == 1 ? 2 : bytes; }

void count_mentions(const ptx::Operand& o, std::vector<uint32_t>& mentions) {
  if (o.reg >= 0) ++mentions[static_cast<size_t>(o.reg)];
  if (o.second >= 0) ++mentions[static_cast<size_t>(o.second)];
  for (const auto& element : o.elements) count_mentions(element, mentions);
}

// Shared variables in the order of their offsets: those of device functions first, which have one place in all kernels.
void collect_shared(const Program& program, const ptx::Function& f, std::vector<const ptx::Variable*>& order) {
  std::set<std::string_view> seen;
  for (const auto* v : order) seen.insert(v->name);
  for (const ptx::Variable& v : f.locals)
    if (v.space == ptx::Space::kShared && seen.insert(v.name).second) order.push_back(&v);
  auto visit = [&](const ptx::Operand& o) {
    const auto found = program.variables.find(o.name);
    if (found != program.variables.end() && found->second->space == ptx::Space::kShared && seen.insert(o.name).second)
      order.push_back(found->second);
  };
  for (const auto& in : f.code)
    for (const auto& o : in.operands) {
      visit(o);
      for (const auto& e : o.elements) visit(e);
    }
}

}  // namespace

Encoder::Encoder(Program& program, const ptx::Function& function, Code& code)
    : program_(program), function_(function), code_(code) {}

const ptx::Operand& Encoder::operand(size_t i) const {
  if (i >= in_->operands.size()) unsupported("too few operands");
  return in_->operands[i];
}

bool Encoder::take(std::string_view modifier) {
  const auto found = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (found == modifiers_.end()) return false;
  modifiers_.erase(found);
  return true;
}

bool Encoder::take_any() {
  if (modifiers_.empty()) return false;
  modifiers_.pop_back();
  return true;
}

const int64_t* Encoder::keep(int64_t value) {
  code_.kept.push_back(std::make_unique<int64_t>(value));
  return code_.kept.back().get();
}

std::string_view Encoder::take_one(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (take(name)) return name;
  return "";
}

ptx::Type Encoder::take_type() {
  for (auto m = modifiers_.begin(); m != modifiers_.end(); ++m) {
    const ptx::Type type = ptx::type_from_name(*m);
    if (type == ptx::Type::kNone) continue;
    modifiers_.erase(m);
    return type;
  }
  unsupported("no type");
}

void Encoder::unsupported(const std::string& why) const {
  throw std::runtime_error("PTX line " + std::to_string(in_->line) + ": unsupported instruction '" +
                           std::string(in_->opcode) + "'" + (why.empty() ? "" : " (" + why + ")") + " in " +
                           std::string(function_.name));
}

bool Encoder::used_elsewhere(const ptx::Operand& o) const { return o.reg >= 0 && mentions_[static_cast<size_t>(o.reg)] > 1; }

int Encoder::width(const ptx::Operand& o) const {
  return o.reg < 0 ? 0 : place_bytes(ptx::size_of(function_.registers[static_cast<size_t>(o.reg)].type));
}

ptx::Type Encoder::type_of(const ptx::Operand& o) const {
  return o.reg < 0 ? ptx::Type::kNone : function_.registers[static_cast<size_t>(o.reg)].type;
}

uint32_t Encoder::temporary(int bytes) {
  sizes_.push_back(bytes == 0 ? 4 : static_cast<uint32_t>(place_bytes(bytes)) * kLanes);
  pinned_.push_back(false);
  return static_cast<uint32_t>(sizes_.size() - 1) << 2;
}

uint32_t Encoder::param_register(uint32_t bytes) {
  sizes_.push_back(static_cast<uint32_t>(round_up(std::max(bytes, 1u), 16)) * kLanes);
  pinned_.push_back(true);
  return static_cast<uint32_t>(sizes_.size() - 1) << 2;
}

uint32_t Encoder::carry() {
  if (carry_ == kNoOperand) carry_ = temporary(0);
  return carry_;
}

uint32_t Encoder::constant(uint64_t value, int bytes) {
  const auto [found, is_new] = constant_offsets_.try_emplace({value, bytes}, static_cast<uint32_t>(constants_.size()));
  if (is_new) {
    const size_t lanes = bytes == 0 ? 1 : kLanes, size = bytes == 0 ? 4 : static_cast<size_t>(bytes);
    constants_.resize(round_up(constants_.size() + lanes * size, 64));
    for (size_t i = 0; i < lanes; ++i) std::memcpy(&constants_[found->second + i * size], &value, size);
  }
  return found->second | 1;
}

uint32_t Encoder::dst(const ptx::Operand& o, int bytes) {
  if (o.kind == ptx::Operand::Kind::kWildcard) return temporary(bytes);
  if (o.kind != ptx::Operand::Kind::kRegister) unsupported("destination is no register");
  if (width(o) != place_bytes(bytes)) unsupported("destination register of another size");
  return static_cast<uint32_t>(o.reg) << 2;
}

uint32_t Encoder::src(const ptx::Operand& o, ptx::Type type) {
  const int bytes = place_bytes(ptx::size_of(type));
  switch (o.kind) {
    case ptx::Operand::Kind::kRegister:
      if (type == ptx::Type::kPred) return src_predicate(o);
      if (width(o) != bytes || o.negated) unsupported("source register " + std::string(o.name));
      return static_cast<uint32_t>(o.reg) << 2;
    case ptx::Operand::Kind::kInteger:
      if (type == ptx::Type::kF32 || type == ptx::Type::kF64) unsupported("integer for a float");
      return constant(static_cast<uint64_t>(o.value) & (bytes >= 8 ? ~0ull : (1ull << (8 * bytes)) - 1), bytes);
    case ptx::Operand::Kind::kFloat32:
      if (type == ptx::Type::kF64) {
        float f;
        std::memcpy(&f, &o.value, 4);
        const double d = f;
        uint64_t bits;
        std::memcpy(&bits, &d, 8);
        return constant(bits, 8);
      }
      return constant(static_cast<uint64_t>(o.value), bytes);
    case ptx::Operand::Kind::kFloat64:
      if (type == ptx::Type::kF32) {
        double d;
        std::memcpy(&d, &o.value, 8);
        const float f = static_cast<float>(d);
        uint32_t bits;
        std::memcpy(&bits, &f, 4);
        return constant(bits, 4);
      }
      return constant(static_cast<uint64_t>(o.value), bytes);
    case ptx::Operand::Kind::kSymbol: {
      const uint32_t t = temporary(bytes);
      emit_symbol(*this, o, t, bytes);
      return t;
    }
    default: unsupported("operand");
  }
}

uint32_t Encoder::src_predicate(const ptx::Operand& o) {
  if (o.kind == ptx::Operand::Kind::kInteger) return constant(o.value != 0 ? 0xffffffff : 0, 0);
  if (o.kind != ptx::Operand::Kind::kRegister || type_of(o) != ptx::Type::kPred) unsupported("no predicate");
  return static_cast<uint32_t>(o.reg) << 2 | (o.negated ? 2 : 0);
}

Inst& Encoder::emit(Handler handler, std::initializer_list<uint32_t> d, std::initializer_list<uint32_t> s) {
  return emit(handler, std::vector<uint32_t>(d), std::vector<uint32_t>(s));
}

Inst& Encoder::emit(Handler handler, const std::vector<uint32_t>& destinations, const std::vector<uint32_t>& sources) {
  Pending p;
  p.inst.handler = handler;
  p.inst.ast = static_cast<uint32_t>(in_ - function_.code.data());
  p.inst.guard =
      in_->guard < 0 ? constant(0xffffffff, 0) : static_cast<uint32_t>(in_->guard) << 2 | (in_->guard_negated ? 2 : 0);
  p.destinations = static_cast<uint32_t>(destinations.size());
  p.operands = destinations;
  p.operands.insert(p.operands.end(), sources.begin(), sources.end());
  p.cost = cost_of(*in_);
  p.cost.counted = pending_.empty() || pending_.back().inst.ast != p.inst.ast;
  pending_.push_back(std::move(p));
  return pending_.back().inst;
}

void Encoder::accesses(InstructionCost::Access access, size_t operand, size_t bytes) {
  InstructionCost& cost = last().cost;
  cost.access = access;
  cost.address = static_cast<uint8_t>(operand);
  cost.bytes = static_cast<uint8_t>(bytes);
}

Encoder::Symbol Encoder::symbol(std::string_view name) {
  if (const auto found = symbols_.find(name); found != symbols_.end()) return found->second;
  if (const auto found = program_.addresses.find(name); found != program_.addresses.end())
    return {Symbol::Kind::kAddress, found->second};
  if (program_.functions.contains(name)) return {Symbol::Kind::kFunction, 0};
  return {};
}

uint32_t Encoder::label(std::string_view name) const {
  for (int scope = in_->scope; scope >= 0; scope = function_.scope_parent[static_cast<size_t>(scope)])
    if (const auto found = function_.labels.find({scope, name}); found != function_.labels.end()) return found->second;
  unsupported("unknown label " + std::string(name));
}

const std::vector<std::string_view>& Encoder::branch_table(std::string_view name) const {
  const auto found = function_.branch_targets.find(name);
  if (found == function_.branch_targets.end()) unsupported("unknown branch table " + std::string(name));
  return found->second;
}

void Encoder::layout_variables() {
  uint64_t offset = 0;
  for (const ptx::Variable& v : function_.params) {
    if (function_.is_entry) {
      offset = round_up(offset, v.align);
      symbols_[v.name] = {Symbol::Kind::kParam, offset};
      code_.param_offsets.push_back(static_cast<uint32_t>(offset));
      offset += v.size;
    } else {
      symbols_[v.name] = {Symbol::Kind::kCallParam, param_register(static_cast<uint32_t>(v.size))};
    }
  }
  code_.param_bytes = static_cast<uint32_t>(offset);
  for (const ptx::Variable& v : function_.results)
    symbols_[v.name] = {Symbol::Kind::kCallParam, param_register(static_cast<uint32_t>(v.size))};
  std::map<std::string_view, uint64_t> call_params;  // those of one name share their place: call sequences don't nest
  uint64_t local = 0;
  for (const ptx::Variable& v : function_.locals) {
    if (v.space == ptx::Space::kParam) call_params[v.name] = std::max(call_params[v.name], v.size);
    if (v.space != ptx::Space::kLocal) continue;
    local = round_up(local, v.align);
    symbols_[v.name] = {Symbol::Kind::kLocal, local};
    local += v.size;
  }
  for (const auto& [name, size] : call_params)
    symbols_[name] = {Symbol::Kind::kCallParam, param_register(static_cast<uint32_t>(size))};
  code_.local_bytes = static_cast<uint32_t>(round_up(local, 16));

  for (const auto& in : function_.code) code_.has_calls = code_.has_calls || in.parts[0] == "call";
  std::vector<const ptx::Variable*> shared;
  if (code_.has_calls || !function_.is_entry)
    for (const auto& f : program_.module->functions)
      if (!f.is_entry) collect_shared(program_, f, shared);
  collect_shared(program_, function_, shared);
  const auto dynamic = [](const ptx::Variable* v) { return v->is_extern && v->size == 0; };
  uint64_t end = 0;
  for (const ptx::Variable* v : shared) {
    if (dynamic(v)) continue;
    end = round_up(end, v->align);
    symbols_[v->name] = {Symbol::Kind::kShared, end};
    end += v->size;
  }
  for (const ptx::Variable* v : shared)
    if (dynamic(v)) end = round_up(end, std::max<uint64_t>(v->align, 16));
  for (const ptx::Variable* v : shared)
    if (dynamic(v))  // all begin where the kernel's static ones have ended, which a device function does not know
      symbols_[v->name] = function_.is_entry ? Symbol{Symbol::Kind::kShared, end} : Symbol{Symbol::Kind::kDynamicShared, 0};
  code_.static_shared = static_cast<uint32_t>(end);
}

void Encoder::encode(const ptx::Instruction& in, const EncoderTable& table) {
  in_ = &in;
  modifiers_.assign(in.parts.begin() + 1, in.parts.end());
  std::string name(in.parts[0]);
  auto found = table.find(name);
  for (size_t i = 1; i < in.parts.size() && found == table.end(); ++i) {
    const ptx::Type type = ptx::type_from_name(in.parts[i]);
    if (type == ptx::Type::kNone) continue;
    const bool half = type >= ptx::Type::kF16 && type <= ptx::Type::kBF16x2;
    found = table.find(name + (half ? ":h" : type == ptx::Type::kF32 || type == ptx::Type::kF64 ? ":f" : ":i"));
    break;
  }
  if (found == table.end()) unsupported();
  found->second(*this);
  if (!modifiers_.empty()) unsupported("." + std::string(modifiers_.front()));
}

void Encoder::run() {
  for (const ptx::Register& r : function_.registers) {
    const int bytes = ptx::size_of(r.type);
    sizes_.push_back(bytes == 0 ? 4 : static_cast<uint32_t>(place_bytes(bytes)) * kLanes);
    pinned_.push_back(false);
  }
  mentions_.resize(function_.registers.size());
  for (const auto& in : function_.code)
    for (const auto& o : in.operands) count_mentions(o, mentions_);
  constant(0xffffffff, 0);
  layout_variables();
  for (const auto& in : function_.code) {
    first_inst_.push_back(static_cast<uint32_t>(pending_.size()));
    encode(in, encoders());
  }
  static const ptx::Instruction ret{"ret", {"ret"}, -1, false, {}, 0, {}, 0};
  first_inst_.push_back(static_cast<uint32_t>(pending_.size()));
  in_ = function_.code.empty() ? &ret : &function_.code.back();
  const ptx::Instruction end = [&] {
    ptx::Instruction copy = ret;
    copy.line = in_->line;
    return copy;
  }();
  const ptx::Instruction* back = in_;
  in_ = &end;
  modifiers_.clear();
  encoders().at("ret")(*this);
  last().inst.ast = function_.code.empty() ? 0 : static_cast<uint32_t>(back - function_.code.data());
  finish();
}

// What a warp's clock needs: the places that each instruction reads and writes, and where basic blocks begin.
void Encoder::prepare_clock(const std::vector<uint32_t>& offsets) {
  std::map<uint32_t, uint16_t> number;
  auto add = [&](uint32_t code) {
    if (code == kNoOperand || (code & 1) != 0) return;
    code_.places.push_back(number.try_emplace(offsets[code >> 2], static_cast<uint16_t>(number.size())).first->second);
  };
  std::vector<bool> leads(pending_.size() + 1);
  leads[0] = true;
  for (size_t i = 0; i < pending_.size(); ++i) {
    Pending& p = pending_[i];
    if (p.branches) leads[p.inst.target] = true;
    for (const uint32_t target : p.targets) leads[target] = true;
    if (p.cost.kind == kWarploomControl || p.cost.kind == kWarploomBarrier) leads[i + 1] = true;
    p.cost.places = static_cast<uint32_t>(code_.places.size());
    add(p.inst.guard);
    for (size_t k = p.destinations; k < p.operands.size(); ++k) add(p.operands[k]);
    p.cost.reads = static_cast<uint16_t>(code_.places.size() - p.cost.places);
    for (size_t k = 0; k < p.destinations; ++k) add(p.operands[k]);
    p.cost.writes = static_cast<uint16_t>(code_.places.size() - p.cost.places - p.cost.reads);
    // Of several Insts of one PTX instruction the last one takes its time.
    const bool more = i + 1 < pending_.size() && pending_[i + 1].inst.ast == p.inst.ast;
    if (more && p.cost.access == InstructionCost::Access::kNone) p.cost.latency = 0;
  }
  for (size_t i = 0; i < pending_.size(); ++i) pending_[i].cost.leads = leads[i];
  code_.meets_others =
      code_.has_calls || std::any_of(pending_.begin(), pending_.end(), [](const Pending& p) { return p.cost.meets_others; });
  code_.place_count = static_cast<uint32_t>(number.size());
  code_.last_launch.resize(pending_.size());
}

void Encoder::finish() {
  for (Pending& p : pending_) {
    if (p.branches) p.inst.target = first_inst_[p.inst.target];
    for (uint32_t& t : p.targets) t = first_inst_[t];
    if (!p.targets.empty()) {
      code_.tables.push_back(std::make_unique<std::vector<uint32_t>>(p.targets));
      p.inst.extra = code_.tables.back().get();
    }
  }
  std::vector<uint32_t> offsets;
  code_.frame_bytes = allocate_registers(pending_, sizes_, pinned_, offsets, code_.live_registers);
  prepare_clock(offsets);
  auto place = [&](uint32_t code) { return code == kNoOperand || (code & 1) != 0 ? code : offsets[code >> 2] | (code & 3); };
  for (Pending& p : pending_) {
    p.inst.guard = place(p.inst.guard);
    std::vector<uint32_t> more;
    for (size_t k = 0; k < p.operands.size(); ++k) {
      if (k < 6)
        p.inst.op[k] = place(p.operands[k]);
      else
        more.push_back(place(p.operands[k]));
    }
    if (!more.empty()) {
      code_.tables.push_back(std::make_unique<std::vector<uint32_t>>(more));
      p.inst.more = code_.tables.back()->data();
    }
    code_.insts.push_back(p.inst);
    code_.costs.push_back(p.cost);
  }
  auto param_offset = [&](std::string_view name) { return offsets[symbols_.at(name).value >> 2]; };
  if (!function_.is_entry)
    for (const auto& v : function_.params) code_.param_offsets.push_back(param_offset(v.name));
  for (const auto& v : function_.results) code_.result_offsets.push_back(param_offset(v.name));
  for (auto& site : code_.calls) {  // from virtual codes to places in the caller's frame
    for (uint32_t& o : site->argument_offsets) o = offsets[o >> 2];
    for (uint32_t& o : site->result_offsets) o = offsets[o >> 2];
  }
  code_.constants = static_cast<uint8_t*>(std::aligned_alloc(64, round_up(constants_.size(), 64)));
  std::memcpy(code_.constants, constants_.data(), constants_.size());
}

}  // namespace emulator
