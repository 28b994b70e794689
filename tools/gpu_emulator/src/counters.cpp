#include "counters.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <mutex>
#include <utility>

#include "access.h"
#include "busiest.h"
#include "instruction_cache.h"
#include "latency.h"
#include "turns.h"

namespace emulator {
namespace {

using ptx::Type;

constexpr uint64_t kSector = 32, kBanks = 32, kWord = 4;

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
bool has(const ptx::Instruction& in, std::string_view part) {
  return std::find(in.parts.begin() + 1, in.parts.end(), part) != in.parts.end();
}

WarploomInstructionClass memory_class(const ptx::Instruction& in) {
  for (const std::string_view part : in.parts) {
    if (part.starts_with("shared")) return kWarploomShared;
    if (part == "local") return kWarploomLocal;
    if (part == "const" || part.starts_with("param")) return kWarploomConstant;
  }
  return kWarploomMemory;
}

WarploomInstructionClass class_by_type(const ptx::Instruction& in) {
  for (const std::string_view part : in.parts) switch (ptx::type_from_name(part)) {
      case Type::kNone: break;
      case Type::kF64: return kWarploomDouble;
      case Type::kF32:
      case Type::kF16:
      case Type::kF16x2:
      case Type::kBF16:
      case Type::kBF16x2: return kWarploomFloat;
      case Type::kU64:
      case Type::kS64:
      case Type::kB64: return kWarploomInteger64;
      default: return kWarploomInteger;
    }
  return kWarploomInteger;
}

// Launch that last touched each sector, for reads and for writes. Zero pages until used.
struct Stamps {
  Stamps() {
    const Region& global = memory().global;
    const size_t bytes = (global.end - global.begin) / kSector * sizeof(uint32_t);
    for (uint32_t*& table : tables) {
      void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED) throw std::runtime_error("emulator: cannot reserve address space for counters");
      table = static_cast<uint32_t*>(p);
    }
  }
  bool first(bool write, uint64_t sector, uint32_t launch) const {
    uint32_t* stamp = tables[write ? 1 : 0] + (sector - memory().global.begin / kSector);
    return __atomic_load_n(stamp, __ATOMIC_RELAXED) != launch &&
           __atomic_exchange_n(stamp, launch, __ATOMIC_RELAXED) != launch;
  }
  uint32_t* tables[2];
};
const Stamps& stamps() {
  static const Stamps* const instance = new Stamps;
  return *instance;
}

bool first_read_of_block(Tally& tally, uint64_t sector) {
  constexpr uint64_t kBits = 40;  // more than sectors have
  const uint64_t at = sector - memory().global.begin / kSector;
  return std::exchange(tally.read[at % Tally::kPlaces], tally.blocks << kBits | at) != (tally.blocks << kBits | at);
}

// Returns whether the block reads a sector for the first time.
bool count_global(Tally& tally, uint32_t lanes, const uint64_t* address, const uint32_t* bytes, bool reads, bool writes) {
  WarploomCounters& c = tally.counts;
  const Region& global = memory().global;
  uint64_t seen[2 * kLanes];
  size_t count = 0;
  bool is_new = false;
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const int i = std::countr_zero(left);
    if (bytes[i] == 0 || !global.holds(address[i], bytes[i])) continue;  // the handler will report it
    if (reads) c.bytes_read += bytes[i];
    if (writes) c.bytes_written += bytes[i];
    for (uint64_t sector = address[i] / kSector; sector <= (address[i] + bytes[i] - 1) / kSector; ++sector) {
      if (count == std::size(seen) || std::find(seen, seen + count, sector) != seen + count) continue;
      seen[count++] = sector;
      if (reads && first_read_of_block(tally, sector)) {
        is_new = true;
        if (stamps().first(false, sector, tally.launch)) ++c.distinct_sectors_read;
      }
      if (writes && stamps().first(true, sector, tally.launch)) ++c.distinct_sectors_written;
    }
  }
  if (reads) c.sectors_read += count;
  if (writes) c.sectors_written += count;
  return is_new;
}

