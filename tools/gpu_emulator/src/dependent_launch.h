// Programmatic dependent launches: kernels that may begin before the kernel ahead of them in the stream has ended. Kernels run one
// after the other here, so their results are right in any case; what would be wrong on a device is reported.
//
// From the first such launch on, each 32 bytes of global memory remember the last launch that wrote them and the last that read
// them. A thread that has not executed griddepcontrol.wait may not read what a launch that is not known to have ended wrote, nor write what
// one wrote or read. Every block of such a launch has to wait, for only then does the end of a launch mean the end of all before it.
// CUDA programming guide, "Programmatic Dependent Launch and Synchronization"; PTX ISA 9.7.13.13, griddepcontrol.
#pragma once

#include "memory.h"
#include "registers.h"

namespace emulator {

// Of a kernel in a stream or graph, its latest run.
struct LaunchRecord {
  uint64_t unfinished = 0;  // the first launch that may still run when dependents of this one begin
};

uint64_t next_launch_id();

// Whether launches are remembered; never false again.
bool tracks_dependence();
void start_tracking_dependence();

// What ended launches did: for those that the host performs, such as cuBLAS's.
void remember_access(uint64_t launch, uint64_t address, uint64_t bytes, bool writes);

// An access of global memory by lanes of exec, side by side from `lane` on with `step` bytes each.
void track_dependence_of(Warp& w, const Inst& in, int lane, uint64_t address, uint64_t bytes, uint32_t step, bool writes);
inline void track_dependence(Warp& w, const Inst& in, int lane, uint64_t address, uint64_t bytes, uint32_t step,
                             bool writes) {
  if (w.block->launch->tracks_dependence) [[unlikely]]
    track_dependence_of(w, in, lane, address, bytes, step, writes);
}

// At a block's end: throws if it was to wait and did not.
void check_waited(const Block& block);

}  // namespace emulator
