// Runs grids: blocks over the host's cores, warps of a block in turn, lanes of a warp together.
#pragma once

#include <optional>

#include "machine.h"

namespace emulator {

struct Failure {
  int error = 0;  // cudaError_t
  std::string report;
};

// Runs the launch to its end. A fault stops all of its blocks and is returned.
std::optional<Failure> run_grid(Launch& launch);

}  // namespace emulator
