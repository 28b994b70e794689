#include "busiest.h"

#include <algorithm>
#include <mutex>
#include <queue>

namespace emulator {
namespace {

constexpr size_t kFields = sizeof(Load) / sizeof(uint64_t);
static_assert(sizeof(Load) % sizeof(uint64_t) == 0);  // nothing but counts

template <class Combine>
void combine(Load& into, const Load& other, Combine with) {
  auto* to = reinterpret_cast<uint64_t*>(&into);
  const auto* from = reinterpret_cast<const uint64_t*>(&other);
  for (size_t i = 0; i < kFields; ++i) to[i] = with(to[i], from[i]);
}
void add(Load& sum, const Load& other) {
  combine(sum, other, [](uint64_t a, uint64_t b) { return a + b; });
}

// Blocks go out in the grid's order, each to the multiprocessor that has the fewest instructions so far, as it is free first.
Load most_of_one(const std::vector<Load>& blocks, size_t processors) {
  std::vector<Load> of(std::min(processors, blocks.size()), Load{});
  using Next = std::pair<uint64_t, size_t>;  // instructions so far, multiprocessor
  std::priority_queue<Next, std::vector<Next>, std::greater<>> next;
  for (size_t p = 0; p < of.size(); ++p) next.emplace(0, p);
  for (const Load& block : blocks) {
    const size_t p = next.top().second;
    next.pop();
    add(of[p], block);
    next.emplace(of[p].instructions, p);
  }
  Load most = {};
  for (const Load& one : of) combine(most, one, [](uint64_t a, uint64_t b) { return std::max(a, b); });
  return most;
}

struct Loads {
  std::mutex mutex;
  std::map<std::pair<LaunchKind, const DeviceModel*>, Load> busiest;
};
Loads& loads() {
  static Loads* const instance = new Loads;
  return *instance;
}

}  // namespace

Load load_of(const WarploomCounters& c) {
  Load load = {};
  for (const uint64_t n : c.warp_instructions) load.instructions += n;
  load.integers = c.warp_instructions[kWarploomInteger] + 2 * c.warp_instructions[kWarploomInteger64];
  load.floats = c.warp_instructions[kWarploomFloat];
  load.doubles = c.warp_instructions[kWarploomDouble];
  load.specials = c.warp_instructions[kWarploomSpecial];
  load.conversions = c.warp_instructions[kWarploomConvert];
  load.matrices = c.warp_instructions[kWarploomMatrix];
  load.shared_passes = c.shared_passes + c.warp_instructions[kWarploomWarp];
  load.swap_rounds = c.swap_rounds;
  load.sectors = c.sectors_read + c.sectors_written;
  return load;
}

void add_loads(const Launch& launch, const std::vector<Load>& blocks) {
  const LaunchKind kind = kind_of(launch);
  for (const DeviceModel& m : device_models()) {
    const Load most = most_of_one(blocks, static_cast<size_t>(m.processors));
    const std::lock_guard lock(loads().mutex);
    add(loads().busiest[{kind, &m}], most);
  }
}

Load busiest(const LaunchKind& kind, const DeviceModel& m) {
  const std::lock_guard lock(loads().mutex);
  const auto found = loads().busiest.find({kind, &m});
  return found != loads().busiest.end() ? found->second : Load{};
}

void forget_loads() {
  const std::lock_guard lock(loads().mutex);
  loads().busiest.clear();
}

}  // namespace emulator
