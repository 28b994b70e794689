// What kernels do, counted: instructions by class, sectors of global memory, passes over shared memory. Off unless asked
// for.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "emulator/emulator.h"
#include "machine.h"
#include "ptx_ast.h"

namespace emulator {

// The cost of a PTX instruction, whatever it does: its class, from opcode and types.
InstructionCost cost_of(const ptx::Instruction& in);

// A block's counts.
struct Tally {
  explicit Tally(const Launch& l) : launch(l.counted), cached_since(l.cached_since) {}
  uint32_t launch;        // stamps the sectors that it has touched, and the instructions that it has run
  uint32_t cached_since;  // instructions with this stamp or a later one need not be fetched
  WarploomCounters counts = {};
  // Sectors that this block has read, the last one for each place of a table, tagged with the block. The block's own first read counts
  // as DRAM's, whatever others have read meanwhile: that depends on the host.
  static constexpr uint64_t kPlaces = 8192;
  std::unique_ptr<uint64_t[]> read = std::make_unique<uint64_t[]>(kPlaces);
  uint64_t blocks = 1;  // that were counted here, and this one
};

// Before the handler of an instruction with cost.access runs, while its address registers are whole. Issues it on the warp's clock.
void count_access(Tally& tally, Warp& warp, const Inst& inst, const InstructionCost& cost);

// When an instruction issues: whether the launch had run it before, and whether it must be fetched.
inline void count_fetch(Tally& tally, const Code& code, size_t instruction) {
  if (!code.costs[instruction].counted) return;
  uint32_t* last = &code.last_launch[instruction];
  if (__atomic_load_n(last, __ATOMIC_RELAXED) == tally.launch) return;
  const uint32_t before = __atomic_exchange_n(last, tally.launch, __ATOMIC_RELAXED);
  if (before == tally.launch) return;
  ++tally.counts.distinct_instructions;
  if (before < tally.cached_since) ++tally.counts.fetched_instructions;
}

// When a block has ended.
void count_block(Tally& tally, Block& block);

bool counting();
uint32_t next_counted_launch();  // never 0

// Counts of launches that are alike, so that a mean launch means something.
struct LaunchKind {
  std::string kernel;  // demangled
  const Code* code;
  uint64_t blocks;
  uint32_t threads, dynamic_shared;
  auto operator<=>(const LaunchKind&) const = default;
};
LaunchKind kind_of(const Launch& launch);
void add(WarploomCounters& sum, const WarploomCounters& counts);
void add_counts(const Launch& launch, const WarploomCounters& counts);  // from any thread
std::map<LaunchKind, WarploomCounters> all_counts();

// After each kernel: where a program asked for it, a line a second about what the GPU would have done. In profile.cpp.
void tick();

}  // namespace emulator
