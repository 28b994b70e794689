// Counters turned into a modelled time, and the table of all kernels. emulator.h says what the model holds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "busiest.h"
#include "counters.h"
#include "device_models.h"
#include "environment.h"
#include "instruction_cache.h"
#include "latency.h"
#include "resources.h"

namespace emulator {
namespace {

// From one kernel's end to the next one's first instruction, in a stream and in a graph: H100,
// hazyresearch.stanford.edu/blog/2025-05-27-no-bubbles.
constexpr double kLaunchSeconds = 2.1e-6, kGraphLaunchSeconds = 1.3e-6;
constexpr double kAchievable = 0.92;             // of DRAM's data sheet bandwidth: what copies reach on A100 and H100
constexpr double kSector = 32, kPortBytes = 64;  // a multiprocessor draws this much from L2 in a clock
constexpr double kIssueSlots = 4;                // warp instructions a clock
// Of a round of a compare-and-swap loop in shared memory: load, two halves of a sum, swap, branch.
constexpr double kSwapInstructions = 5;
// What an instruction takes that no instruction cache of the multiprocessor holds, beyond the 4 clocks of a dependent one: assumed.
constexpr double kFetchClocks = 17.8 - 4;

// Clocks that instructions keep a multiprocessor's arithmetic units busy: the busiest of them, warps of 32.
double arithmetic_clocks(const Load& l, const DeviceModel& m) {
  const auto n = [](uint64_t count) { return static_cast<double>(count); };
  return std::max({32 * n(l.integers) / m.integers, 32 * n(l.floats) / m.floats, 32 * n(l.doubles) / m.doubles,
                   32 * n(l.specials) / m.specials, 32 * n(l.conversions) / m.conversions, n(l.matrices) / m.matrices});
}

// All launches of a kind, which are taken to be alike.
WarploomModelledTime modelled(const LaunchKind& kind, const WarploomCounters& c, const DeviceModel& m) {
  WarploomModelledTime t = {};
  const double launches = static_cast<double>(c.launches);
  const double in_graphs = static_cast<double>(c.graph_launches);
  t.launch = (launches - in_graphs) * kLaunchSeconds + in_graphs * kGraphLaunchSeconds;
  t.dram =
      kSector * static_cast<double>(c.distinct_sectors_read + c.distinct_sectors_written) / (m.bandwidth() * kAchievable);
  const double asked = kSector * static_cast<double>(c.sectors_read + c.sectors_written);
  t.l2 = asked / (m.l2_bytes_per_clock * m.clock());
  const Load most = busiest(kind, m);
  const double rounds = static_cast<double>(most.swap_rounds);
  t.issue = (static_cast<double>(most.instructions) + kSwapInstructions * rounds) / kIssueSlots / m.clock();
  t.arithmetic = arithmetic_clocks(most, m) / m.clock();
  t.shared = (static_cast<double>(most.shared_passes) + rounds) / m.clock();
  // Blocks that share a multiprocessor spin and wait side by side.
  const int resident =
      resident_blocks(*kind.code, m, kind.code->static_shared + kind.dynamic_shared, static_cast<int>(kind.threads));
  const double blocks = static_cast<double>(kind.blocks);
  const double waves = std::ceil(blocks / (m.processors * std::max(resident, 1)));
  t.latency = std::max(static_cast<double>(c.longest_chain), waves / blocks * static_cast<double>(c.chain)) / m.clock();
  const double code = static_cast<double>(c.distinct_instructions) / launches;
  t.fetch = kFetchClocks * static_cast<double>(c.fetched_instructions) / m.clock() *
            (code * kInstructionBytes > kInstructionCache ? waves : 1);
  t.swaps = waves / blocks / m.clock() * kSwapClocks * static_cast<double>(c.swap_chain);
  t.l2 = std::max(t.l2, kSector * static_cast<double>(most.sectors) / kPortBytes / m.clock());
  t.total = t.launch + std::max({t.dram, t.l2, t.issue, t.arithmetic, t.shared, t.swaps, t.latency + t.fetch});
  return t;
}

const char* bound_by(const WarploomModelledTime& t) {
  const std::pair<double, const char*> parts[] = {{t.dram, "DRAM"},
                                                  {t.l2, "L2"},
                                                  {t.issue, "issue"},
                                                  {t.arithmetic, "ALU"},
                                                  {t.shared, "shared"},
                                                  {t.swaps, "swaps"},
                                                  {t.latency + t.fetch, "chain"},
                                                  {t.launch, "launch"}};
  return std::max_element(std::begin(parts), std::end(parts), [](auto& a, auto& b) { return a.first < b.first; })->second;
}

std::string row(const LaunchKind& kind, const WarploomCounters& c, const DeviceModel& m) {
  const double launches = static_cast<double>(c.launches);
  const WarploomModelledTime t = modelled(kind, c, m);
  double instructions = 0, lanes = 0;
  for (int k = 0; k < kWarploomInstructionClasses; ++k) {
    instructions += static_cast<double>(c.warp_instructions[k]);
    lanes += static_cast<double>(c.lane_instructions[k]);
  }
  const double moved = kSector * static_cast<double>(c.distinct_sectors_read + c.distinct_sectors_written);
  const double asked = kSector * static_cast<double>(c.sectors_read + c.sectors_written);
  const double wanted = static_cast<double>(c.bytes_read + c.bytes_written);
  char text[256];
  std::snprintf(
      text, sizeof text, "%8.0f %7.0f %5u %9.2f %-6s %8.0f %9.3f %6.0f%% %7.0f %5.1f %6.0f%%", launches,
      static_cast<double>(kind.blocks), kind.threads, 1e6 * t.total / launches, bound_by(t), moved / t.total * 1e-9,
      moved / launches * 1e-6, asked > 0 ? 100 * wanted / asked : 100.0, instructions / launches / 1e3,
      instructions > 0 ? lanes / instructions : 0.0,
      c.shared_passes > 0 ? 100.0 * static_cast<double>(c.shared_conflicts) / static_cast<double>(c.shared_passes) : 0.0);
  std::string line = text;
  if (const auto r = resources_of(*kind.code, m)) {
    const size_t shared = static_cast<size_t>(r->static_shared_bytes) + kind.dynamic_shared;
    const WarploomOccupancy o = occupancy(m, r->registers, shared, static_cast<int>(kind.threads));
    std::snprintf(text, sizeof text, " %4d %5d %6zu %4.0f%% %-13s", r->registers, r->spill_store_bytes + r->spill_load_bytes,
                  shared, 100 * o.fraction, o.limited_by);
    line += text;
  } else {
    line += "    -     -      -    - -            ";
  }
  return line + " " + kind.kernel + "\n";
}

// If asked for, counts from the start, and says on stderr once a second and at exit what the GPU would have done.
class Ticker {
 public:
  Ticker() {
    if (model_ != nullptr) warploom_emulator_count(1);
  }
  void tick() {
    using Clock = std::chrono::steady_clock;
    if (model_ == nullptr || Clock::now() < next_) return;
    next_ = Clock::now() + std::chrono::seconds(1);
    say();
  }
  void say() const {
    if (model_ == nullptr) return;
    double seconds = 0, bytes = 0;
    uint64_t launches = 0;
    for (const auto& [kind, counts] : all_counts()) {
      seconds += modelled(kind, counts, *model_).total;
      bytes += kSector * static_cast<double>(counts.distinct_sectors_read + counts.distinct_sectors_written);
      launches += counts.launches;
    }
    std::fprintf(stderr, "\n[emulated: %llu kernels, %.1f MB moved; %s would have taken %.2f ms, modelled]\n",
                 static_cast<unsigned long long>(launches), bytes * 1e-6, model_->name, seconds * 1e3);
  }

