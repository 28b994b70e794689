// The blocks that share one row of values, its parts: each owns consecutive segments of it, each warp works through whole
// segments. Sums are of integers, so neither the number of parts nor their order enters a result.
#pragma once

#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#include <cuda/atomic>

#include <cstdint>

#include "cuda/toolkit/sampling/request.h"

namespace warploom::cuda::device {

using u32 = std::uint32_t;
using u64 = unsigned long long;

inline constexpr int kThreads = 512, kWarps = kThreads / 32;
inline constexpr int kCoarseBins = 64, kFineBins = 32;  // parts exchange sums of 32 bins, then the 32 of one of them
inline constexpr int kBins = kCoarseBins * kFineBins;
inline constexpr u32 kRanked = 256;     // entries of a list that are ordered by counting, not by a sort
inline constexpr u32 kListRoom = 1024;  // of a shortlist, which lies where the histogram was
inline constexpr int kListed = static_cast<int>(kListRoom) / kThreads;
inline constexpr int kExtents = 7;  // of the row, and of what a selection narrows: twice for top-k, four times for top-p
inline constexpr int kMaxSegments = 256;
inline constexpr int kMaxParts = kMaxSampleParts;
inline constexpr int kStep = 128;  // values that a warp reads at once, 4 a lane
inline constexpr u32 kAllLanes = 0xffffffffu;

// What the parts of a row tell each other. Unused with a single part.
struct RowExchange {  // zero before the launch
  u32 arrived;
  u32 listed;
  u32 found[2];  // ids
  struct {
    u64 best;
    u32 least;  // complement, so that the largest is the answer
    u32 flag;
  } extents[kExtents];
  u64 sums[2];                           // over all parts
  u64 bins[2][kCoarseBins + kFineBins];  // histograms take turns
};
struct RowLists {  // written before it is read
  u64 part_sums[kMaxParts];
  u64 list[kListRoom];
};

using BlockSort = cub::BlockRadixSort<u64, kThreads, kListed, cub::NullType, 4, false>;  // false: fewer registers
using BlockScan = cub::BlockScan<u64, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;

struct TeamScratch {
  union {
    u64 histogram[kBins];
    u64 list[kListRoom];
    BlockSort::TempStorage sort;
  };
  u64 coarse[kCoarseBins];
  u64 fine[kFineBins];
  u64 segment_sums[kMaxSegments];
  u64 warps[kWarps];
  u64 message[2];
  u32 flags[2];
  u32 listed;
  u32 row;                  // here to spare registers, as are the counts of
  u32 round, turn, extent;  // barriers, histograms and extents so far
  BlockScan::TempStorage scan;
};

struct Bin {
  u32 bin;
  u64 above, inside;  // sums of the bins above it, and its own
};

__device__ inline u64 warp_sum(u64 value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// Of at most 64 sums that no thread changes, from the last down, the one in which the running sum reaches `need`. For whole
// warps; each lane gets the answer.
__device__ inline Bin find_among(const u64* sums, int count, u64 need) {
  const int lane = threadIdx.x % 32, top = count - 1 - 2 * lane;
  const u64 first = top >= 0 ? sums[top] : 0, second = top >= 1 ? sums[top - 1] : 0;
  u64 until = first + second;
  for (int step = 1; step < 32; step *= 2) {
    const u64 other = __shfl_up_sync(kAllLanes, until, step);
    until += lane >= step ? other : 0;
  }
  const u64 before = until - first - second;
  const bool later = before + first < need;
  const u32 here = __ballot_sync(kAllLanes, before < need && need <= until);
  const int source = __ffs(static_cast<int>(here)) - 1;
  Bin bin;
  bin.bin = __reduce_max_sync(kAllLanes, lane == source ? static_cast<u32>(top - later) : 0);
  bin.above = __shfl_sync(kAllLanes, later ? before + first : before, source);
  bin.inside = __shfl_sync(kAllLanes, later ? second : first, source);
  return bin;
}

class Team {
 public:
  /// exchanges and lists of all rows; kernel parameters, which cost no registers.
  __device__ Team(const RowShape& shape, RowExchange* const& exchanges, RowLists* const& lists, TeamScratch& scratch)
      : shape_(shape), exchanges_(exchanges), lists_(lists), scratch_(scratch) {
    if (threadIdx.x == 0) {
      scratch.row = blockIdx.x / static_cast<u32>(shape.parts);
      scratch.round = scratch.turn = scratch.extent = 0;
    }
    __syncthreads();
  }

  __device__ u32 row() const { return scratch_.row; }
  __device__ int part() const { return static_cast<int>(blockIdx.x - row() * static_cast<u32>(shape_.parts)); }
  __device__ bool alone() const { return shape_.parts == 1; }
  __device__ bool leads() const { return part() == 0; }
  __device__ int first() const { return part() * shape_.segments * shape_.segment; }
  __device__ const RowShape& shape() const { return shape_; }
  __device__ TeamScratch& scratch() { return scratch_; }
  /// Entries that a list should have at most: fewer where they cross device memory.
  __device__ u32 list_limit() const { return alone() ? kListRoom : 128; }

  /// Waits for every thread of every part; what they wrote before is seen after. All parts must be running at once.
  __device__ void barrier() {
    __syncthreads();
    if (alone()) return;
    if (threadIdx.x == 0) {
      const u32 all = ++scratch_.round * static_cast<u32>(shape_.parts);
      ::cuda::atomic_ref<u32, ::cuda::thread_scope_device> arrived(exchange().arrived);
      arrived.fetch_add(1, ::cuda::memory_order_acq_rel);
      while (arrived.load(::cuda::memory_order_acquire) < all) __nanosleep(32);
    }
    __syncthreads();
  }

  __device__ void clear_histogram() {
    if (threadIdx.x == 0) ++scratch_.turn;
    for (int i = 0; i < kBins; i += kThreads) scratch_.histogram[i + threadIdx.x] = 0;  // a constant number of turns
    __syncthreads();
  }
  /// Sums of kFineBins bins each, over all parts once a barrier has followed.
  __device__ void publish_histogram() {
    __syncthreads();
    for (int i = 0; i < kBins; i += kThreads) {
      const u64 sum = warp_sum(scratch_.histogram[i + threadIdx.x]);
      if (threadIdx.x % 32 == 0) scratch_.coarse[(i + threadIdx.x) / kFineBins] = sum;
    }
    if (alone()) return;
    __syncthreads();
    if (threadIdx.x < kCoarseBins && scratch_.coarse[threadIdx.x] != 0)  // by neighbouring threads: 16 sectors in all
      atomicAdd(&exchange().bins[scratch_.turn % 2][threadIdx.x], scratch_.coarse[threadIdx.x]);
  }
  /// After that barrier. From the second on find_bin must follow: the slot of the histogram before is cleared here, and
  /// find_bin's barrier comes before the next one's use of it.
  __device__ void read_histogram() {
    if (!alone()) {
      const u32 turn = scratch_.turn;
      if (threadIdx.x < kCoarseBins) scratch_.coarse[threadIdx.x] = exchange().bins[turn % 2][threadIdx.x];
      if (turn > 1 && leads() && threadIdx.x < kCoarseBins + kFineBins) exchange().bins[(turn + 1) % 2][threadIdx.x] = 0;
    }
    __syncthreads();
  }
  __device__ u64 histogram_sum() const {
    return warp_sum(scratch_.coarse[threadIdx.x % 32] + scratch_.coarse[32 + threadIdx.x % 32]);
  }
  /// The bin, counted from the top, in which the running sum reaches `need`; 0 < need <= the sum of all. Once a histogram.
  __device__ Bin find_bin(u64 need) {
    const Bin coarse = find_among(scratch_.coarse, kCoarseBins, need);
    const u64* fine = scratch_.histogram + coarse.bin * kFineBins;
    if (!alone()) {
      u64* shared = exchange().bins[scratch_.turn % 2] + kCoarseBins;
      if (threadIdx.x < kFineBins && fine[threadIdx.x] != 0) atomicAdd(shared + threadIdx.x, fine[threadIdx.x]);
      barrier();
      if (threadIdx.x < kFineBins) scratch_.fine[threadIdx.x] = shared[threadIdx.x];
      __syncthreads();
      fine = scratch_.fine;
    }
    Bin bin = find_among(fine, kFineBins, need - coarse.above);
    bin.bin += coarse.bin * kFineBins;
    bin.above += coarse.above;
    __syncthreads();
    return bin;
  }

  /// A list of up to kListRoom entries that all parts add to; it takes the histogram's place. More are counted, not kept.
  __device__ void begin_list() {
    __syncthreads();
    if (threadIdx.x == 0) scratch_.listed = 0;
    __syncthreads();
  }
  __device__ void append(u64 entry) {
    const u32 at = atomicAdd(alone() ? &scratch_.listed : &exchange().listed, 1u);
    if (at < kListRoom) (alone() ? scratch_.list : lists().list)[at] = entry;
  }
  /// All entries, descending, kListed a thread, zeros behind. Every part gets all.
  __device__ void end_list(u64 (&entries)[kListed]) {
    barrier();
    if (!alone()) {
      if (threadIdx.x == 0) scratch_.listed = exchange().listed;
      __syncthreads();
      for (u32 i = threadIdx.x; i < min(scratch_.listed, kListRoom); i += kThreads) scratch_.list[i] = lists().list[i];
    }
    sort_list(min(scratch_.listed, kListRoom), entries);
  }
  /// The first `count` different entries of this block's list, descending, kListed a thread, zeros behind.
  __device__ void sort_list(u32 count, u64 (&entries)[kListed]) {
    __syncthreads();
    if (count <= kRanked) {  // a few: each counts those before it
      const u64 mine = threadIdx.x < count ? scratch_.list[threadIdx.x] : 0;
      u32 rank = 0;
      if (threadIdx.x < count)
        for (u32 i = 0; i < count; ++i) rank += scratch_.list[i] > mine;
      __syncthreads();
      if (threadIdx.x < count) scratch_.list[rank] = mine;
      __syncthreads();
    }
    const bool ranked = count <= kRanked;
#pragma unroll
    for (int j = 0; j < kListed; ++j) {
      const u32 at = kListed * threadIdx.x + j;
      entries[j] = at < count ? scratch_.list[at] : 0;
    }
    __syncthreads();
    if (!ranked) BlockSort(scratch_.sort).SortDescending(entries);
    __syncthreads();
  }

  /// Each thread's value to the sum over the row's earlier parts and threads, the part's own before it, and the row's sum.
  /// Between two calls there must be a barrier. published: publish_part() and a barrier came before, with the same values.
  struct Prefix {
    u64 before_part, before_thread, total;
  };
  __device__ Prefix prefix(u64 value, bool published = false) {
    Prefix p{0, 0, 0};
    BlockScan(scratch_.scan).ExclusiveSum(value, p.before_thread, p.total);
    if (!alone()) {
      if (!published) {
        if (threadIdx.x == 0) lists().part_sums[part()] = p.total;
        barrier();
      }
      if (threadIdx.x < 32) {
        u64 before = 0, all = 0;
        for (int i = threadIdx.x; i < shape_.parts; i += 32) {
          const u64 sum = lists().part_sums[i];
          all += sum;
          before += i < part() ? sum : 0;
        }
        before = warp_sum(before);
        all = warp_sum(all);
        if (threadIdx.x == 0) scratch_.message[0] = before, scratch_.message[1] = all;
      }
      __syncthreads();
      p.before_part = scratch_.message[0];
      p.total = scratch_.message[1];
    }
    __syncthreads();
    return p;
  }
  /// The part's sum, for a prefix() after the next barrier, where one is wanted.
  __device__ void publish_part(u64 value) {
    if (alone()) return;
    const u64 all = block_sum(value);
    if (threadIdx.x == 0) lists().part_sums[part()] = all;
  }

  /// The row's sum of every thread's value, in every thread.
  __device__ u64 sum(int slot, u64 value) {
    u64 all = block_sum(value);
    if (!alone()) {
      if (threadIdx.x == 0) atomicAdd(&exchange().sums[slot], all);
      barrier();
      if (threadIdx.x == 0) scratch_.message[0] = exchange().sums[slot];
      __syncthreads();
      all = scratch_.message[0];
    }
    __syncthreads();
    return all;
  }

  /// One thread of one part knows an id: now all do. Where nobody does, nobody may ask.
  __device__ u32 broadcast(int slot, bool mine, u32 id) {
    if (mine) (alone() ? scratch_.flags : exchange().found)[slot] = id;
    barrier();
    if (!alone() && threadIdx.x == 0) scratch_.flags[slot] = exchange().found[slot];
    __syncthreads();
    const u32 all = scratch_.flags[slot];
    __syncthreads();
    return all;
  }

  /// Largest and least over the row, and whether any thread saw a flag; publish, then barrier, then read. kExtents times.
  struct Extent {
    u64 best;
    u32 least;
    bool flag;
  };
  __device__ void publish_extent(Extent e) {
    for (int step = 16; step > 0; step /= 2) {
      const u64 other = __shfl_xor_sync(kAllLanes, e.best, step);
      e.best = other > e.best ? other : e.best;
    }
    if (threadIdx.x == 0) scratch_.flags[0] = scratch_.flags[1] = 0;
    __syncthreads();
    const u32 low = __reduce_max_sync(kAllLanes, ~e.least);
    const bool flag = __any_sync(kAllLanes, e.flag);
    if (threadIdx.x % 32 == 0) {
      scratch_.warps[threadIdx.x / 32] = e.best;
      atomicMax(&scratch_.flags[0], low);
      if (flag) scratch_.flags[1] = 1;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < kWarps; ++w) e.best = scratch_.warps[w] > e.best ? scratch_.warps[w] : e.best;
      scratch_.message[0] = e.best;
      if (!alone()) {
        auto& shared = exchange().extents[scratch_.extent];
        atomicMax(&shared.best, e.best);
        atomicMax(&shared.least, scratch_.flags[0]);
        if (scratch_.flags[1]) atomicOr(&shared.flag, 1u);
      }
    }
  }
  __device__ Extent read_extent() {
    if (!alone() && threadIdx.x == 0) {
      const auto& shared = exchange().extents[scratch_.extent++];
      scratch_.message[0] = shared.best;
      scratch_.flags[0] = shared.least;
      scratch_.flags[1] = shared.flag;
    }
    __syncthreads();
    const Extent e{scratch_.message[0], ~scratch_.flags[0], scratch_.flags[1] != 0};
    __syncthreads();
    return e;
  }

 private:
  __device__ u64 block_sum(u64 value) {
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) scratch_.warps[threadIdx.x / 32] = value;
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < kWarps ? scratch_.warps[threadIdx.x % 32] : 0);
  }
  __device__ RowExchange& exchange() const { return exchanges_[row()]; }
  __device__ RowLists& lists() const { return lists_[row()]; }

  const RowShape& shape_;
  RowExchange* const& exchanges_;
  RowLists* const& lists_;
  TeamScratch& scratch_;
};

}  // namespace warploom::cuda::device
