// The blocks that share one row of values, its parts: each owns consecutive segments of it, each warp works through whole
// segments. Sums are of integers, so neither the number of parts nor their order enters a result.
#pragma once

#include <cub/block/block_scan.cuh>
#include <cuda/atomic>

#include <cstdint>

namespace warploom::cuda::device {

using u32 = std::uint32_t;
using u64 = unsigned long long;

inline constexpr int kThreads = 512, kWarps = kThreads / 32;
inline constexpr int kBins = 2048;
inline constexpr int kMaxSegments = 256;
inline constexpr int kMaxParts = 128;
inline constexpr int kStep = 128;  // values that a warp reads at once, 4 a lane
inline constexpr u32 kAllLanes = 0xffffffffu;

// How a row is cut up. segment is a multiple of kStep, segments (of a part) at most kMaxSegments.
struct RowShape {
  int parts = 1;
  int segment = kStep;
  int segments = 1;
};

// What the parts of a row tell each other; zero before the launch. Unused with a single part.
struct RowState {
  u32 arrived;
  u32 invalid;
  u64 best;
  u64 sums[2];  // over all parts
  u64 histograms[6][kBins];
  u64 part_sums[3][kMaxParts];
  u32 found[2];  // an id, plus 1
};

using BlockScan = cub::BlockScan<u64, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;

struct TeamScratch {
  u64 histogram[kBins];
  u64 segment_sums[kMaxSegments];
  u64 warps[kWarps];
  u64 message[3];
  BlockScan::TempStorage scan;
};

struct Bin {
  u32 bin;
  u64 above, inside;  // sums of the bins above it, and its own
};

class Team {
 public:
  __device__ Team(const RowShape& shape, RowState* state, int part, TeamScratch& scratch)
      : shape_(shape), state_(state), part_(part), scratch_(scratch) {}

  __device__ int part() const { return part_; }
  __device__ int first() const { return part_ * shape_.segments * shape_.segment; }
  __device__ const RowShape& shape() const { return shape_; }
  __device__ TeamScratch& scratch() { return scratch_; }

  /// Waits for every thread of every part; what they wrote before is seen after. All parts must be running at once.
  __device__ void barrier() {
    __syncthreads();
    if (shape_.parts == 1) return;
    ++round_;
    if (threadIdx.x == 0) {
      ::cuda::atomic_ref<u32, ::cuda::thread_scope_device> arrived(state_->arrived);
      arrived.fetch_add(1, ::cuda::memory_order_acq_rel);
      while (arrived.load(::cuda::memory_order_acquire) < round_ * static_cast<u32>(shape_.parts)) {
      }
    }
    __syncthreads();
  }

  __device__ void clear_histogram() {
    for (int i = threadIdx.x; i < kBins; i += kThreads) scratch_.histogram[i] = 0;
    __syncthreads();
  }
  /// Adds this part's histogram to the row's; after a barrier read_histogram gets the sum.
  __device__ void publish_histogram(int slot) {
    __syncthreads();
    if (shape_.parts == 1) return;
    for (int i = threadIdx.x; i < kBins; i += kThreads)
      if (scratch_.histogram[i] != 0) atomicAdd(&state_->histograms[slot][i], scratch_.histogram[i]);
  }
  __device__ void read_histogram(int slot) {
    if (shape_.parts == 1) return;
    for (int i = threadIdx.x; i < kBins; i += kThreads) scratch_.histogram[i] = state_->histograms[slot][i];
    __syncthreads();
  }

  /// The bin, counted from the top, in which the running sum reaches `need`; 0 < need <= the sum of all.
  __device__ Bin find_bin(u64 need) {
    u64 sum = 0, before, bins[kBins / kThreads];
    const int top = kBins - 1 - threadIdx.x * (kBins / kThreads);
#pragma unroll
    for (int j = 0; j < kBins / kThreads; ++j) sum += bins[j] = scratch_.histogram[top - j];
    BlockScan(scratch_.scan).ExclusiveSum(sum, before);
    if (before < need && need <= before + sum) {
      bool found = false;
#pragma unroll
      for (int j = 0; j < kBins / kThreads; ++j) {
        if (!found && need <= before + bins[j]) {
          found = true;
          scratch_.message[0] = static_cast<u64>(top - j);
          scratch_.message[1] = before;
          scratch_.message[2] = bins[j];
        }
        before += bins[j];
      }
    }
    __syncthreads();
    const Bin bin{static_cast<u32>(scratch_.message[0]), scratch_.message[1], scratch_.message[2]};
    __syncthreads();
    return bin;
  }