 private:
  const DeviceModel* const model_ = environment().ticker;
  std::chrono::steady_clock::time_point next_{};
};
Ticker& ticker() {
  static Ticker* const instance = new Ticker;
  return *instance;
}

// If asked for, counts from the start, and prints the table at exit.
struct ProfileAtExit {
  ProfileAtExit() {
    if (environment().profile != nullptr) warploom_emulator_count(1);
    ticker();
  }
  ~ProfileAtExit() {
    ticker().say();
    if (const DeviceModel* gpu = environment().profile) std::fputs(warploom_emulator_profile(gpu->key), stderr);
  }
} profile_at_exit;

}  // namespace

void tick() { ticker().tick(); }

}  // namespace emulator

using namespace emulator;

extern "C" {

int warploom_emulator_modelled(const char* kernel, const char* gpu, WarploomModelledTime* out) {
  const DeviceModel* model = find_model(gpu);
  if (model == nullptr) return 0;
  *out = {};
  int matches = 0;
  for (const auto& [kind, counts] : all_counts()) {
    if (kind.kernel.find(kernel) == std::string::npos) continue;
    const WarploomModelledTime t = modelled(kind, counts, *model);
    out->total += t.total, out->launch += t.launch, out->dram += t.dram, out->l2 += t.l2;
    out->issue += t.issue, out->arithmetic += t.arithmetic, out->shared += t.shared, out->swaps += t.swaps;
    out->latency += t.latency, out->fetch += t.fetch;
    ++matches;
  }
  return matches;
}

const char* warploom_emulator_profile(const char* gpu) {
  static std::string& text = *new std::string;  // also used at exit
  const DeviceModel* model = find_model(gpu);
  if (model == nullptr) return text = "no such GPU\n", text.c_str();
  text = std::string("Modelled on ") + model->name + ", from counters and data sheets: not measured. Means of a launch.\n" +
         "launches  blocks thrds  modelled bound       GB/s        MB  used of k warp lanes   bank regs spill shared occu-"
         " limited by    kernel\n"
         "                              us by     modelled     moved  asked   inst        confl.      bytes  bytes pancy\n";
  for (const auto& [kind, counts] : all_counts())
    if (counts.launches > 0) text += row(kind, counts, *model);
  return text.c_str();
}

}  // extern "C"
