// Texts of faults; machine.h has the one that handlers raise.
#pragma once

#include <string>

#include "machine.h"

namespace emulator {

// Throws DeviceFault: `what`, then where the threads of a block are that can't end.
[[noreturn]] void stuck(Block& block, int cuda_error, const std::string& what);

// "\n  block (x,y,z) of kernel NAME".
std::string block_name(const Block& block);

// Whether the instruction is of code that reads before it knows whether it may, and then drops what it read: CUB's merge
// sorts read one key past the last. Their source is known by `-lineinfo`, or by the kernel's name.
bool reads_ahead(const Warp& w, const Inst& in);

}  // namespace emulator