  __device__ u64 histogram_sum() {
    u64 sum = 0, before, all;
    for (int i = threadIdx.x; i < kBins; i += kThreads) sum += scratch_.histogram[i];
    BlockScan(scratch_.scan).ExclusiveSum(sum, before, all);
    __syncthreads();
    return all;
  }

  /// Each thread's value to the sum over the row's earlier parts and threads, the part's own before it, and the row's sum.
  struct Prefix {
    u64 before_part, before_thread, total;
  };
  __device__ Prefix prefix(int slot, u64 value) {
    Prefix p{0, 0, 0};
    BlockScan(scratch_.scan).ExclusiveSum(value, p.before_thread, p.total);
    if (shape_.parts > 1) {
      if (threadIdx.x == 0) state_->part_sums[slot][part_] = p.total;
      barrier();
      u64 before = 0, all = 0;
      for (int i = threadIdx.x % 32; i < shape_.parts; i += 32) {
        const u64 sum = state_->part_sums[slot][i];
        all += sum;
        before += i < part_ ? sum : 0;
      }
      for (int step = 16; step > 0; step /= 2) {
        all += __shfl_xor_sync(kAllLanes, all, step);
        before += __shfl_xor_sync(kAllLanes, before, step);
      }
      p.before_part = before;
      p.total = all;
    }
    __syncthreads();
    return p;
  }

  /// The row's sum of every thread's value, in every thread.
  __device__ u64 sum(int slot, u64 value) {
    u64 before, all;
    BlockScan(scratch_.scan).ExclusiveSum(value, before, all);
    if (shape_.parts > 1) {
      if (threadIdx.x == 0) atomicAdd(&state_->sums[slot], all);
      barrier();
      all = state_->sums[slot];
    }
    __syncthreads();
    return all;
  }

  /// One thread of one part knows an id: now all do. Where nobody does, nobody may ask.
  __device__ u32 broadcast(int slot, bool mine, u32 id) {
    if (mine) {
      scratch_.message[0] = id;
      if (shape_.parts > 1) state_->found[slot] = id;
    }
    barrier();
    const u32 all = shape_.parts > 1 ? state_->found[slot] : static_cast<u32>(scratch_.message[0]);
    __syncthreads();
    return all;
  }

  /// Largest value over the row and whether any thread saw a flag; publish, then barrier, then read.
  __device__ void publish_best(u64 value, bool flag) {
    for (int step = 16; step > 0; step /= 2) {
      const u64 other = __shfl_xor_sync(kAllLanes, value, step);
      value = other > value ? other : value;
    }
    if (threadIdx.x % 32 == 0) scratch_.warps[threadIdx.x / 32] = value;
    const bool any = __syncthreads_or(flag);
    if (threadIdx.x == 0) {
      for (int w = 1; w < kWarps; ++w) value = scratch_.warps[w] > value ? scratch_.warps[w] : value;
      scratch_.message[0] = value;
      scratch_.message[1] = any;
      if (shape_.parts > 1) {
        atomicMax(&state_->best, value);
        if (any) atomicOr(&state_->invalid, 1u);
      }
    }
  }
  __device__ u64 read_best(bool& flag) {
    const u64 best = shape_.parts > 1 ? state_->best : scratch_.message[0];
    flag = shape_.parts > 1 ? state_->invalid != 0 : scratch_.message[1] != 0;
    __syncthreads();
    return best;
  }

 private:
  RowShape shape_;
  RowState* state_;
  int part_;
  TeamScratch& scratch_;
  u32 round_ = 0;
};

}  // namespace warploom::cuda::device