// `atomic`: lanes at the same word go one after the other. Returns the passes.
uint32_t count_shared(Tally& tally, uint32_t lanes, const uint64_t* address, uint32_t bytes, bool atomic) {
  const uint64_t words = (bytes + kWord - 1) / kWord, phase = kLanes / words;
  uint32_t all = 0;
  for (uint64_t from = 0; from < kLanes; from += phase) {
    uint64_t seen[kLanes];
    uint32_t in_bank[kBanks] = {};
    size_t count = 0;
    bool any = false;
    for (uint64_t i = from; i < from + phase; ++i) {
      if (!lane_in(lanes, static_cast<int>(i))) continue;
      any = true;
      for (uint64_t word = address[i] / kWord; word < address[i] / kWord + words; ++word) {
        if (!atomic && std::find(seen, seen + count, word) != seen + count) continue;
        seen[count++] = word;
        ++in_bank[word % kBanks];
      }
    }
    if (!any) continue;
    const uint32_t passes = *std::max_element(in_bank, in_bank + kBanks);
    tally.counts.shared_passes += passes;
    tally.counts.shared_conflicts += passes - 1;
    all += passes;
  }
  return all;
}

// Returns the rounds.
uint64_t count_swaps(Tally& tally, Block& block, uint32_t lanes, const uint64_t* address) {
  uint64_t most = 0;
  for (uint32_t left = lanes; left != 0;) {
    const uint64_t here = address[std::countr_zero(left)];
    uint32_t same = 0;
    for (uint32_t rest = left; rest != 0; rest &= rest - 1)
      same |= static_cast<uint32_t>(address[std::countr_zero(rest)] == here) << std::countr_zero(rest);
    const auto count = static_cast<uint64_t>(std::popcount(same));
    most = std::max(most, count);
    block.swapped[here] += count;
    left &= ~same;
  }
  tally.counts.swap_rounds += most;
  return most;
}

struct Table {
  std::mutex mutex;
  std::map<LaunchKind, WarploomCounters> counts;
  std::atomic<bool> on{false};
  std::atomic<uint32_t> launches{0};
};
Table& table() {
  static Table* const instance = new Table;
  return *instance;
}

}  // namespace

namespace {

InstructionCost class_of(const ptx::Instruction& in) {
  const std::string_view name = in.parts[0];
  InstructionCost cost;
  auto of = [&cost](WarploomInstructionClass kind) {
    cost.kind = static_cast<uint8_t>(kind);
    return cost;
  };
  if (is_one_of(name, {"ld", "ldu", "st"})) return of(memory_class(in));
  if (is_one_of(name, {"atom", "red"})) return of(kWarploomAtomic);
  if (name == "cp" || name == "mbarrier") return of(kWarploomAsync);
  if (name == "ldmatrix" || name == "stmatrix") return of(kWarploomShared);
  if (name == "mma") return of(kWarploomMatrix);
  if (is_one_of(name, {"bra", "brx", "call", "ret", "exit", "trap", "brkpt"})) return of(kWarploomControl);
  if (is_one_of(name, {"bar", "barrier", "membar", "fence"})) {
    cost.block_barrier = name.starts_with("bar") && !has(in, "warp");
    return of(kWarploomBarrier);
  }
  if (is_one_of(name, {"shfl", "vote", "match", "redux", "activemask", "elect"})) return of(kWarploomWarp);
  if (is_one_of(name, {"ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh"})) return of(kWarploomSpecial);
  if (name == "div" && (has(in, "f32") || has(in, "f64"))) return of(kWarploomSpecial);
  if (name == "cvt") return of(kWarploomConvert);
  if (is_one_of(name, {"prefetch", "prefetchu", "nanosleep", "discard", "applypriority", "griddepcontrol"}))
    return of(kWarploomOther);
  return of(class_by_type(in));
}

bool has_one_of(const ptx::Instruction& in, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) { return has(in, part); });
}

