// Races in shared memory, and between blocks in global memory.
//
// Shared: two threads reach a word, one of them writes, and no barrier lies between.
//
// Each word remembers its last writer and reader with the block's generation, which counts the barriers (and locks) passed.
// Within a generation all accesses of different warps are unordered; those of one warp are ordered by bar.warp.sync only.
// Of several readers the word keeps "many". Where bytes of a word have different writers the last one is kept, so a race may
// be missed there, never invented.
//
// Global: each word remembers the launch and block of its last access. Another block of the launch may not write it, nor
// read what was written, unless it has looked at other blocks before: a fence, a lock, a volatile or stronger access, from
// where on it is trusted. Atomics may meet each other. Words that an access covers in part are not looked at.
#pragma once

#include "access.h"

namespace emulator {

constexpr uint16_t kManyThreads = 0xffff;

struct RaceCell {
  struct Access {
    uint32_t generation = 0, warp_syncs = 0, serial = 0;
    uint16_t thread = 0;
    uint8_t bytes = 0;
    bool atomic = false;
  };
  Access write, read;
};

[[noreturn]] void report_race(const Warp& w, const Inst& in, int lane, uint64_t address, AccessKind kind,
                              const RaceCell::Access& other, bool other_writes);

// Of a lock, or of a strong access: it orders, and is no race itself.
inline void synchronise(Warp& w) {
  ++w.block->generation;
  w.block->synchronised = true;
}

inline bool unordered(const Warp& w, const RaceCell::Access& a, uint32_t thread, uint8_t bytes) {
  if (a.generation != w.block->generation || (a.bytes & bytes) == 0 || a.thread == thread) return false;
  if (a.thread == kManyThreads || a.thread / kLanes != thread / kLanes) return true;
  return a.warp_syncs == w.warp_syncs && a.serial != w.serial;
}

// `same_value`: a write that changes nothing may meet another one.
inline void track_word(Warp& w, const Inst& in, int lane, uint64_t word, uint8_t bytes, AccessKind kind, bool same_value) {
  RaceCell& cell = w.block->cells[word];
  const uint32_t thread = w.index * kLanes + static_cast<uint32_t>(lane);
  const bool writes = kind != AccessKind::kRead, atomic = kind == AccessKind::kAtomic;
  if (unordered(w, cell.write, thread, bytes) && !(atomic && cell.write.atomic) &&
      !(kind == AccessKind::kWrite && same_value)) [[unlikely]]
    report_race(w, in, lane, w.shared_begin + 4 * word, kind, cell.write, true);
  if (writes && unordered(w, cell.read, thread, bytes) && !same_value) [[unlikely]]
    report_race(w, in, lane, w.shared_begin + 4 * word, kind, cell.read, false);
  RaceCell::Access& mine = writes ? cell.write : cell.read;
  const bool shared_with_others = (!writes || (atomic && mine.atomic)) && mine.generation == w.block->generation &&
                                  (mine.thread == kManyThreads || mine.thread / kLanes != w.index);
  mine = {w.block->generation,
          w.warp_syncs,
          w.serial,
          static_cast<uint16_t>(shared_with_others ? kManyThreads : thread),
          bytes,
          atomic};
}

// One lane's access of `bytes` at an address, if it lies in the block's shared memory.
inline void track(Warp& w, const Inst& in, int lane, uint64_t address, uint32_t bytes, AccessKind kind,
                  bool same_value = false) {
  const uint64_t offset = address - w.shared_begin;
  for (uint64_t word = offset / 4; word <= (offset + bytes - 1) / 4; ++word) {
    const uint64_t from = std::max(offset, 4 * word) - 4 * word, to = std::min(offset + bytes, 4 * word + 4) - 4 * word;
    track_word(w, in, lane, word, static_cast<uint8_t>((1u << to) - (1u << from)), kind, same_value);
  }
}

// A word's cell: launch (24 bits), block (32), whether the last to write it was an atomic, whether several blocks read it
// or changed it by atomics, read, written.
constexpr uint64_t kWordWritten = 1, kWordRead = 2, kWordByMany = 4, kWordAtomic = 8, kWordBlock = 0xffffffff00;
[[noreturn]] void report_block_race(const Warp& w, const Inst& in, int lane, uint64_t address, AccessKind kind,
                                    uint64_t cell);

inline uint64_t cell_of(const Warp& w) { return w.block->launch->grid_id << 40 | w.block->linear << 8; }
inline bool same_launch(uint64_t cell, uint64_t mine) { return (cell ^ mine) >> 40 == 0; }
inline bool other_block(uint64_t cell, uint64_t mine) {
  return ((cell ^ mine) & kWordBlock) != 0 || (cell & kWordByMany) != 0;
}

// `count` accesses side by side, of `step` bytes each, from lane `first` on.
inline void track_global(Warp& w, const Inst& in, int first, uint64_t address, uint64_t count, uint32_t step,
                         const void* values) {
  const uint64_t begin = (address + 3) / 4 * 4, end = (address + count * step) / 4 * 4;
  const uint64_t mine = cell_of(w);
  uint64_t* cell = memory().word(begin);
  for (uint64_t at = begin; at < end; at += 4, ++cell) {
    const uint64_t c = __atomic_load_n(cell, __ATOMIC_RELAXED);
    uint64_t next = mine | (values != nullptr ? kWordWritten : kWordRead);
    if (same_launch(c, mine)) {
      const bool other = other_block(c, mine);
      if (other && !w.block->synchronised && (values != nullptr || (c & kWordWritten) != 0)) [[unlikely]] {
        const bool same =
            values != nullptr && (c & kWordWritten) != 0 &&
            std::memcmp(reinterpret_cast<const void*>(at), static_cast<const uint8_t*>(values) + (at - address), 4) == 0;
        if (!same)
          report_block_race(w, in, first + static_cast<int>((at - address) / step), at,
                            values != nullptr ? AccessKind::kWrite : AccessKind::kRead, c);
      }
      if (values == nullptr) next = c | ((c & kWordWritten) == 0 && other ? kWordByMany : 0);
    }
    if (next != c) __atomic_store_n(cell, next, __ATOMIC_RELAXED);
  }
}

// One lane's atomic of `bytes`.
inline void track_global_atomic(Warp& w, const Inst& in, int lane, uint64_t address, uint32_t bytes) {
  const uint64_t mine = cell_of(w);
  uint64_t* cell = memory().word(address);
  for (uint64_t at = address; at + 4 <= address + bytes; at += 4, ++cell) {
    uint64_t c = __atomic_load_n(cell, __ATOMIC_RELAXED), next;
    do {
      next = mine | kWordWritten | kWordAtomic;
      if (!same_launch(c, mine) || !other_block(c, mine)) continue;
      if ((c & kWordAtomic) != 0)
        next |= kWordByMany;
      else if (!w.block->synchronised) [[unlikely]]
        report_block_race(w, in, lane, at, AccessKind::kAtomic, c);
    } while (!__atomic_compare_exchange_n(cell, &c, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  }
}

inline bool in_shared(const Warp& w, uint64_t address) { return address >= w.shared_begin && address < w.shared_end; }

}  // namespace emulator
