// How long a warp takes when nothing but its own dependences and those that it waits for hold it up: a clock a warp, if
// counting is on. Within a basic block instructions issue as soon as what they read is ready (ptxas puts them in such an order),
// one a clock; no load passes a store to its space. A basic block begins when all of the one before have issued. Warps of
// a block meet at barriers and mbarriers. Blocks do not meet: a look at what another block may change takes what its load takes.
#pragma once

#include "machine.h"

namespace emulator {

// Clocks. README.md says which are published and which assumed.
constexpr uint16_t kArithmeticClocks = 4;  // 32 bits: arXiv:2208.11174, arXiv:2503.20481
constexpr uint16_t kWideClocks = 6;        // 64 bits are two instructions, the second of which starts two clocks later
constexpr uint16_t kDoubleClocks = 8;      // f64: assumed
constexpr uint16_t kSpecialClocks = 23;    // the unit of special functions and conversions: assumed
constexpr uint16_t kMatrixClocks = 25;     // mma.m16n8k16: arXiv:2206.02874
constexpr uint16_t kL1Clocks = 33;         // what local memory takes: arXiv:2208.11174
constexpr uint16_t kSharedClocks = 29;     // this and the next two: arXiv:2402.13499; shuffles take shared memory's path
constexpr uint16_t kL2Clocks = 262;
constexpr uint16_t kDramClocks = 470;
constexpr uint16_t kFenceClocks = 327;      // of the GPU's scope: assumed
constexpr uint16_t kBarrierClocks = 22;     // from the last warp's arrival: assumed
constexpr double kBarrierWarpClocks = 2.1;  // a warp that arrives: 0.475 warps a clock: assumed
// Of a round of a compare-and-swap loop in shared memory: a load, and a swap that takes no less.
constexpr uint16_t kSwapClocks = 50;

void start_clock(Warp& warp);  // at the start of its block
void issue(Warp& warp, const InstructionCost& cost, uint32_t latency);
void end_basic_block(Warp& warp);
// Before an instruction: whether it belongs to a loop that only looks again at what it has looked at, which neither takes time nor
// counts. Such a loop holds fewer than 64 instructions, none of which stores, arrives or is a barrier, and a volatile or stronger load, or
// a test of an mbarrier, that comes back to the address of its first lane.
bool looks_again(Warp& warp, const Inst& inst, const InstructionCost& cost);
// An mbarrier: an arrival, which may complete the phase; a test that has found a phase complete.
void arrive_at_phase(Block& block, uint64_t address, uint64_t phase, bool completes, uint64_t time);
void wait_for_phase(Warp& warp, uint64_t address, uint64_t phase);
uint64_t copies_end(const WarpClock& time);  // when all cp.async so far will be there
// Barriers: a warp's arrival; when the barrier has opened, for each warp that waits.
void arrive_at(Warp& warp, Barrier& barrier);
uint64_t opening(Block& block, const Barrier& barrier);
void go_on_at(Warp& warp, uint64_t time);
uint64_t end_block(Block& block);  // its clocks

}  // namespace emulator
