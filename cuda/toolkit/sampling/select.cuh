// Radix selection, most significant digit first: the border behind which the running sum of a mass, in the contract's order,
// has reached what is needed. Masses are 1 for top-k and weights for top-p.
//
// A digit is cut from the keys that are there, not from all that could be: logits that were once of half precision differ in
// few bits, so that one key is often left after the first digit. What is left then is a tie, for which each part has to tell
// how many tokens it has, and no more.
#pragma once

#include "cuda/device/order_key.cuh"
#include "cuda/toolkit/sampling/row.cuh"

namespace warploom::cuda::device {

inline constexpr int kFirstDigit = 21;  // of 11 bits: the shift that leaves it of a key

// The tokens whose keys lie from low to high.
struct Keys {
  u32 low, high;

  __device__ static Keys of_first_digit(u32 digit) {
    return {digit << kFirstDigit, digit << kFirstDigit | ((1u << kFirstDigit) - 1)};
  }
  __device__ bool hold(u32 key) const { return low <= key && key <= high; }
  // Of 2048 bins that hold them all, ascending, the width's logarithm.
  __device__ int bin_shift() const { return max(0, 32 - 11 - __clz(static_cast<int>(high - low))); }
};

// Histogram over the row of place(id, y, mass), which gives a bin, or -1, and its mass.
template <class R, class Place>
__device__ void make_histogram(const R& row, Team& team, Place place) {
  team.clear_histogram();
  u64* histogram = team.scratch().histogram;
  for_each_token(
      row, team,
      [&](int id, float y) {
        u64 mass = 0;
        const int bin = place(id, y, mass);
        if (bin >= 0 && mass != 0) atomicAdd(&histogram[bin], mass);
      },
      [](int) {});
  team.publish_histogram();
  team.barrier();
  team.read_histogram();
}

// Where a border lies: among the tokens whose keys are within `keys`. Sums of a mass: of what is needed, in all; of the tokens
// above; of those among which the border lies. In shared memory, to spare registers.
struct Border {
  Keys keys;
  u64 need, above, inside;
};

// Narrows the border's keys to those that have a mass, and counts their tokens for Team::prefix().
template <class R, class Mass>
__device__ void narrow(const R& row, Team& team, Border& border, Mass mass) {
  u32 low = 0xffffffffu, high = 0, tokens = 0;
  for_each_token(
      row, team,
      [&](int id, float y) {
        const u32 key = order_key(y);
        if (!border.keys.hold(key) || mass(id, y, key) == 0) return;
        low = min(low, key);
        high = max(high, key);
        ++tokens;
      },
      [&](int s) {
        const u32 all = __reduce_add_sync(kAllLanes, tokens);
        if (threadIdx.x % 32 == 0) team.scratch().segment_sums[s] = all;
        tokens = 0;
      });
  __syncthreads();
  team.publish_part(threadIdx.x < team.shape().segments ? team.scratch().segment_sums[threadIdx.x] : 0);
  team.publish_extent({high, low, false});
  team.barrier();
  const Team::Extent extent = team.read_extent();
  if (threadIdx.x == 0) border.keys = {extent.least, static_cast<u32>(extent.best)};
  __syncthreads();
}

// 0 < need <= the sum of all masses. mass(id, y, key) is 0 for what is no candidate, and the same for all candidates of one
// key. bounded: all candidates of the border's keys are those among which it lies; else mass is 0 for the others as well. Uses
// found[which].
// kListable, for masses of 1: stops as soon as the candidates down to the cut's key fit a shortlist, and says so in `fits`.
template <bool kListable, class R, class Mass>
__device__ Cut select(const R& row, Team& team, Border& border, bool bounded, int which, Mass mass, bool* fits = nullptr) {
#pragma unroll 1
  for (;; bounded = false) {
    if constexpr (kListable) {
      *fits = border.above + border.inside <= team.list_limit();
      if (*fits) return {border.keys.low, 0xffffffffu};
    }
    if (!bounded) narrow(row, team, border, mass);
    if (border.above + border.inside == border.need) return {border.keys.low, 0xffffffffu};
    if (border.keys.low == border.keys.high) break;
    make_histogram(row, team, [&](int id, float y, u64& m) {
      const u32 key = order_key(y);
      if (!border.keys.hold(key)) return -1;
      m = mass(id, y, key);
      return static_cast<int>((key - border.keys.low) >> border.keys.bin_shift());
    });
    const Bin bin = team.find_bin(border.need - border.above);
    if (threadIdx.x == 0) {
      const int shift = border.keys.bin_shift();
      border.above += bin.above;
      border.inside = bin.inside;
      border.keys.low += bin.bin << shift;
      border.keys.high = border.keys.low + ((1u << shift) - 1);
    }
    __syncthreads();
  }
  // Ties: the lower ids, as many as are needed.
  TeamScratch& scratch = team.scratch();
  const u64 mine = threadIdx.x < team.shape().segments ? scratch.segment_sums[threadIdx.x] : 0;
  const Team::Prefix prefix = team.prefix(mine, true);
  // Which of the ties, from 0: each has the same share of what is inside.
  const u64 each = border.inside / prefix.total;
  const u64 last = (border.need - border.above - 1) / each;
  const u64 before = prefix.before_part + prefix.before_thread;
  const bool hit = before <= last && last < before + mine;
  if (hit) {
    scratch.message[0] = threadIdx.x;
    scratch.message[1] = last - before;
  }
  const bool here = __syncthreads_or(hit);
  const auto tied = [&](int id) -> u64 {
    const float y = row.at(id);
    return order_key(y) == border.keys.low && mass(id, y, border.keys.low) != 0;
  };
  int id = 0;
  const bool found = here && threadIdx.x < 32 &&
                     walk(row.vocab_size(), team, static_cast<int>(scratch.message[0]), scratch.message[1], tied, id);
  __syncthreads();
  return {border.keys.low, team.broadcast(which, found, static_cast<u32>(id))};
}

// The border of the first `count` candidates, 0 < count <= all of them, whose first digits scan_row() has counted.
template <class R>
__device__ Cut select_first(const R& row, Team& team, Border& border, u64 count, bool& fits) {
  const Bin bin = team.find_bin(count);
  if (threadIdx.x == 0) border = {Keys::of_first_digit(bin.bin), count, bin.above, bin.inside};
  __syncthreads();
  return select<true>(
      row, team, border, true, 0, [](int, float, u32 key) -> u64 { return key > kMaskedKey; }, &fits);
}

}  // namespace warploom::cuda::device
