// What a kernel takes of a multiprocessor, as NVIDIA's assembler finds it.
#pragma once

#include <optional>

#include "device_models.h"
#include "machine.h"

namespace emulator {

// Runs `ptxas -v` for the model's architecture, once for each kernel. Nothing where ptxas is missing or fails. ptxas is the
// one that WARPLOOM_PTXAS names, the toolkit's with which this was built, or the path's.
std::optional<WarploomResources> resources_of(const Code& code, const DeviceModel& model);

// Blocks that a multiprocessor holds at a time. `shared`: static and dynamic bytes of a block. By the registers that are live in the PTX
// at once where any number near that gives the same answer, else by ptxas's.
int resident_blocks(const Code& code, const DeviceModel& model, size_t shared, int threads);

}  // namespace emulator
