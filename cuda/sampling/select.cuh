// Radix selection, most significant digit first: the border behind which the running sum of a mass, in the contract's order,
// has reached what is needed. Masses are 1 for top-k and weights for top-p.
#pragma once

#include "cuda/device/order_key.cuh"
#include "cuda/sampling/row.cuh"

namespace warploom::cuda::device {

// Digits of the order key.
__device__ inline int digit_shift(int level) { return level == 0 ? 21 : level == 1 ? 10 : 0; }
__device__ inline int digit_bits(int level) { return level == 2 ? 10 : 11; }

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

// Histogram of the masses of the keys that share the prefix of the levels above.
template <class R, class Mass>
__device__ void count_digits(const R& row, Team& team, int level, u32 prefix, Mass mass) {
  const int shift = digit_shift(level), bits = digit_bits(level);
  make_histogram(row, team, [&](int id, float y, u64& m) {
    const u32 key = order_key(y);
    if (level > 0 && key >> (shift + bits) != prefix) return -1;
    m = mass(id, y, key);
    return static_cast<int>(key >> shift & ((1u << bits) - 1));
  });
}

// 0 < need <= the sum of all masses. The histogram of level 0 stands ready. Uses part sums and found[] of `which`.
// mass(id, y, key) is 0 for what is no candidate, and the same for all candidates of one key.
// kListable, for masses of 1: stops as soon as the candidates down to the cut's key fit a shortlist, and says so in `fits`.
template <bool kListable, class R, class Mass>
__device__ Cut select(const R& row, Team& team, u64 need, int which, Mass mass, bool* fits = nullptr) {
  u32 prefix = 0;
  u64 above = 0;
  Bin bin{};
#pragma unroll 1
  for (int level = 0; level < 3; ++level) {
    if (level > 0) count_digits(row, team, level, prefix, mass);
    bin = team.find_bin(need);
    need -= bin.above;
    above += bin.above;
    prefix = prefix << digit_bits(level) | bin.bin;
    if constexpr (kListable) {
      *fits = above + bin.inside <= team.list_limit();
      if (*fits) return {prefix << digit_shift(level), 0xffffffffu};
    }
    if (bin.inside == need) return {prefix << digit_shift(level), 0xffffffffu};
  }
  // Ties: the lower ids, as many as are needed.
  const auto tied = [&](int id, float y) -> u64 { return order_key(y) == prefix && mass(id, y, prefix) != 0; };
  u64 ties = 0;
  u64* sums = team.scratch().segment_sums;
  for_each_token(
      row, team, [&](int id, float y) { ties += tied(id, y); },
      [&](int s) {
        const u64 all = warp_sum(ties);
        if (threadIdx.x % 32 == 0) sums[s] = all;
        ties = 0;
      });
  __syncthreads();
  const u64 mine = threadIdx.x < team.shape().segments ? sums[threadIdx.x] : 0;
  const Team::Prefix p = team.prefix(mine);
  const u64 each = bin.inside / p.total;
  const u64 last = (need + each - 1) / each - 1;  // which of the ties, from 0
  const u64 before = p.before_part + p.before_thread;
  const bool hit = before <= last && last < before + mine;
  if (hit) {
    team.scratch().message[0] = threadIdx.x;
    team.scratch().message[1] = last - before;
  }
  const bool here = __syncthreads_or(hit);
  int id = 0;
  const bool found = here && threadIdx.x < 32 &&
                     walk(
                         row.vocab(), team, static_cast<int>(team.scratch().message[0]), team.scratch().message[1],
                         [&](int i) { return tied(i, row.at(i)); }, id);
  __syncthreads();
  return {prefix, team.broadcast(which, found, static_cast<u32>(id))};
}

}  // namespace warploom::cuda::device
