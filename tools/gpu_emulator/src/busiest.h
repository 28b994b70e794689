// What the busiest multiprocessor has to do: the blocks of a launch are seldom alike.
#pragma once

#include <vector>

#include "counters.h"
#include "device_models.h"

namespace emulator {

// What a block gives the parts of a multiprocessor to do, or all blocks that a multiprocessor has. Instructions are warps'.
struct Load {
  uint64_t instructions, integers /* of 64 bits twice */, floats, doubles, specials, conversions, matrices;
  uint64_t shared_passes /* exchanges between lanes among them */, swap_rounds, sectors;
};
Load load_of(const WarploomCounters& block);

// After a launch, with the load of each block in the grid's order.
void add_loads(const Launch& launch, const std::vector<Load>& blocks);
// Of each part the most that one multiprocessor has, summed over the launches of a kind.
Load busiest(const LaunchKind& kind, const DeviceModel& model);
void forget_loads();

}  // namespace emulator
