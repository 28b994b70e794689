// The cooperating thread blocks (CTAs) of a row of values. Each CTA owns consecutive segments of the row, and each warp
// processes whole segments. Only integers are summed, so results do not depend on the number of CTAs or their order.
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
inline constexpr int kCoarseBins = 64, kFineBins = 32;  // CTAs first share the sums of 32 bins, then the 32 bins of one sum
inline constexpr int kBins = kCoarseBins * kFineBins;
inline constexpr u32 kRanked = 256;     // lists up to this length are sorted by counting
inline constexpr u32 kListRoom = 1024;  // entries of a shortlist, which reuses the histogram's memory
inline constexpr int kListed = static_cast<int>(kListRoom) / kThreads;
inline constexpr int kMinMaxSlots = 7;  // 1 for the row, up to 2 for top-k and 4 for top-p
inline constexpr int kMaxSegments = 256;
inline constexpr int kMaxCtasPerRow = kMaxSampleParts;
inline constexpr int kStep = 128;  // values that a warp reads at once, 4 for each lane
inline constexpr u32 kAllLanes = 0xffffffffu;

// Device memory through which the CTAs of a row communicate; unused if there is only one.
struct RowWorkspace {  // must be zero before the launch
  u32 arrived;         // at barriers
  u32 listed;          // entries of the list
  u32 found[2];        // ids
  struct {
    u64 max;
    u32 min;  // complemented, so that atomicMax() finds the minimum
    u32 flag;
  } min_max[kMinMaxSlots];
  u64 sums[2];                           // over all CTAs
  u64 bins[2][kCoarseBins + kFineBins];  // used by alternate histograms
};
struct RowLists {  // needs no initialisation
  u64 cta_sums[kMaxCtasPerRow];
  u64 list[kListRoom];
};

using BlockSort = cub::BlockRadixSort<u64, kThreads, kListed, cub::NullType, 4, false>;  // false: fewer registers
using BlockScan = cub::BlockScan<u64, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;

// high:low += value, in shared memory, where an addition of 64 bits is no instruction but a loop of compare-and-swap.
__device__ inline void add_wide(u32& low, u32& high, u64 value) {
  const u32 part = static_cast<u32>(value), before = atomicAdd(&low, part);
  const u32 rest = static_cast<u32>(value >> 32) + (before + part < part ? 1u : 0u);
  if (rest != 0) atomicAdd(&high, rest);
}
__device__ inline void add_wide(u64& sum, u64 value) {
  u32* words = reinterpret_cast<u32*>(&sum);
  add_wide(words[0], words[1], value);
}

// Sums of bins: `low` alone counts, both add up weights.
struct Histogram {
  u32 low[kBins], high[kBins];

  __device__ u64 operator[](int bin) const { return static_cast<u64>(high[bin]) << 32 | low[bin]; }
  __device__ void count(u32 bin) { atomicAdd(&low[bin], 1u); }
  __device__ void add(int bin, u64 weight) { add_wide(low[bin], high[bin], weight); }
};

// Shared memory of a CTA.
struct CtaScratch {
  union {
    Histogram histogram;
    u64 list[kListRoom];
    BlockSort::TempStorage sort;
  };
  u64 coarse[kCoarseBins];
  u64 fine[kFineBins];
  u64 segment_sums[kMaxSegments];
  u64 warps[kWarps];
  u64 shared_values[2];
  u32 flags[2];
  u32 listed;
  // In shared memory to save registers. Each phase counts the calls so far.
  u32 row;
  u32 barrier_phase, histogram_phase, min_max_phase;
  BlockScan::TempStorage scan;
};

struct Bin {
  u32 bin;
  u64 above, inside;  // sum of the bins above it, and its own
};

