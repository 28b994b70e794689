// Which instruction sets this machine runs and this build holds.
#pragma once

#include "cpu/kernels.h"
#include "warploom/device.h"

namespace warploom::cpu {

/// The kernels for `isa`, or the best that this machine runs for CpuIsa::automatic.
/// Throws InvalidArgument where the machine cannot run them.
const Kernels& kernels_for(CpuIsa isa);
CpuIsa best_isa();

}  // namespace warploom::cpu
