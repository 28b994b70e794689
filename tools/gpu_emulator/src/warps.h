// A warp as the executor sees it.
#pragma once

#include "machine.h"

namespace emulator {

bool can_run(const Warp& warp);
uint64_t run_warp(Warp& warp);  // until it waits or has had its turn; returns the instructions issued
void free_frame(Warp& warp, Frame* frame);

}  // namespace emulator
