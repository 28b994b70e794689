#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "environment.h"

namespace emulator {
namespace {

constexpr uint64_t kGiB = 1ull << 30;
constexpr uint64_t kHostSize = 8 * kGiB, kGlobalSize = kMostMemory + kHostSize, kConstantSize = kGiB, kSharedSize = 4 * kGiB,
                   kLocalSize = 27 * kGiB;
constexpr uint64_t kGuard = 256;  // between allocations, and what cudaMalloc aligns to
constexpr uint64_t kQuarantine = kGiB / 4;
constexpr uint64_t kReturnPages = 1ull << 20;  // ranges from here on give their pages back to the host

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint8_t* reserve(uint64_t size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::runtime_error("emulator: cannot reserve address space for device memory");
  return static_cast<uint8_t*>(p);
}

}  // namespace

uint64_t Heap::allocate(uint64_t size, uint64_t align, Shadow shadow) {
  const std::lock_guard lock(mutex_);
  if (used_ + size > limit_ || used_ + size < used_) return 0;
  align = std::max(align, kGuard);
  const uint64_t span = round_up(std::max<uint64_t>(size, 1), kGuard) + kGuard;  // the guard follows
  uint64_t address = 0;
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    const uint64_t start = round_up(range->first, align);
    if (start + span > range->first + range->second) continue;
    const uint64_t before = start - range->first, after = range->first + range->second - start - span;
    const uint64_t first = range->first;
    free_.erase(range);
    if (before > 0) free_[first] = before;
    if (after > 0) free_[start + span] = after;
    address = start;
    break;
  }
  if (address == 0) {
    address = round_up(top_, align);
    if (address + span > region_.end) return 0;
    top_ = address + span;
  }
  live_[address] = size;
  used_ += size;
  if (marks_) memory().mark(address, size, shadow);
  return address;
}

bool Heap::release(uint64_t address) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(address);
  if (found == live_.end()) return false;
  const uint64_t size = found->second, span = round_up(std::max<uint64_t>(size, 1), kGuard) + kGuard;
  live_.erase(found);
  used_ -= size;
  quarantined_ += span;
  if (marks_) memory().mark(address, size, kFreed);
  quarantine_.push_back(address);
  quarantine_set_[address] = size;
  size_t done = 0;
  for (; quarantined_ > most_quarantined_ && done < quarantine_.size(); ++done) {
    const uint64_t old = quarantine_[done], old_size = quarantine_set_[old];
    uint64_t start = old, length = round_up(std::max<uint64_t>(old_size, 1), kGuard) + kGuard;
    quarantined_ -= length;
    quarantine_set_.erase(old);
    if (marks_) memory().mark(old, old_size, kUnallocated);
    if (length >= kReturnPages && most_quarantined_ > 0) {
      const uint64_t first = round_up(start, 4096), last = (start + length) / 4096 * 4096;
      madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
      const Memory& m = memory();
      if (m.global.holds(first, last - first)) madvise(m.word(first), 2 * (last - first), MADV_DONTNEED);
    }
    auto next = free_.lower_bound(start);
    if (next != free_.end() && next->first == start + length) {
      length += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == start) {
        start = previous->first;
        length += previous->second;
      }
    }
    free_[start] = length;
  }
  quarantine_.erase(quarantine_.begin(), quarantine_.begin() + static_cast<ptrdiff_t>(done));
  return true;
}

bool Heap::find(uint64_t address, Allocation& found, bool& freed) const {
  const std::lock_guard lock(mutex_);
  uint64_t best = UINT64_MAX;
  for (const auto* set : {&live_, &quarantine_set_}) {
    auto it = set->upper_bound(address);
    if (it == set->begin()) continue;
    --it;
    if (address - it->first >= best) continue;
    best = address - it->first;
    found = {it->first, it->second};
    freed = set == &quarantine_set_;
  }
  return best != UINT64_MAX;
}

std::vector<Allocation> Heap::live() const {
  const std::lock_guard lock(mutex_);
  std::vector<Allocation> all;
  for (const auto& [address, size] : live_) all.push_back({address, size});
  return all;
}

Memory::Memory() {
  constexpr uint64_t kTotal = kGlobalSize + kConstantSize + kSharedSize + kLocalSize;
  base = reserve(kTotal);
  shadow_offset = reserve(kTotal) - base;
  words = reinterpret_cast<uint64_t*>(reserve(2 * kGlobalSize));
  uses = reinterpret_cast<MemoryUse*>(reserve(kGlobalSize / kUseBytes * sizeof(MemoryUse)));
  uint64_t at = reinterpret_cast<uint64_t>(base);
  auto take = [&at](uint64_t size) {
    const Region region{at, at + size};
    at += size;
    return region;
  };
  global = take(kGlobalSize);
  constant = take(kConstantSize);
  shared = take(kSharedSize);
  local = take(kLocalSize);
  host = {global.begin, global.begin + kHostSize};
  hosts = new Heap(host, kHostSize, kQuarantine);
  heap = new Heap({host.end, global.end}, environment().memory, kQuarantine);
  constants = new Heap(constant, kConstantSize, kQuarantine);
  shareds = new Heap(shared, kSharedSize, 0);
  locals = new Heap(local, kLocalSize, 0, /*marks=*/false);
}

std::string Memory::describe(uint64_t address) const {
  if (!holds(address)) return "no device memory";
  const Heap* heaps[] = {hosts, heap, constants, shareds, locals};
  const Region* regions[] = {&host, &global, &constant, &shared, &local};
  const char* names[] = {"pinned", "global", "constant", "shared", "local"};
  for (int i = 0; i < 5; ++i) {
    if (!regions[i]->holds(address, 1)) continue;
    Allocation near;
    bool freed = false;
    if (!heaps[i]->find(address, near, freed)) return std::string(names[i]) + " memory, nothing allocated before it";
    char text[160];
    const uint64_t offset = address - near.address;
    if (offset >= near.size)
      std::snprintf(text, sizeof text, "%s memory, %llu bytes after the end of %llu bytes at 0x%llx%s", names[i],
                    static_cast<unsigned long long>(offset - near.size), static_cast<unsigned long long>(near.size),
                    static_cast<unsigned long long>(near.address), freed ? " (freed)" : "");
    else
      std::snprintf(text, sizeof text, "%s memory, byte %llu of %llu at 0x%llx%s", names[i],
                    static_cast<unsigned long long>(offset), static_cast<unsigned long long>(near.size),
                    static_cast<unsigned long long>(near.address), freed ? ", which were freed" : "");
    return text;
  }
  return "no device memory";
}

Memory& memory() {
  static Memory* const instance = new Memory;
  return *instance;
}

}  // namespace emulator
