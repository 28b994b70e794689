// What attention does to a chunk whatever the type of the cache: masks, the softmax within the chunk, blocks fetched ahead.
#pragma once

#include <type_traits>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

constexpr int kBlockTokens = 16;

WARPLOOM_INLINE const std::byte* block_at(const KvBlocks& kv, int b) {
  return kv.cache + static_cast<std::size_t>(kv.ids[b]) * kv.stride;
}

// Fetches [0, bytes) behind p.
WARPLOOM_INLINE void fetch(const std::byte* p, int bytes, Fetch to) {
  if (to == Fetch::second_cache) {
    for (int at = 0; at < bytes; at += 64) __builtin_prefetch(p + at, 0, 2);
  } else {
    for (int at = 0; at < bytes; at += 64) __builtin_prefetch(p + at, 0, 3);
  }
}

// Fetches a cache line of each of kCount blocks, `offset` elements behind its start.
template <int kCount, typename T>
WARPLOOM_INLINE void fetch_line(const T* const* blocks, std::ptrdiff_t offset, Fetch to) {
  if (to == Fetch::second_cache) {
#pragma GCC unroll 8
    for (int b = 0; b < kCount; ++b) __builtin_prefetch(blocks[b] + offset, 0, 2);
  } else {
#pragma GCC unroll 8
    for (int b = 0; b < kCount; ++b) __builtin_prefetch(blocks[b] + offset, 0, 3);
  }
}

// Fetches a block part by part.
class FetchParts {
 public:
  FetchParts() = default;
  WARPLOOM_INLINE_MEMBER FetchParts(const std::byte* block, int bytes, Fetch to) : at_(block), bytes_(bytes), to_(to) {}
  WARPLOOM_INLINE_MEMBER void fetch_one() {
    fetch(at_, bytes_, to_);
    at_ += bytes_;
  }

 private:
  const std::byte* at_ = nullptr;
  int bytes_ = 0;  // of a part
  Fetch to_ = Fetch::first_cache;
};

// The blocks that are read next, each of which is fetched in parts while a block of this chunk is read.
class NextBlocks {
 public:
  WARPLOOM_INLINE_MEMBER NextBlocks(const AttentionTile& tile, int parts)
      : kv_(tile.next), part_(tile.next.bytes / parts), to_(tile.fetch) {}
  WARPLOOM_INLINE_MEMBER FetchParts during(int b) const {
    return b < kv_.count ? FetchParts(block_at(kv_, b), part_, to_) : FetchParts();
  }

 private:
  KvBlocks kv_;
  int part_;
  Fetch to_;
};

// call(number, first) for all of `count` queries, kMost at a time; the numbers are constants.
template <int kMost, typename Call>
WARPLOOM_INLINE void in_parts(int count, const Call& call) {
  static_assert(kMost == 2 || kMost == 3 || kMost == 6);
  int i = 0;
  for (; i + kMost <= count; i += kMost) call(std::integral_constant<int, kMost>(), i);
  switch (count - i) {
    case 1: return call(std::integral_constant<int, 1>(), i);
    case 2:
      if constexpr (kMost > 2) return call(std::integral_constant<int, 2>(), i);
      break;
    default: break;
  }
  if constexpr (kMost > 3) {
    switch (count - i) {
      case 3: return call(std::integral_constant<int, 3>(), i);
      case 4: return call(std::integral_constant<int, 4>(), i);
      case 5: return call(std::integral_constant<int, 5>(), i);
      default: break;
    }
  }
}

struct Range {
  int from, to;
};

// The tokens of the chunk that query i attends to; from == to if there are none.
WARPLOOM_INLINE Range mask_range(const AttentionTile& tile, int i, std::int64_t chunk) {
  const std::int64_t start = chunk * kChunkTokens, last = tile.positions[i];
  const std::int64_t first = tile.window > 0 && last >= tile.window ? last - tile.window + 1 : 0;
  const auto cut = [&](std::int64_t p) {
    return static_cast<int>(p < start ? 0 : p > start + kChunkTokens ? kChunkTokens : p - start);
  };
  const Range range{cut(first), cut(last + 1)};
  return range.from < range.to ? range : Range{0, 0};
}

// cap tanh(s / cap), with tanh(x) = 1 - 2 / (e^2x + 1). The difference cancels for small scores, whose error is 2^-24 cap.
WARPLOOM_INLINE F soft_capped(F s, float cap) {
  const F e = exp(mul(s, set(2.0f / cap)));
  return mul(sub(set(1.0f), div(set(2.0f), add(e, set(1.0f)))), set(cap));
}

struct Blocks {
  int from, to;
};
WARPLOOM_INLINE Blocks blocks_of(Range range) {
  return {range.from / kBlockTokens, (range.to + kBlockTokens - 1) / kBlockTokens};
}

// x in the lanes of block b that are in the range, y in the others.
WARPLOOM_INLINE F masked(Range range, int b, F x, F y) {
  const int from = range.from - b * kBlockTokens, to = range.to - b * kBlockTokens;
  return from > 0 || to < kBlockTokens ? select_range(from, to, x, y) : x;
}

// Masks the scores and finds the largest; -inf if there is none.
WARPLOOM_INLINE float mask_scores(Range range, float soft_cap, float* scores) {
  F top = set(-__builtin_inff());
  const Blocks blocks = blocks_of(range);
  for (int b = blocks.from; b < blocks.to; ++b) {
    const F raw = load(scores + b * kBlockTokens);
    const F s = masked(range, b, soft_cap > 0 ? soft_capped(raw, soft_cap) : raw, set(-__builtin_inff()));
    store(scores + b * kBlockTokens, s);
    top = max(s, top);
  }
  return max_lanes(top);
}

// Replaces scores by their exponentials and returns the sum of these.
WARPLOOM_INLINE float exponentials(Range range, float maximum, float* scores) {
  const F m = set(maximum);
  F sum = zero();
  const Blocks blocks = blocks_of(range);
  for (int b = blocks.from; b < blocks.to; ++b) {
    const F p = exp_of_negative(sub(load(scores + b * kBlockTokens), m));
    store(scores + b * kBlockTokens, p);
    sum = add(sum, p);
  }
  return sum_lanes(sum);
}

// The softmax of all queries within the chunk. All take a step before the next one, so that their waits for results over lanes
// overlap.
WARPLOOM_INLINE void softmax(const AttentionTile& tile, const Range* ranges, float (*scores)[kChunkTokens], float* maxima,
                             float* sums) {
  for (int i = 0; i < tile.count; ++i) maxima[i] = mask_scores(ranges[i], tile.soft_cap, scores[i]);
  for (int i = 0; i < tile.count; ++i) sums[i] = exponentials(ranges[i], maxima[i], scores[i]);
}

// The tokens of the chunk that some query of the tile attends to.
WARPLOOM_INLINE Range mask_ranges(const AttentionTile& tile, std::int64_t chunk, Range* ranges) {
  Range all{kChunkTokens, 0};
  for (int i = 0; i < tile.count; ++i) {
    ranges[i] = mask_range(tile, i, chunk);
    if (ranges[i].to == 0) continue;
    all.from = ranges[i].from < all.from ? ranges[i].from : all.from;
    all.to = ranges[i].to > all.to ? ranges[i].to : all.to;
  }
  return all;
}

}  // namespace warploom::cpu::WARPLOOM_ISA
