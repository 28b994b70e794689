// Radix selection, most significant digit first: finds the pivot, the token at which the running sum of weights, in the
// contract's order, reaches what is needed. For top-k every candidate weighs 1, for top-p what docs/sampling.md section 3 says.
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

// Histogram over the row of place(id, y, weight), which gives a bin, or -1, and its weight: 0 or 1 where kCounts.
template <bool kCounts, class R, class Place>
__device__ void make_histogram(const R& row, CtaGroup& ctas, Place place) {
  ctas.clear_histogram();
  Histogram& histogram = ctas.scratch().histogram;
  for_each_token(
      row, ctas,
      [&](int id, float y) {
        u64 weight = 0;
        const int bin = place(id, y, weight);
        if (bin < 0 || weight == 0) return;
        if constexpr (kCounts)
          histogram.count(static_cast<u32>(bin));
        else
          histogram.add(bin, weight);
      },
      [](int) {});
  ctas.publish_histogram();
  ctas.barrier();
  ctas.read_histogram();
}

// What is known of the pivot: its key is within `keys`. Sums of weights: what is needed in all, of the tokens above `keys`, and
// of those within. In shared memory, to spare registers.
struct Pivot {
  Keys keys;
  u64 need, above, inside;
};

// Refines the pivot: its keys become the lowest and the highest that have a weight. Counts their tokens for CtaGroup::prefix().
template <class R, class Weight>
__device__ void refine(const R& row, CtaGroup& ctas, Pivot& pivot, Weight weight) {
  u32 low = 0xffffffffu, high = 0, tokens = 0;
  for_each_token(
      row, ctas,
      [&](int id, float y) {
        const u32 key = order_key(y);
        if (!pivot.keys.hold(key) || weight(id, y, key) == 0) return;
        low = min(low, key);
        high = max(high, key);
        ++tokens;
      },
      [&](int s) {
        const u32 all = __reduce_add_sync(kAllLanes, tokens);
        if (threadIdx.x % 32 == 0) ctas.scratch().segment_sums[s] = all;
        tokens = 0;
      });
  __syncthreads();
  ctas.publish_cta_sum(threadIdx.x < ctas.shape().segments ? ctas.scratch().segment_sums[threadIdx.x] : 0);
  ctas.publish_min_max({high, low, false});
  ctas.barrier();
  const CtaGroup::MinMax min_max = ctas.read_min_max();
  if (threadIdx.x == 0) pivot.keys = {min_max.min, static_cast<u32>(min_max.max)};
  __syncthreads();
}

// 0 < need <= the sum of all weights. weight(id, y, key) is 0 for what is no candidate, and the same for all candidates of one
// key. bounded: all candidates of the pivot's keys are those among which it lies; else weight is 0 for the others as well. Uses
// found[which].
// kListable, for weights of 1: stops as soon as the candidates down to the cut's key fit a shortlist, and says so in `fits`.
template <bool kListable, class R, class Weight>
__device__ Cut select(const R& row, CtaGroup& ctas, Pivot& pivot, bool bounded, int which, Weight weight,
                      bool* fits = nullptr) {
#pragma unroll 1
  for (;; bounded = false) {
    if constexpr (kListable) {
      *fits = pivot.above + pivot.inside <= ctas.list_limit();
      if (*fits) return {pivot.keys.low, 0xffffffffu};
    }
    if (!bounded) refine(row, ctas, pivot, weight);
    if (pivot.above + pivot.inside == pivot.need) return {pivot.keys.low, 0xffffffffu};
    if (pivot.keys.low == pivot.keys.high) break;
    make_histogram<kListable>(row, ctas, [&](int id, float y, u64& m) {
      const u32 key = order_key(y);
      if (!pivot.keys.hold(key)) return -1;
      m = weight(id, y, key);
      return static_cast<int>((key - pivot.keys.low) >> pivot.keys.bin_shift());
    });
    const Bin bin = ctas.find_bin(pivot.need - pivot.above);
    if (threadIdx.x == 0) {
      const int shift = pivot.keys.bin_shift();
      pivot.above += bin.above;
      pivot.inside = bin.inside;
      pivot.keys.low += bin.bin << shift;
      pivot.keys.high = pivot.keys.low + ((1u << shift) - 1);
    }
    __syncthreads();
  }
  // Ties: the lower ids, as many as are needed.
  CtaScratch& scratch = ctas.scratch();
  const u64 mine = threadIdx.x < ctas.shape().segments ? scratch.segment_sums[threadIdx.x] : 0;
  const CtaGroup::Prefix prefix = ctas.prefix(mine, true);
  // Which of the ties, from 0: each has the same share of what is inside.
  const u64 each = pivot.inside / prefix.total;
  const u64 last = (pivot.need - pivot.above - 1) / each;
  const u64 before = prefix.before_cta + prefix.before_thread;
  const bool hit = before <= last && last < before + mine;
  if (hit) {
    scratch.shared_values[0] = threadIdx.x;
    scratch.shared_values[1] = last - before;
  }
  const bool here = __syncthreads_or(hit);
  const auto tied = [&](int id) -> u64 {
    const float y = row.at(id);
    return order_key(y) == pivot.keys.low && weight(id, y, pivot.keys.low) != 0;
  };
  int id = 0;
  const bool found =
      here && threadIdx.x < 32 &&
      walk(row.vocab_size(), ctas, static_cast<int>(scratch.shared_values[0]), scratch.shared_values[1], tied, id);
  __syncthreads();
  return {pivot.keys.low, ctas.broadcast(which, found, static_cast<u32>(id))};
}

// The pivot of the first `count` candidates, 0 < count <= all of them, whose first digits scan_row() has counted.
template <class R>
__device__ Cut select_first(const R& row, CtaGroup& ctas, Pivot& pivot, u64 count, bool& fits) {
  const Bin bin = ctas.find_bin(count);
  if (threadIdx.x == 0) pivot = {Keys::of_first_digit(bin.bin), count, bin.above, bin.inside};
  __syncthreads();
  return select<true>(
      row, ctas, pivot, true, 0, [](int, float, u32 key) -> u64 { return key > kMaskedKey; }, &fits);
}

}  // namespace warploom::cuda::device
