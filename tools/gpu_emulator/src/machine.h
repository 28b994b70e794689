// The emulated machine's state: decoded code, warps with their registers, blocks, a grid being run.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "ptx_ast.h"

namespace emulator {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffff;
constexpr uint32_t kNoOperand = 0xffffffff;
constexpr uint32_t kNoLimit = 0xffffffff;

struct Warp;
struct Inst;
struct Block;
struct Launch;
struct Program;
struct Code;
class Turns;
using Handler = void (*)(Warp&, const Inst&);

// One decoded instruction. An operand is a byte offset into the frame's registers (bit 0 clear) or into the function's
// constants (bit 0 set); bit 1 negates a predicate. Destinations come first.
struct Inst {
  Handler handler = nullptr;
  uint32_t op[6] = {kNoOperand, kNoOperand, kNoOperand, kNoOperand, kNoOperand, kNoOperand};
  uint32_t guard = 0;              // a predicate: always there, the constant "true" where none is written
  uint32_t target = 0;             // of a branch: index of an Inst; otherwise whatever the handler makes of it
  int64_t imm = 0;                 // offset of an address, or whatever the handler makes of it
  const uint32_t* more = nullptr;  // operands after the sixth
  const void* extra = nullptr;     // call sites, branch tables
  uint32_t ast = 0;                // index into the function's instructions, for reports
};

// What counters need to know of an instruction (counters.h).
struct InstructionCost {
  enum class Access : uint8_t { kNone, kRead, kWrite, kAtomic, kCopy };
  uint8_t kind = 0;     // WarploomInstructionClass
  bool counted = true;  // false for the further Insts of one PTX instruction
  bool block_barrier = false;
  bool swaps = false;  // an atomic that shared memory has no instruction for: a loop of compare-and-swap there
  Access access = Access::kNone;
  uint8_t address = 0;         // which operand
  uint8_t bytes = 0;           // of a lane
  uint32_t lanes = kAllLanes;  // whose addresses matter
  // For a warp's clock (latency.h).
  // kLook: at what other threads change meanwhile: a volatile or stronger load, a test of an mbarrier; kCommit and the waits are of
  // cp.async.
  enum class Sync : uint8_t { kNone, kLook, kFence, kCommit, kWait, kWaitAll };
  Sync sync = Sync::kNone;
  uint8_t groups = 0;  // kWait: that need not be there
  bool leads = false;  // the first instruction of a basic block
  // In global memory, other blocks may look at what it changes, or change what it looks at.
  bool meets_others = false;
  uint8_t stores = 0;  // whose order it keeps: of a space, as index + 1 into WarpClock::stored; 0: of none
  bool is_store = false;
  uint16_t latency = 0;  // clocks until what it writes can be used; of a memory access, without the memory
  uint32_t places = 0;   // into Code::places: first those that it reads, then those that it writes
  uint16_t reads = 0, writes = 0;
};

// A function call's arguments or results: bytes of one lane's parameter, from one frame's registers to another's.
struct ParamMove {
  uint32_t caller, callee, bytes;
};
struct CallSite {
  const Code* callee = nullptr;
  std::vector<ParamMove> arguments, results;
  int builtin = 0;  // one of Builtin where the callee has no PTX
  std::vector<uint32_t> argument_offsets, result_offsets, argument_bytes, result_bytes;
};

struct Code {  // a decoded function
  const ptx::Function* ast = nullptr;
  Program* program = nullptr;
  std::vector<Inst> insts;
  std::vector<InstructionCost> costs;  // of each
  std::vector<uint16_t> places;        // of registers, numbered from 0: what costs name
  uint32_t place_count = 0;
  mutable std::vector<uint32_t> last_launch;  // that ran each instruction, if counting is on
  uint32_t live_registers = 0;                // of 32 bits, at most; what ptxas needs is near
  uint8_t* constants = nullptr;               // 64-byte aligned
  uint32_t frame_bytes = 0;                   // registers
  uint32_t local_bytes = 0;                   // .local variables of one thread
  uint32_t static_shared = 0, param_bytes = 0;
  bool has_calls = false;
  bool meets_others = false;                            // an instruction of it does, or may in what it calls
  std::vector<uint32_t> param_offsets, result_offsets;  // of a .func, in its frame; of an entry, in its parameter buffer
  std::vector<std::unique_ptr<std::vector<uint32_t>>> tables;
  std::vector<std::unique_ptr<CallSite>> calls;
  std::vector<std::unique_ptr<int64_t>> kept;
};

struct Frame {
  const Code* code = nullptr;
  uint8_t* registers = nullptr;
  Frame* parent = nullptr;
  const CallSite* site = nullptr;
  uint32_t return_pc = 0, depth = 0, lanes = 0;
  uint32_t local_offset = 0;    // of this frame's variables in each lane's stack
  std::vector<uint64_t> ready;  // when each place's value can be used; if counting is on
};

// A warp's clock, if counting is on: latency.h says what it holds.
struct WarpClock {
  uint64_t begin = 0;            // of this basic block: when its first instruction may issue
  uint64_t last = 0;             // when the last one issued
  uint64_t issued = 0;           // instructions of this basic block
  uint64_t passed = 0;           // instructions before it
  uint64_t stored[3] = {};       // when the last store to a space issued
  uint64_t copied = 0;           // when the copies since the last commit will be there
  std::vector<uint64_t> groups;  // the same of groups of copies
  // The last look at what others change, with nothing stored since: where, at what, after how many instructions.
  const Inst* look = nullptr;
  const Frame* look_frame = nullptr;
  uint32_t look_depth = 0;  // of the frame, which may be gone
  uint64_t look_address = 0, look_passed = 0;
  // A loop that only looks again (latency.h): its first instruction and the one behind it.
  bool polls = false;
  uint32_t poll_begin = 0, poll_end = 0;
};

// When an mbarrier's phases were complete.
struct PhaseTimes {
  uint64_t arrival = 0;   // the last one of this phase so far
  uint64_t ends[2] = {};  // of the last even and the last odd phase
};

// Lanes of a warp that are at the same place.
struct Group {
  enum class State : uint8_t { kReady, kWarpSync, kBarrier };
  uint32_t pc = 0, lanes = 0;
  Frame* frame = nullptr;
  State state = State::kReady;
  bool same_pc =
      false;  // kWarpSync: the mask's lanes must meet at this instruction (shfl), else at any such (bar.warp.sync)
  uint32_t sync_mask = 0;  // kWarpSync
  uint32_t barrier = 0;    // kBarrier
  uint64_t last_run = 0;
};

// A cp.async that has not been waited for.
struct AsyncCopy {
  uint64_t to, from;
  uint8_t lane, bytes, source_bytes;
  uint32_t group;  // of its lane
};

struct Warp {
  uint8_t* bank[2] = {nullptr, nullptr};  // the current frame's registers, its function's constants
  const Inst* code = nullptr;
  uint32_t pc = 0;
  uint32_t limit = kNoLimit;  // where another group waits: the scheduler is asked from there on; 0 asks it at once
  uint32_t active = 0;        // lanes at pc
  uint32_t exec = 0;          // those whose guard holds, for the handler
  uint32_t live = 0;          // lanes that have not exited
  uint32_t existing = 0;      // lanes that the block has
  uint32_t waited = 0;        // lanes that have executed griddepcontrol.wait
  int budget = 0;             // backward branches before others get a turn
  bool yield = false;
  bool slept = false;                     // nanosleep ended its turn
  uint32_t loop_begin = 0, loop_end = 0;  // the last backward branch: its target, and what follows it
  uint32_t yields = 0;                    // since one of a diverged warp's waiting groups had a turn
  Frame* frame = nullptr;
  Block* block = nullptr;
  uint64_t shared_begin = 0, shared_end = 0;  // addresses of the block's shared memory
  uint64_t local_begin = 0;                   // lane 0's stack
  uint32_t local_stride = 0;
  uint32_t index = 0;  // in the block
  uint64_t clock = 0;
  uint32_t warp_syncs = 1, serial = 0;  // bar.warp.syncs passed, memory instructions: for the race detector
  uint64_t issued = 0, lanes_issued = 0;
  uint32_t tid[3][kLanes] = {};
  std::vector<Group> pending;
  std::vector<AsyncCopy> async;
  uint32_t async_groups[kLanes] = {};  // committed
  std::vector<std::unique_ptr<Frame>> frames;
  WarpClock time;
};

enum Shadow : uint8_t;
struct RaceCell;
struct Tally;

struct Barrier {
  uint32_t arrived = 0;   // threads
  uint32_t expected = 0;  // 0: all that live
  uint32_t waiting = 0;   // groups
  uint32_t count = 0;     // of true predicates
  uint32_t threads = 0;   // that gave one
  // If counting is on: warps that arrived, when the first and the last one did.
  uint64_t warps = 0, first_arrival = 0, last_arrival = 0;
};

struct Block {
  Launch* launch = nullptr;
  uint32_t id[3] = {};
  uint64_t linear = 0;
  std::vector<Warp> warps;
  Barrier barriers[16];
  uint32_t live_threads = 0;
  uint64_t opened = 0;           // barriers, so far
  uint32_t generation = 1;       // what the race detector counts: barriers, locks, blocks before this one
  bool waited = false;           // a thread has executed griddepcontrol.wait
  bool synchronised = false;     // has looked at other blocks' doings: a fence, a lock, a volatile or stronger access
  RaceCell* cells = nullptr;     // one a word of shared memory
  std::shared_ptr<Tally> tally;  // if counting is on
  uint64_t turn = 0;             // turns.h, if counting is on
  bool sees_others = false;      // all earlier turns have ended
  std::unordered_map<uint64_t, uint64_t>
      swapped;  // lanes that a loop of compare-and-swap brought to an address, if counting is on
  uint64_t phase_begin = 0, phase_issued = 0;       // since the last barrier of all threads, if counting is on
  std::unordered_map<uint64_t, PhaseTimes> phases;  // of mbarriers, if counting is on
  uint64_t shared = 0, locals = 0;
  std::vector<uint8_t> storage;
};

struct Launch {
  const Code* code = nullptr;
  std::string name;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamic_shared = 0;
  uint64_t params = 0;  // address of the parameter buffer
  uint64_t grid_id = 0;
  uint64_t workspace = 0;  // of a cooperative launch: what cooperative_groups' grid.sync() counts in, by the driver's ABI
  bool cooperative = false;
  bool programmatic = false;       // may begin before the launch ahead has ended
  bool tracks_dependence = false;  // dependent_launch.h
  uint64_t unfinished = 0;         // the first launch that may still run when this one begins; 0: none
  std::atomic<bool> early{false};  // a block has let dependents begin before it waited
  uint32_t counted = 0;            // number of the launch if counting is on, else 0
  uint32_t cached_since = 0;       // instruction_cache.h, if counting is on
  std::atomic<bool> failed{false};
  std::atomic<uint64_t> issued{0}, lanes_issued{0};
  std::atomic<uint64_t> issued_since_end{0};  // of a block: what the watchdog looks at
  bool in_graph = false;
  // If counting is on: the longest block's clocks; the order of blocks, if they may see each other.
  std::atomic<uint64_t> longest_chain{0};
  Turns* turns = nullptr;
};

// What stops a kernel. `kind` is the CUDA error that the runtime then reports.
struct DeviceFault : std::runtime_error {
  DeviceFault(int cuda_error, const std::string& text) : std::runtime_error(text), error(cuda_error) {}
  int error;
};
constexpr int kFaultAssert = 710, kFaultIllegalAddress = 700, kFaultMisaligned = 716, kFaultLaunch = 719,
              kFaultInstruction = 715, kFaultTimeout = 702;

// Throws DeviceFault with kernel, block, thread, PTX line and source line.
[[noreturn]] void fault(const Warp& warp, const Inst& inst, int lane, int cuda_error, const std::string& what);

std::string demangle(const std::string& name);

// Requests from handlers to the scheduler (executor.cpp). A warp's pc is already past the instruction.
void diverge(Warp& warp, uint32_t target, uint32_t taken);  // part of the active lanes branches
void split_off(Warp& warp, uint32_t pc, uint32_t lanes);    // lanes that are to go on at `pc`
void leave(Warp& warp, const Inst& inst, uint32_t lanes);   // exit
void wait_warp(Warp& warp, const Inst& inst, uint32_t mask,
               bool same_pc);  // exec waits here until the mask's lanes are there
void arrive(Warp& warp, const Inst& inst, uint32_t barrier, uint32_t count, bool only_arrive, bool votes,
            uint32_t predicate);
void enter(Warp& warp, const Inst& inst, const CallSite& site);  // exec calls
// Enters a function's variables in these lanes' stacks, as never written, or takes them back.
void mark_locals(const Warp& warp, uint32_t lanes, uint32_t offset, uint32_t bytes, Shadow state);
void enter_code(Warp& warp, const Inst& inst, const CallSite& site, const Code& callee);
void return_from(Warp& warp, const Inst& inst);
// From the scheduler to the instruction: the barrier at which `lanes` waited has opened.
void finish_barrier(Warp& warp, const Inst& inst, uint32_t lanes, const Barrier& barrier);
void warp_barrier_handler(Warp& warp, const Inst& inst);

inline void branch_budget(Warp& warp, uint32_t target) {
  if (target >= warp.pc) return;
  warp.loop_begin = target;
  warp.loop_end = warp.pc;
  if (--warp.budget <= 0) {
    warp.yield = true;
    warp.limit = 0;
  }
}

}  // namespace emulator