// Without what memory adds.
uint16_t latency_of(const ptx::Instruction& in, const InstructionCost& cost) {
  switch (static_cast<WarploomInstructionClass>(cost.kind)) {
    case kWarploomInteger64: return kWideClocks;
    case kWarploomDouble: return kDoubleClocks;
    case kWarploomSpecial: return kSpecialClocks;
    case kWarploomConvert: {
      const bool floats = has_one_of(in, {"f16", "bf16", "f16x2", "bf16x2", "f32", "f64"});
      return floats ? kSpecialClocks : kArithmeticClocks;
    }
    case kWarploomMatrix: return kMatrixClocks;
    case kWarploomWarp: return is_one_of(in.parts[0], {"shfl", "match", "redux"}) ? kSharedClocks : kArithmeticClocks;
    case kWarploomBarrier:
      return is_one_of(in.parts[0], {"membar", "fence"}) && !has_one_of(in, {"cta", "proxy", "mbarrier_init"}) ? kFenceClocks
                                                                                                               : 0;
    case kWarploomAtomic: return has_one_of(in, {"release", "acq_rel", "sc"}) ? kFenceClocks : 0;
    case kWarploomMemory:
    case kWarploomShared:
    case kWarploomControl:
    case kWarploomOther: return 0;
    case kWarploomAsync: return has_one_of(in, {"test_wait", "try_wait"}) ? kSharedClocks : 0;
    case kWarploomLocal: return kL1Clocks;
    default: return kArithmeticClocks;
  }
}

}  // namespace

InstructionCost cost_of(const ptx::Instruction& in) {
  using Sync = InstructionCost::Sync;
  InstructionCost cost = class_of(in);
  cost.latency = latency_of(in, cost);
  const std::string_view name = in.parts[0];
  if (cost.kind == kWarploomBarrier && cost.latency > 0) cost.sync = Sync::kFence;
  const bool strong = has_one_of(in, {"volatile", "relaxed", "acquire", "release", "mmio"});
  if (name == "ld" && strong) cost.sync = Sync::kLook;
  if (name == "mbarrier" && has_one_of(in, {"test_wait", "try_wait"})) cost.sync = Sync::kLook, cost.address = 1;
  if (name == "cp" && has(in, "commit_group")) cost.sync = Sync::kCommit;
  if (name == "cp" && has(in, "wait_all")) cost.sync = Sync::kWaitAll;
  if (name == "cp" && has(in, "wait_group")) {
    cost.sync = Sync::kWait;
    cost.groups = static_cast<uint8_t>(std::clamp<int64_t>(in.operands[0].value, 0, 255));
  }
  // What ptxas may not exchange. It knows that nothing changes what ld.global.nc reads.
  const bool atomic = cost.kind == kWarploomAtomic;
  cost.meets_others = atomic || (cost.kind == kWarploomMemory && strong);
  cost.is_store =
      atomic || name == "st" || name == "stmatrix" || (is_one_of(name, {"cp", "mbarrier"}) && cost.sync == Sync::kNone);
  if (cost.kind == kWarploomShared || (name == "cp" && cost.sync == Sync::kNone) ||
      (atomic && has_one_of(in, {"shared", "shared::cta"})))
    cost.stores = 1;
  else if ((cost.kind == kWarploomMemory && !has(in, "nc")) || atomic)
    cost.stores = 2;
  else if (cost.kind == kWarploomLocal)
    cost.stores = 3;
  return cost;
}