__device__ inline u64 warp_sum(u64 value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// Finds, from the last of `count` (<= 64) sums down, the one at which the running sum reaches `need`. All lanes of a warp
// must call it; each gets the result. No thread may change the sums meanwhile.
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

class CtaGroup {
 public:
  /// row_workspaces and lists: of all rows. They are references to kernel parameters, which take no registers.
  __device__ CtaGroup(const RowShape& shape, RowWorkspace* const& row_workspaces, RowLists* const& lists,
                      CtaScratch& scratch)
      : shape_(shape), workspaces_(row_workspaces), lists_(lists), scratch_(scratch) {
    if (threadIdx.x == 0) {
      scratch.row = blockIdx.x / static_cast<u32>(shape.ctas_per_row);
      scratch.barrier_phase = scratch.histogram_phase = scratch.min_max_phase = 0;
    }
    __syncthreads();
  }

  __device__ u32 row() const { return scratch_.row; }
  __device__ int cta_rank() const { return static_cast<int>(blockIdx.x - row() * static_cast<u32>(shape_.ctas_per_row)); }
  __device__ bool single_cta() const { return shape_.ctas_per_row == 1; }
  __device__ bool is_leader() const { return cta_rank() == 0; }
  __device__ int first() const { return cta_rank() * shape_.segments * shape_.segment; }
  __device__ const RowShape& shape() const { return shape_; }
  __device__ CtaScratch& scratch() { return scratch_; }
  /// The maximum number of entries worth a list: smaller if the list is in device memory.
  __device__ u32 list_limit() const { return single_cta() ? kListRoom : 128; }

  /// Barrier over all threads of all CTAs of the row; earlier writes are visible afterwards. All CTAs must be resident.
  __device__ void barrier() {
    __syncthreads();
    if (single_cta()) return;
    if (threadIdx.x == 0) {
      const u32 all = ++scratch_.barrier_phase * static_cast<u32>(shape_.ctas_per_row);
      ::cuda::atomic_ref<u32, ::cuda::thread_scope_device> arrived(workspace().arrived);
      arrived.fetch_add(1, ::cuda::memory_order_acq_rel);
      while (arrived.load(::cuda::memory_order_acquire) < all) __nanosleep(32);
    }
    __syncthreads();
  }

  __device__ void clear_histogram() {
    if (threadIdx.x == 0) ++scratch_.histogram_phase;
    for (int i = 0; i < kBins; i += kThreads)  // a constant trip count
      scratch_.histogram.low[i + threadIdx.x] = scratch_.histogram.high[i + threadIdx.x] = 0;
    __syncthreads();
  }
  /// Publishes the sums of kFineBins bins each; after the next barrier they cover all CTAs.
  __device__ void publish_histogram() {
    __syncthreads();
    for (int i = 0; i < kBins; i += kThreads) {
      const u64 sum = warp_sum(scratch_.histogram[i + static_cast<int>(threadIdx.x)]);
      if (threadIdx.x % 32 == 0) scratch_.coarse[(i + threadIdx.x) / kFineBins] = sum;
    }
    if (single_cta()) return;
    __syncthreads();
    if (threadIdx.x < kCoarseBins && scratch_.coarse[threadIdx.x] != 0)  // neighbouring threads: 16 sectors in all
      atomicAdd(&workspace().bins[scratch_.histogram_phase % 2][threadIdx.x], scratch_.coarse[threadIdx.x]);
  }
  /// To be called after that barrier. It clears the slot of the previous histogram, and the barrier in find_bin() must come
  /// before the slot's next use; so from the second histogram on, find_bin() must follow.
  __device__ void read_histogram() {
    if (!single_cta()) {
      const u32 histogram_phase = scratch_.histogram_phase;
      if (threadIdx.x < kCoarseBins) scratch_.coarse[threadIdx.x] = workspace().bins[histogram_phase % 2][threadIdx.x];
      if (histogram_phase > 1 && is_leader() && threadIdx.x < kCoarseBins + kFineBins)
        workspace().bins[(histogram_phase + 1) % 2][threadIdx.x] = 0;
    }
    __syncthreads();
  }
  __device__ u64 histogram_sum() const {
    return warp_sum(scratch_.coarse[threadIdx.x % 32] + scratch_.coarse[32 + threadIdx.x % 32]);
  }
  /// The bin, counting from the top, at which the running sum reaches `need`; 0 < need <= the total. Once for each
  /// histogram.
  __device__ Bin find_bin(u64 need) {
    const Bin coarse = find_among(scratch_.coarse, kCoarseBins, need);
    u64 fine = 0;
    if (threadIdx.x < kFineBins) fine = scratch_.histogram[static_cast<int>(coarse.bin * kFineBins + threadIdx.x)];
    if (!single_cta()) {
      u64* shared = workspace().bins[scratch_.histogram_phase % 2] + kCoarseBins;
      if (threadIdx.x < kFineBins && fine != 0) atomicAdd(shared + threadIdx.x, fine);
      barrier();
      if (threadIdx.x < kFineBins) fine = shared[threadIdx.x];
    }
    if (threadIdx.x < kFineBins) scratch_.fine[threadIdx.x] = fine;
    __syncthreads();
    Bin bin = find_among(scratch_.fine, kFineBins, need - coarse.above);
    bin.bin += coarse.bin * kFineBins;
    bin.above += coarse.above;
    __syncthreads();
    return bin;
  }

  /// Starts a list of up to kListRoom entries from all CTAs, which overwrites the histogram. Further entries are only
  /// counted.
  __device__ void begin_list() {
    __syncthreads();
    if (threadIdx.x == 0) scratch_.listed = 0;
    __syncthreads();
  }
  __device__ void append(u64 entry) {
    const u32 at = atomicAdd(single_cta() ? &scratch_.listed : &workspace().listed, 1u);
    if (at < kListRoom) (single_cta() ? scratch_.list : lists().list)[at] = entry;
  }
  /// All entries in descending order, kListed in each thread, padded with zeros. Every CTA gets all of them.
  __device__ void end_list(u64 (&entries)[kListed]) {
    barrier();
    if (!single_cta()) {
      if (threadIdx.x == 0) scratch_.listed = workspace().listed;
      __syncthreads();
      for (u32 i = threadIdx.x; i < min(scratch_.listed, kListRoom); i += kThreads) scratch_.list[i] = lists().list[i];
    }
    sort_list(min(scratch_.listed, kListRoom), entries);
  }
  /// The same for the first `count` entries of this CTA's list, which must be distinct.
  __device__ void sort_list(u32 count, u64 (&entries)[kListed]) {
    __syncthreads();
    if (count <= kRanked) {  // a short list: each thread counts the larger entries
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

  /// Exclusive prefix sums of the threads' values: over earlier CTAs, over earlier threads of this CTA, and the row's total.
  /// There must be a barrier between two calls. published: publish_cta_sum() was called with the same values, then
  /// barrier().
  struct Prefix {
    u64 before_cta, before_thread, total;
  };
  __device__ Prefix prefix(u64 value, bool published = false) {
    Prefix p{0, 0, 0};
    BlockScan(scratch_.scan).ExclusiveSum(value, p.before_thread, p.total);
    if (!single_cta()) {
      if (!published) {
        if (threadIdx.x == 0) lists().cta_sums[cta_rank()] = p.total;
        barrier();
      }
      if (threadIdx.x < 32) {
        u64 before = 0, all = 0;
        for (int i = threadIdx.x; i < shape_.ctas_per_row; i += 32) {
          const u64 sum = lists().cta_sums[i];
          all += sum;
          before += i < cta_rank() ? sum : 0;
        }
        before = warp_sum(before);
        all = warp_sum(all);
        if (threadIdx.x == 0) scratch_.shared_values[0] = before, scratch_.shared_values[1] = all;
      }
      __syncthreads();
      p.before_cta = scratch_.shared_values[0];
      p.total = scratch_.shared_values[1];
    }
    __syncthreads();
    return p;
  }
  /// Publishes this CTA's sum for a prefix() after the next barrier.
  __device__ void publish_cta_sum(u64 value) {
    if (single_cta()) return;
    const u64 all = block_sum(value);
    if (threadIdx.x == 0) lists().cta_sums[cta_rank()] = all;
  }

  /// The sum of the values of all threads of the row; every thread gets it.
  __device__ u64 sum(int slot, u64 value) {
    u64 all = block_sum(value);
    if (!single_cta()) {
      if (threadIdx.x == 0) atomicAdd(&workspace().sums[slot], all);
      barrier();
      if (threadIdx.x == 0) scratch_.shared_values[0] = workspace().sums[slot];
      __syncthreads();
      all = scratch_.shared_values[0];
    }
    __syncthreads();
    return all;
  }

  /// Every thread gets the id of the only thread whose `mine` is true. There must be one.
  __device__ u32 broadcast(int slot, bool mine, u32 id) {
    if (mine) (single_cta() ? scratch_.flags : workspace().found)[slot] = id;
    barrier();
    if (!single_cta() && threadIdx.x == 0) scratch_.flags[slot] = workspace().found[slot];
    __syncthreads();
    const u32 all = scratch_.flags[slot];
    __syncthreads();
    return all;
  }

  /// Maximum, minimum and disjunction of the flags over the row: publish, barrier, read. At most kMinMaxSlots times.
  struct MinMax {
    u64 max;
    u32 min;
    bool flag;
  };
  __device__ void publish_min_max(MinMax e) {
    for (int step = 16; step > 0; step /= 2) {
      const u64 other = __shfl_xor_sync(kAllLanes, e.max, step);
      e.max = other > e.max ? other : e.max;
    }
    if (threadIdx.x == 0) scratch_.flags[0] = scratch_.flags[1] = 0;
    __syncthreads();
    const u32 low = __reduce_max_sync(kAllLanes, ~e.min);
    const bool flag = __any_sync(kAllLanes, e.flag);
    if (threadIdx.x % 32 == 0) {
      scratch_.warps[threadIdx.x / 32] = e.max;
      atomicMax(&scratch_.flags[0], low);
      if (flag) scratch_.flags[1] = 1;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < kWarps; ++w) e.max = scratch_.warps[w] > e.max ? scratch_.warps[w] : e.max;
      scratch_.shared_values[0] = e.max;
      if (!single_cta()) {
        auto& shared = workspace().min_max[scratch_.min_max_phase];
        atomicMax(&shared.max, e.max);
        atomicMax(&shared.min, scratch_.flags[0]);
        if (scratch_.flags[1]) atomicOr(&shared.flag, 1u);
      }
    }
  }
  __device__ MinMax read_min_max() {
    if (!single_cta() && threadIdx.x == 0) {
      const auto& shared = workspace().min_max[scratch_.min_max_phase++];
      scratch_.shared_values[0] = shared.max;
      scratch_.flags[0] = shared.min;
      scratch_.flags[1] = shared.flag;
    }
    __syncthreads();
    const MinMax e{scratch_.shared_values[0], ~scratch_.flags[0], scratch_.flags[1] != 0};
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
  __device__ RowWorkspace& workspace() const { return workspaces_[row()]; }
  __device__ RowLists& lists() const { return lists_[row()]; }

  const RowShape& shape_;
  RowWorkspace* const& workspaces_;
  RowLists* const& lists_;
  CtaScratch& scratch_;
};

}  // namespace warploom::cuda::device
