// What a program may ask of the emulator, beyond CUDA itself. The functions are declared weak, so that the same binary also
// runs with NVIDIA's runtime: there they are null (`if (warploom_emulator_report != nullptr)`).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Faults: what the sanitiser found, a trap, an assertion, an unsupported instruction.
__attribute__((weak)) const char* warploom_emulator_report(void);  // of the fault that stopped the device, or ""
__attribute__((weak)) void warploom_emulator_clear(void);          // forgets it

// ---- Faults on purpose. The nth call from now (1: the next) of an entry point of the runtime or cuBLAS does nothing but
// return `error`. "*" stands for any entry point; "kernel" for a kernel, which stops the device as a fault does. nth 0
// forgets what is planned. With WARPLOOM_EMULATOR_INJECT=cudaMalloc:3:2 from outside.
__attribute__((weak)) void warploom_emulator_inject(const char* entry_point, int nth, int error /* cudaError_t */);
__attribute__((weak)) int warploom_emulator_injections(void);  // that have struck since the last warploom_emulator_inject
__attribute__((weak)) const char* warploom_emulator_struck(
    void);  // the entry point that the last one struck; until the next
// How often the program has called an entry point of the runtime or cuBLAS so far; "kernel": kernels that ran.
__attribute__((weak)) uint64_t warploom_emulator_calls(const char* entry_point);
// What cudaMalloc and its kin may have together; 8 GiB or half of the host's, or WARPLOOM_EMULATOR_MEMORY (in MiB).
__attribute__((weak)) void warploom_emulator_limit_memory(size_t bytes);
// The program's share of the device's multiprocessors from now on, as a green context has it; 0: all. Attributes go on telling
// of the whole device.
__attribute__((weak)) void warploom_emulator_partition(int processors);
// A launch in which no block ends for so many warp instructions is stopped (cudaErrorLaunchTimeout).
// WARPLOOM_EMULATOR_WATCHDOG.
__attribute__((weak)) void warploom_emulator_watchdog(unsigned long long warp_instructions);
// Device and pinned memory, streams, events and graphs not given back: a line each, or "". With WARPLOOM_EMULATOR_LEAKS=1 a
// program that holds any at its end prints them and fails.
__attribute__((weak)) const char* warploom_emulator_leaks(void);

// ---- Counters. Instructions are PTX's: ptxas folds some away and adds others, so they compare variants of a kernel, and
// don't equal what a profiler shows. A warp instruction counts where at least one lane runs it; lanes are those that do.
enum WarploomInstructionClass {
  kWarploomInteger,    // 32 bits: arithmetic, bits, compare, select, move
  kWarploomInteger64,  // the same of 64 bits, addresses among them
  kWarploomFloat,      // f32, and packed and single f16, bf16
  kWarploomDouble,     // f64
  kWarploomSpecial,    // ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh, div
  kWarploomConvert,    // cvt
  kWarploomMatrix,     // mma
  kWarploomWarp,       // shfl, vote, match, redux, activemask, elect
  kWarploomControl,    // branches, calls, exit
  kWarploomBarrier,    // bar, barrier, bar.warp.sync, fences
  kWarploomMemory,     // loads and stores of global memory
  kWarploomShared,     // of shared memory, with ldmatrix
  kWarploomLocal,      // of local memory (stacks)
  kWarploomConstant,   // of constants and parameters
  kWarploomAtomic,     // atom, red
  kWarploomAsync,      // cp.async and its waits
  kWarploomOther,      // prefetches, nanosleep, what fits nowhere else
  kWarploomInstructionClasses
};