void count_access(Tally& tally, Warp& w, const Inst& in, const InstructionCost& cost) {
  alignas(64) uint64_t address[kLanes];
  uint32_t bytes[kLanes];
  std::fill(bytes, bytes + kLanes, cost.bytes);
  lane_addresses(w, in, in.op[cost.address], address);
  uint32_t shared = 0;
  for (int i = 0; i < kLanes; ++i)
    shared |= static_cast<uint32_t>(address[i] >= w.shared_begin && address[i] < w.shared_end) << i;
  shared &= w.exec;
  const uint32_t others = w.exec & ~shared;  // what lies in neither is left out by its address
  const bool atomic = cost.access == InstructionCost::Access::kAtomic;
  if (atomic) {
    tally.counts.shared_atomics += static_cast<uint64_t>(std::popcount(shared));
    tally.counts.global_atomics += static_cast<uint64_t>(std::popcount(others));
  }
  if (cost.meets_others && others != 0) await_turn(*w.block);
  uint64_t latency = 0;
  if (shared != 0) latency = kSharedClocks + count_shared(tally, shared & cost.lanes, address, cost.bytes, atomic) - 1;
  if (shared != 0 && cost.swaps) latency = kSwapClocks * count_swaps(tally, *w.block, shared, address);
  bool is_new = false;
  if (cost.access == InstructionCost::Access::kCopy) {
    const uint64_t* from = reg<uint64_t>(w, in.op[1]);
    const uint32_t* size = reg<uint32_t>(w, in.op[2]);
    const uint64_t offset = static_cast<uint64_t>(*static_cast<const int64_t*>(in.extra));
    for (int i = 0; i < kLanes; ++i) address[i] = from[i] + offset, bytes[i] = size[i];
    is_new = count_global(tally, w.exec, address, bytes, true, false);
  } else if (others != 0) {
    is_new = count_global(tally, others, address, bytes, cost.access != InstructionCost::Access::kWrite,
                          cost.access != InstructionCost::Access::kRead);
  }
  if ((others != 0 && cost.kind != kWarploomLocal) || cost.access == InstructionCost::Access::kCopy)
    latency = std::max<uint64_t>(latency, is_new && !cost.meets_others ? kDramClocks : kL2Clocks);
  issue(w, cost, static_cast<uint32_t>(latency + cost.latency));
}

void count_block(Tally& tally, Block& block) {
  uint64_t most = 0;
  for (const auto& [address, lanes] : block.swapped) most = std::max(most, lanes);
  tally.counts.swap_chain += most;
  block.swapped.clear();
  ++tally.blocks;
  const uint64_t clocks = end_block(block);
  tally.counts.chain += clocks;
  std::atomic<uint64_t>& longest = block.launch->longest_chain;
  for (uint64_t seen = longest; seen < clocks && !longest.compare_exchange_weak(seen, clocks);) continue;
}

bool counting() { return table().on; }
uint32_t next_counted_launch() { return ++table().launches; }

LaunchKind kind_of(const Launch& l) {
  return {demangle(l.name), l.code, uint64_t{l.grid[0]} * l.grid[1] * l.grid[2], l.block[0] * l.block[1] * l.block[2],
          l.dynamic_shared};
}

void add_counts(const Launch& l, const WarploomCounters& c) {
  const LaunchKind kind = kind_of(l);
  const std::lock_guard lock(table().mutex);
  add(table().counts[kind], c);
}

void add(WarploomCounters& sum, const WarploomCounters& c) {
  static_assert(sizeof sum % sizeof(uint64_t) == 0);  // nothing but counts
  auto* to = reinterpret_cast<uint64_t*>(&sum);
  const auto* from = reinterpret_cast<const uint64_t*>(&c);
  for (size_t i = 0; i < sizeof sum / sizeof(uint64_t); ++i) to[i] += from[i];
}

std::map<LaunchKind, WarploomCounters> all_counts() {
  const std::lock_guard lock(table().mutex);
  return table().counts;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void warploom_emulator_count(int on) { table().on = on != 0; }
void warploom_emulator_reset_counters() {
  forget_loads();
  forget_cached_code();
  const std::lock_guard lock(table().mutex);
  table().counts.clear();
}
int warploom_emulator_counters(const char* kernel, WarploomCounters* sums) {
  *sums = {};
  std::string last;
  int matches = 0;
  for (const auto& [kind, counts] : all_counts()) {
    if (kind.kernel.find(kernel) == std::string::npos) continue;
    if (kind.kernel != last) ++matches;
    last = kind.kernel;
    add(*sums, counts);
  }
  return matches;
}

}  // extern "C"
