// Texts of faults; machine.h has the one that handlers raise.
#pragma once

#include <string>

#include "machine.h"

namespace emulator {

// Throws DeviceFault: `what`, then where the threads of a block are that can't end.
[[noreturn]] void stuck(Block& block, int cuda_error, const std::string& what);

}  // namespace emulator