struct WarploomCounters {
  uint64_t launches, blocks, warps;
  uint64_t warp_instructions[kWarploomInstructionClasses];
  uint64_t lane_instructions[kWarploomInstructionClasses];
  // Global memory. Sectors are 32 bytes, aligned. Asked for: those that one warp instruction touches, summed over
  // instructions. Distinct: those that a launch touches at all, summed over launches: the least that DRAM must move when
  // caches are cold.
  uint64_t bytes_read, bytes_written;  // that lanes asked for
  uint64_t sectors_read, sectors_written;
  uint64_t distinct_sectors_read, distinct_sectors_written;
  // Shared memory: 32 banks of 4 bytes. An access takes one pass where no two lanes of a phase need different words of a
  // bank (a phase is the warp, a half or a quarter of it for 4, 8 and 16 bytes a lane); conflicts are the passes beyond one
  // a phase.
  uint64_t shared_passes, shared_conflicts;
  uint64_t global_atomics, shared_atomics;  // lanes
  uint64_t barriers;                        // warps that arrive at bar or barrier (bar.warp.sync is not one)
  // Atomics that shared memory has no instruction for (of 64 bits, of floats) are loops of compare-and-swap, of which one lane
  // wins a round at an address. Rounds: the most lanes of a warp instruction at one address, summed over instructions. Chain: the
  // most lanes of a block at one address, summed over blocks; they win one after the other.
  uint64_t swap_rounds, swap_chain;
  // What dependences take: clocks from a block's start to its end if it had a multiprocessor to itself and its code at hand, by the
  // published latencies of instructions, memory and barriers (tools/gpu_emulator/README.md), summed over blocks; of the longest block,
  // summed over launches. PTX instructions that a launch runs at all, summed over launches; those of them that no instruction cache
  // has from earlier launches. The cache is empty after warploom_emulator_reset_counters.
  uint64_t chain, longest_chain, distinct_instructions, fetched_instructions;
  uint64_t graph_launches;  // those of `launches` that a graph made
};

// The host threads that run a kernel's blocks from now on; 0: all cores. WARPLOOM_EMULATOR_THREADS. Neither results nor, if
// counting is on, counts depend on it.
__attribute__((weak)) void warploom_emulator_threads(int threads);

// Counting is off until asked for: it takes time. `kernel`: any part of a demangled name; instantiations are summed. Counts
// are there once a kernel has run: synchronise first.
__attribute__((weak)) void warploom_emulator_count(int on);
__attribute__((weak)) void warploom_emulator_reset_counters(void);
__attribute__((weak)) int warploom_emulator_counters(const char* kernel,
                                                     struct WarploomCounters* sums);  // kernels that match

// ---- Resources and occupancy. `gpu`: one of
#define WARPLOOM_EMULATOR_GPUS "a100, h100, h200, rtx4090, rtx5090"
struct WarploomResources {  // of one thread, or of a block where it says so; from `ptxas -v` for the GPU's architecture
  int registers, stack_bytes, spill_store_bytes, spill_load_bytes, static_shared_bytes /* a block */;
};
struct WarploomOccupancy {
  int blocks, warps;       // resident on a multiprocessor
  double fraction;         // of the warps it can hold
  const char* limited_by;  // "threads", "blocks", "registers", "shared memory"
};
// 1, or 0 with `*out` untouched: no such GPU; no kernel of that name was counted, or several; no ptxas.
__attribute__((weak)) int warploom_emulator_resources(const char* kernel, const char* gpu, struct WarploomResources* out);
__attribute__((weak)) int warploom_emulator_occupancy(const char* gpu, int registers, size_t shared_bytes, int threads,
                                                      struct WarploomOccupancy* out);

// ---- Modelled time: what the counted work takes on a GPU, by its data sheet and published latencies: the slowest of DRAM (distinct
// sectors), L2 (sectors asked for), the busiest multiprocessor's issue slots, arithmetic units, shared memory and L2 port, a
// block's longest chain of compare-and-swaps, and `latency` + `fetch`: what dependences take in blocks of a multiprocessor that
// run one after the other, and the fetching of code; plus a constant a launch, smaller in a graph. Caches are cold, and waiting for other
// blocks is not held. No measurement; it compares variants and shows what bounds them.
struct WarploomModelledTime {  // seconds of all counted launches
  double total, launch, dram, l2, issue, arithmetic, shared, swaps, latency, fetch;
};
__attribute__((weak)) int warploom_emulator_modelled(const char* kernel, const char* gpu, struct WarploomModelledTime* out);
__attribute__((weak)) const char* warploom_emulator_profile(
    const char* gpu);  // a table of all kernels; valid until the next call

#ifdef __cplusplus
}
#endif
