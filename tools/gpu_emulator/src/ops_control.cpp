// Branches, calls, barriers, the end of threads. PTX ISA 9.7.12, 9.7.13.1.
#include <bit>

#include "builtins.h"
#include "decoder.h"
#include "registers.h"

namespace emulator {
namespace {

using ptx::Type;

void branch_handler(Warp& w, const Inst& in) {
  if (w.exec == w.active) {
    branch_budget(w, in.target);
    w.pc = in.target;
  } else {
    diverge(w, in.target, w.exec);
  }
}
void bra(Encoder& e) {
  e.take("uni");
  e.emit(&branch_handler, {}, {}).target = e.label(e.operand(0).name);
  e.last().branches = true;
  e.last().ends = e.in().guard < 0;
}

void branch_table_handler(Warp& w, const Inst& in) {
  const auto& table = *static_cast<const std::vector<uint32_t>*>(in.extra);
  const uint32_t* index = reg<uint32_t>(w, in.op[0]);
  uint32_t left = w.exec;
  const uint32_t all = w.exec;
  // The lanes are peeled off by target; those of the last target take the branch as a whole.
  while (left != 0) {
    const int lane = std::countr_zero(left);
    if (index[lane] >= table.size())
      fault(w, in, lane, kFaultInstruction, "brx.idx with index " + std::to_string(index[lane]));
    const uint32_t target = table[index[lane]];
    uint32_t same = 0;
    for (int i = 0; i < kLanes; ++i)
      if (lane_in(left, i) && index[i] < table.size() && table[index[i]] == target) same |= 1u << i;
    left &= ~same;
    if (same == w.active) {
      branch_budget(w, target);
      w.pc = target;
    } else {
      split_off(w, target, same);
    }
  }
  (void)all;
}
void brx(Encoder& e) {
  e.take("idx"), e.take("uni");
  const uint32_t index = e.src(e.operand(0), Type::kU32);
  std::vector<uint32_t> targets;
  for (const std::string_view name : e.branch_table(e.operand(1).name)) targets.push_back(e.label(name));
  e.emit(&branch_table_handler, {}, {index});
  e.last().targets = targets;
  e.last().ends = e.in().guard < 0;
}

void exit_handler(Warp& w, const Inst& in) { leave(w, in, w.exec); }
void exit_thread(Encoder& e) {
  e.emit(&exit_handler, {}, {});
  e.last().ends = e.in().guard < 0;
}
void return_handler(Warp& w, const Inst& in) {
  if (w.frame->parent == nullptr)
    leave(w, in, w.exec);
  else
    return_from(w, in);
}
void ret(Encoder& e) {
  e.take("uni");
  e.emit(&return_handler, {}, {});
  e.last().ends = e.in().guard < 0;
}
void trap_handler(Warp& w, const Inst& in) { fault(w, in, std::countr_zero(w.exec), kFaultLaunch, "trap"); }
void trap(Encoder& e) { e.emit(&trap_handler, {}, {}); }

void call_handler(Warp& w, const Inst& in) {
  const CallSite& site = *static_cast<const CallSite*>(in.extra);
  if (site.builtin != kNotBuiltin) return run_builtin(w, in, site);
  enter(w, in, site);
}
// Through a register: lanes that call the same function go together.
void indirect_call(Warp& w, const Inst& in) {
  const CallSite& site = *static_cast<const CallSite*>(in.extra);
  const uint64_t* address = reg<uint64_t>(w, in.op[0]);
  const int lane = std::countr_zero(w.exec);
  uint32_t same = 0;
  for (int i = 0; i < kLanes; ++i)
    if (lane_in(w.exec, i) && address[i] == address[lane]) same |= 1u << i;
  const Code* callee = code_at(address[lane]);
  if (callee == nullptr) fault(w, in, lane, kFaultIllegalAddress, "call of an address that is no function");
  if (same != w.exec) split_off(w, w.pc - 1, w.exec & ~same);  // the others come back to this instruction
  w.exec = same;
  enter_code(w, in, site, *callee);
}

void call(Encoder& e) {
  e.take("uni");
  size_t at = 0;
  auto site = std::make_unique<CallSite>();
  auto params = [&](const ptx::Operand& list, std::vector<uint32_t>& offsets, std::vector<uint32_t>& bytes) {
    for (const auto& o : list.elements) {
      const Encoder::Symbol s = e.symbol(o.name);
      if (s.kind != Encoder::Symbol::Kind::kCallParam) e.unsupported("argument " + std::string(o.name));
      offsets.push_back(static_cast<uint32_t>(s.value));
      bytes.push_back(e.param_stride(static_cast<uint32_t>(s.value)));
    }
  };
  if (e.operand(0).kind == ptx::Operand::Kind::kList) params(e.operand(at++), site->result_offsets, site->result_bytes);
  const ptx::Operand& target = e.operand(at++);
  if (at < e.operands() && e.operand(at).kind == ptx::Operand::Kind::kList)
    params(e.operand(at++), site->argument_offsets, site->argument_bytes);
  std::vector<uint32_t> operands = site->argument_offsets;  // as operands, so that their registers are known to be used
  operands.insert(operands.end(), site->result_offsets.begin(), site->result_offsets.end());
  if (target.reg >= 0) {
    operands.insert(operands.begin(), e.src(target, Type::kB64));
    e.emit(&indirect_call, {}, operands).extra = site.get();
  } else {
    site->builtin = builtin_of(target.name);
    if (site->builtin == kNotBuiltin) site->callee = decode(e.program(), target.name);
    e.emit(&call_handler, {}, operands).extra = site.get();
  }
  e.code().calls.push_back(std::move(site));
}

// bar and barrier: in.imm has the kind. op: [destination,] barrier, count, predicate.
enum BarrierKind : int64_t { kSync, kArrive, kAnd, kOr, kPopc };
void barrier_handler(Warp& w, const Inst& in) {
  const int lane = std::countr_zero(w.exec);
  const bool reduces = in.imm >= kAnd;
  const size_t first = reduces ? 1 : 0;
  const uint32_t id = reg<uint32_t>(w, in.op[first])[lane], count = reg<uint32_t>(w, in.op[first + 1])[lane];
  if (id >= 16) fault(w, in, lane, kFaultInstruction, "barrier " + std::to_string(id) + " of 16");
  if (count % kLanes != 0)
    fault(w, in, lane, kFaultInstruction, "barrier with " + std::to_string(count) + " threads, no multiple of 32");
  const uint32_t p = reduces ? predicate(w, in.op[3]) & w.exec : 0;
  arrive(w, in, id, count, in.imm == kArrive, reduces, p);
}
// When the barrier opens, the waiting lanes come here with the result.
void bar(Encoder& e) {
  e.take("aligned"), e.take("cta");
  if (e.take("warp")) {
    e.take("sync");
    e.emit(&warp_barrier_handler, {}, {e.src(e.operand(0), Type::kB32)});
    return;
  }
  const std::string_view what = e.take_one({"sync", "arrive", "red"});
  if (what != "red") {
    e.emit(&barrier_handler, {},
           {e.src(e.operand(0), Type::kU32), e.operands() > 1 ? e.src(e.operand(1), Type::kU32) : e.constant(0, 4)})
        .imm = what == "arrive" ? kArrive : kSync;
    return;
  }
  const std::string_view op = e.take_one({"and", "or", "popc"});
  const Type type = e.take_type();
  const bool counted = e.operands() > 3;
  Inst& in = e.emit(&barrier_handler, {e.dst(e.operand(0), type == Type::kPred ? 0 : 4)},
                    {e.src(e.operand(1), Type::kU32), counted ? e.src(e.operand(2), Type::kU32) : e.constant(0, 4),
                     e.src_predicate(e.operand(counted ? 3 : 2))});
  in.imm = op == "and" ? kAnd : op == "or" ? kOr : kPopc;
}

void sleep_handler(Warp& w, const Inst&) {
  w.yield = true;
  w.slept = true;
  w.limit = 0;
}
void nanosleep(Encoder& e) {
  e.take_type();
  e.emit(&sleep_handler, {}, {});
}

}  // namespace

void finish_barrier(Warp& w, const Inst& in, uint32_t lanes, const Barrier& barrier) {
  if (in.imm < kAnd) return;
  const uint32_t saved = w.exec;
  w.exec = lanes;
  if (in.imm == kPopc) {
    uint32_t* out = reg<uint32_t>(w, in.op[0]);
    for (int i = 0; i < kLanes; ++i)
      if (lane_in(lanes, i)) out[i] = barrier.count;
  } else {
    const bool value = in.imm == kAnd ? barrier.count == barrier.threads : barrier.count > 0;
    set_predicate(w, in.op[0], value ? kAllLanes : 0);
  }
  w.exec = saved;
}

void warp_barrier_handler(Warp& w, const Inst& in) {
  const uint32_t mask = reg<uint32_t>(w, in.op[0])[std::countr_zero(w.exec)];
  if ((mask & w.live & ~w.exec) != 0)
    wait_warp(w, in, mask, false);
  else
    ++w.warp_syncs;
}

void add_control_ops(EncoderTable& table) {
  table.insert({{"bra", bra},
                {"brx", brx},
                {"exit", exit_thread},
                {"ret", ret},
                {"trap", trap},
                {"brkpt", trap},
                {"call", call},
                {"bar", bar},
                {"barrier", bar},
                {"nanosleep", nanosleep}});
}

}  // namespace emulator
