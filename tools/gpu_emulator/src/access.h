// How instructions reach memory: addresses of the lanes, the sanitiser's checks, and the fast path for lanes side by side.
#pragma once

#include <algorithm>
#include <bit>

#include "memory.h"
#include "registers.h"

namespace emulator {

// in.target of a memory instruction: how its address operand is read, and the state space it must lie in.
enum class Addressing : uint32_t { kWide = 0, kShared32 = 1, kShared64 = 2 };
constexpr uint32_t access_mode(Addressing how, ptx::Space space) {
  return static_cast<uint32_t>(how) | static_cast<uint32_t>(space) << 4;
}
inline ptx::Space access_space(const Inst& in) { return static_cast<ptx::Space>((in.target >> 4) & 15); }

// An encoder's address operand: appends to `sources` and returns the mode; sets `offset`.
uint32_t encode_address(class Encoder& e, const ptx::Operand& o, ptx::Space space, std::vector<uint32_t>& sources,
                        int64_t& offset);
ptx::Space take_space(class Encoder& e);
// Orders, scopes and cache hints change nothing here; true where other threads may look at the same place at the same time.
bool take_memory_modifiers(class Encoder& e);
constexpr uint32_t kSynchronises = 1 << 8;  // in.target: such an access is no race, and orders others
// All cp.async of a lane so far (ops_async.cpp); the mbarrier's half of cp.async (ops_mbarrier.cpp).
void finish_async_copies(Warp& w, const Inst& in, int lane);
void encode_copy_arrival(class Encoder& e);

// In.target of a vector's load, a bit an element from here on: nobody reads it, so it need not be initialised. (The compiler
// may read a structure's padding along with its neighbours.)
constexpr uint32_t kUnusedElement = 1 << 16;

inline void lane_addresses(Warp& w, const Inst& in, uint32_t code, uint64_t* out) {
  const uint64_t offset = static_cast<uint64_t>(in.imm);
  switch (static_cast<Addressing>(in.target & 15)) {
    case Addressing::kWide: {
      const uint64_t* a = reg<uint64_t>(w, code);
      for (int i = 0; i < kLanes; ++i) out[i] = a[i] + offset;
      break;
    }
    case Addressing::kShared32: {
      const uint32_t* a = reg<uint32_t>(w, code);
      const uint32_t low = static_cast<uint32_t>(offset);
      const uint64_t base = w.shared_begin;
      for (int i = 0; i < kLanes; ++i) out[i] = base + (a[i] + low);
      break;
    }
    case Addressing::kShared64: {
      const uint64_t* a = reg<uint64_t>(w, code);
      for (int i = 0; i < kLanes; ++i) out[i] = a[i] + offset + w.shared_begin;
      break;
    }
  }
}

inline Region region_of(const Warp& w, ptx::Space space) {
  const Memory& m = memory();
  switch (space) {
    case ptx::Space::kGlobal: return m.global;
    case ptx::Space::kShared: return {w.shared_begin, w.shared_end};
    case ptx::Space::kLocal: return m.local;
    case ptx::Space::kConst:
    case ptx::Space::kParam: return m.constant;
    default: return {m.global.begin, m.local.end};
  }
}

enum class AccessKind : uint8_t { kRead, kWrite, kAtomic };
// The slow half of the checks: throws, or accepts an element that is partly initialised (padding).
void examine(const Warp& w, const Inst& in, int lane, uint64_t address, uint32_t bytes, uint32_t element, AccessKind kind);

inline bool all_initialised(const uint8_t* shadow, uint64_t bytes) {
  uint64_t all = ~uint64_t{0};
  uint64_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, shadow + i, 8);
    all &= word;
  }
  for (; i < bytes; ++i) all &= shadow[i] | 0xffffffffffffff00;
  constexpr uint64_t kBoth = 0x0303030303030303;
  return (all & kBoth) == kBoth || ((all & 3) == 3 && bytes < 8);
}
inline bool all_allocated(const uint8_t* shadow, uint64_t bytes, bool& initialised) {
  uint64_t all = ~uint64_t{0};
  for (uint64_t i = 0; i < bytes; ++i) all &= shadow[i] | 0xffffffffffffff00;
  initialised = (all & 2) != 0;
  return (all & 1) != 0;
}

// One lane's access (or a run of lanes): `element` is what must be initialised as a whole at least in part.
inline void check_read(const Warp& w, const Inst& in, const Region& region, int lane, uint64_t address, uint32_t bytes,
                       uint32_t element, uint32_t align) {
  if (!region.holds(address, bytes) || address % align != 0 || !all_initialised(memory().shadow(address), bytes))
      [[unlikely]]
    for (uint32_t done = 0; done < bytes; done += align, ++lane)
      examine(w, in, lane, address + done, align, element, AccessKind::kRead);
}
inline void check_write(const Warp& w, const Inst& in, const Region& region, int lane, uint64_t address, uint32_t bytes,
                        uint32_t align) {
  bool initialised = false;
  if (!region.holds(address, bytes) || address % align != 0 || !all_allocated(memory().shadow(address), bytes, initialised))
      [[unlikely]] {
    for (uint32_t done = 0; done < bytes; done += align, ++lane)
      examine(w, in, lane, address + done, align, align, AccessKind::kWrite);
  }
  if (!initialised) std::memset(memory().shadow(address), kInitialised, bytes);
}

// Whether the lanes of exec are neighbours, and their addresses `step` apart.
inline bool is_run(uint32_t exec, const uint64_t* address, uint32_t step, int& first, int& count) {
  first = std::countr_zero(exec);
  count = std::popcount(exec);
  if ((exec >> first) != (count == kLanes ? kAllLanes : (1u << count) - 1)) return false;
  const uint64_t start = address[first] - static_cast<uint64_t>(first) * step;
  uint64_t difference = 0;
  for (int i = 0; i < kLanes; ++i)
    difference |= lane_in(exec, i) ? address[i] - (start + static_cast<uint64_t>(i) * step) : 0;
  return difference == 0;
}

}  // namespace emulator
