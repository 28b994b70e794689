// Device memory: one reserved address range on the host, so that a device address is a host address, and one shadow byte
// for each of its bytes, which the sanitiser reads on every access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace emulator {

enum Shadow : uint8_t {
  kUnallocated = 0,
  kUninitialised = 1,  // allocated, never written
  kInitialised = 3,
  kFreed = 4,
};

// Every state space is a part of the range; the base differs from run to run, the sizes don't.
struct Region {
  uint64_t begin = 0, end = 0;
  bool holds(uint64_t address, uint64_t bytes) const { return address >= begin && address <= end && bytes <= end - address; }
};

// Which launches last wrote and read kUseBytes of global memory (dependent_launch.h).
struct MemoryUse {
  uint32_t writer = 0, reader = 0;
};
constexpr uint64_t kUseBytes = 32;

struct Allocation {
  uint64_t address = 0, size = 0;
};

// First fit over freed ranges, which wait in a quarantine before they are used again, so that late accesses are seen.
class Heap {
 public:
  // quarantine: bytes that wait before reuse, so that a use after free is seen; 0 for what only running blocks hold.
  // marks: whether allocations set shadow bytes; whoever uses the memory does where they don't.
  Heap(Region region, uint64_t limit, uint64_t quarantine, bool marks = true)
      : region_(region), limit_(limit), most_quarantined_(quarantine), marks_(marks), top_(region.begin) {}
  uint64_t allocate(uint64_t size, uint64_t align, Shadow shadow);  // 0 where the limit is reached
  bool release(uint64_t address);                                   // false where nothing was allocated at `address`
  bool find(uint64_t address, Allocation& found, bool& freed) const;
  uint64_t used() const { return used_; }
  uint64_t limit() const { return limit_; }
  void set_limit(uint64_t limit) { limit_ = limit; }
  std::vector<Allocation> live() const;

 private:
  mutable std::mutex mutex_;
  Region region_;
  uint64_t limit_, most_quarantined_;
  bool marks_;
  uint64_t top_, used_ = 0, quarantined_ = 0;
  std::map<uint64_t, uint64_t> live_, quarantine_set_, free_;
  std::vector<uint64_t> quarantine_;
};

struct Memory {
  Memory();

  uint8_t* base = nullptr;
  int64_t shadow_offset = 0;  // shadow of address a is at a + shadow_offset
  uint64_t* words = nullptr;  // one a word of global memory, for the race detector
  MemoryUse* uses = nullptr;  // one for each kUseBytes of global memory
  Region global, constant, shared, local;
  Region host;                // the first part of global: pinned memory
  Heap* heap = nullptr;       // the rest of global
  Heap* hosts = nullptr;      // pinned memory
  Heap* constants = nullptr;  // __constant__ variables and kernel parameters
  Heap* shareds = nullptr;    // windows of resident blocks
  Heap* locals = nullptr;     // stacks of resident threads

  uint8_t* shadow(uint64_t address) const {
    return reinterpret_cast<uint8_t*>(address + static_cast<uint64_t>(shadow_offset));
  }
  uint64_t* word(uint64_t address) const { return words + (address - global.begin) / 4; }
  MemoryUse* use(uint64_t address) const { return uses + (address - global.begin) / kUseBytes; }
  bool holds(uint64_t address) const { return address >= global.begin && address < local.end; }
  void mark(uint64_t address, uint64_t bytes, Shadow state) const { std::memset(shadow(address), state, bytes); }
  // What lies at a bad address: "16 bytes after the 400 bytes at 0x..", "inside 400 bytes at 0x.. that were freed".
  std::string describe(uint64_t address) const;
};

Memory& memory();  // made on first use, never destroyed

}  // namespace emulator
