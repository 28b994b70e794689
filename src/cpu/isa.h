// The instruction sets that this machine and this build support.
#pragma once

#include "cpu/kernels.h"
#include "warploom/device.h"

namespace warploom::cpu {

/// The kernels for `isa`; for CpuIsa::automatic the best that this machine supports. Throws InvalidArgument if the machine
/// does not support `isa`.
const Kernels& kernels_for(CpuIsa isa);
CpuIsa best_isa();

}  // namespace warploom::cpu
