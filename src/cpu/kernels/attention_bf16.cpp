// One chunk of a context in bf16 against up to kMaxQueries queries. What instructions for products of bf16 give, plain ones give
// bit for bit: queries and probabilities are rounded to bf16 like keys and values, and sums are cut into groups of 32 terms.
// Of a group, one chain of fused multiply-adds goes over the even terms and one over the odd ones, each in order and from 0;
// then the sum of the two is added to the sum of the groups before. The terms of a score are its dimensions. Those of a value
// are tokens, in groups aligned at multiples of 32; a token that the mask hides has probability 0, which changes no bit. All else
// is f32, also the sum of the probabilities, before they are rounded. How keys and values lie: cpu/kv_cache.h.
#include <type_traits>

#include "cpu/kernels/attention.h"
#include "cpu/kernels/attention_chunk.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

constexpr int kGroupTerms = 32;
constexpr int kBlockRows = kBlockTokens / 2;  // of values
constexpr int kChunkBlocks = kChunkTokens / kBlockTokens;
constexpr int kPairStride = kPairsArePacked ? kQueryStride / 2 : kQueryStride;  // of a tile's queries

// Queries, and blocks or vectors of values, at a time: each has two sums, which registers hold, and which hide the latency of
// fused multiply-adds.
#if defined(__AVX512F__)
constexpr int kMostQueries = 6;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 8 : queries <= 3 ? 4 : 2; }
constexpr int vectors_at_once(int queries) { return queries <= 3 ? 4 : 2; }
#else
constexpr int kMostQueries = 3;
constexpr int blocks_at_once(int queries) { return queries == 1 ? 2 : 1; }
constexpr int vectors_at_once(int queries) { return queries == 1 ? 2 : 1; }
#endif

// scores[i][16 b ...] = scale * q_i k for the queries from `first` and the blocks [from, from + kBlocks) of the chunk. pairs: the
// tile's queries, kPairStride apart.
template <int kQueries, int kBlocks>
WARPLOOM_INLINE void score_some(const AttentionTile& tile, const float* pairs, int first, int from,
                                float (*scores)[kChunkTokens]) {
  const std::uint32_t* keys[kBlocks];
  for (int b = 0; b < kBlocks; ++b) keys[b] = reinterpret_cast<const std::uint32_t*>(block_at(tile.kv, from + b));
  const std::ptrdiff_t key_words = static_cast<std::ptrdiff_t>(tile.head_dim) * kBlockRows;
  const float* queries = pairs + first * kPairStride;
  for (int group = 0; group < tile.head_dim; group += kGroupTerms) {
    const bool last = group + kGroupTerms >= tile.head_dim;
    const int whole = (last ? tile.head_dim : group + kGroupTerms) / 4 * 4;
    F sum[2][kQueries][kBlocks];  // of even and odd dimensions
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c)
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
        for (int b = 0; b < kBlocks; ++b) sum[c][i][b] = zero();
    for (int row = group / 2; row < whole / 2; row += 2) {
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        const std::ptrdiff_t at = (row + c) * kBlockTokens;
        if (first == 0) fetch_line<kBlocks>(keys, key_words + at, tile.fetch);  // the values are read next
        Pairs k[kBlocks];
#pragma GCC unroll 8
        for (int b = 0; b < kBlocks; ++b) k[b] = load_pairs(keys[b] + at);
#pragma GCC unroll 8
        for (int i = 0; i < kQueries; ++i) {
          const Pairs q = broadcast_pair(queries + i * kPairStride, row + c);
#pragma GCC unroll 8
          for (int b = 0; b < kBlocks; ++b) sum[c][i][b] = fma_pairs(q, k[b], sum[c][i][b]);
        }
      }
    }
    if (last && whole < tile.head_dim) {  // the last two dimensions share a row
      const float* q = tile.queries + first * kQueryStride + whole;
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) {
        const I both = load(keys[b] + whole / 2 * kBlockTokens);
        const F even = upper_bf16(both), odd = lower_bf16(both);
#pragma GCC unroll 8
        for (int i = 0; i < kQueries; ++i) {
          sum[0][i][b] = fma(set(q[i * kQueryStride]), even, sum[0][i][b]);
          sum[1][i][b] = fma(set(q[i * kQueryStride + 1]), odd, sum[1][i][b]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 8
      for (int b = 0; b < kBlocks; ++b) {
        float* out = scores[first + i] + (from + b) * kBlockTokens;
        F s = add(sum[0][i][b], sum[1][i][b]);
        if (group > 0) s = add(load(out), s);
        store(out, last ? mul(s, set(tile.scale)) : s);
      }
  }
}

// All queries read a few blocks before the next ones.
WARPLOOM_INLINE void score_chunk(const AttentionTile& tile, const float* pairs, int from, int to,
                                 float (*scores)[kChunkTokens]) {
  const int at_once = tile.count > kMostQueries ? 2 : kChunkBlocks;
  for (int end; from < to; from = end) {
    end = from + at_once < to ? from + at_once : to;
    in_parts<kMostQueries>(
        tile.count, [&](auto queries, int first) __attribute__((always_inline)) {
          constexpr int kQueries = queries(), kAtOnce = blocks_at_once(kQueries);
          int b = from;
          for (; b + kAtOnce <= end; b += kAtOnce) score_some<kQueries, kAtOnce>(tile, pairs, first, b, scores);
          for (; b < end; ++b) score_some<kQueries, 1>(tile, pairs, first, b, scores);
        });
  }
}

// Rounds the probabilities of the blocks [first, end) to bf16, and sets those outside of the range to 0.
WARPLOOM_INLINE void round_probabilities(float* p, Range range, int first, int end) {
  const int own_first = range.from / kBlockTokens, own_end = (range.to + kBlockTokens - 1) / kBlockTokens;
  for (int b = first; b < end; ++b)
    store(p + b * kBlockTokens, b >= own_first && b < own_end ? round_bf16(load(p + b * kBlockTokens)) : zero());
}

// The values of the blocks [first, end) of a chunk. Slots that no query attends to may hold what an earlier sequence left, also NaN
// and infinities, and read as 0.
class ValueBlocks {
 public:
  int first, end;

  WARPLOOM_INLINE_MEMBER ValueBlocks(const AttentionTile& tile, Range range)
      : first(range.from / kBlockTokens),
        end((range.to + kBlockTokens - 1) / kBlockTokens),
        keys_(static_cast<std::ptrdiff_t>(tile.head_dim) * kBlockRows) {
    for (int b = first; b < end; ++b) blocks_[b] = reinterpret_cast<const std::uint32_t*>(block_at(tile.kv, b)) + keys_;
    if (range.from % kBlockTokens != 0) clear(tile.head_dim, range, first, own_[0]);
    if (range.to % kBlockTokens != 0 && (end - 1 > first || range.from % kBlockTokens == 0))
      clear(tile.head_dim, range, end - 1, own_[1]);
  }
  WARPLOOM_INLINE_MEMBER const std::uint32_t* operator[](int b) const { return blocks_[b]; }

 private:
  WARPLOOM_INLINE_MEMBER void clear(int head_dim, Range range, int b, std::uint32_t* out) {
    const std::uint32_t* in = blocks_[b];
    blocks_[b] = out;
    for (int row = 0; row < kBlockRows; ++row, in += head_dim, out += head_dim) {
      const int upper = b * kBlockTokens + row / 2 * 4 + row % 2, lower = upper + 2;
      const std::uint32_t mask = (upper >= range.from && upper < range.to ? 0xffff0000u : 0u) |
                                 (lower >= range.from && lower < range.to ? 0xffffu : 0u);
      for (int d = 0; d < head_dim; ++d) out[d] = in[d] & mask;
    }
  }

  std::ptrdiff_t keys_;
  const std::uint32_t* blocks_[kChunkBlocks];
  alignas(64) std::uint32_t own_[2][kBlockRows * kQueryStride + kLanes];  // kernels read whole vectors, also of the last row
};

// values[i] += sum of p_t * v_t over the tokens of the blocks, for 16 kVectors dimensions. pairs: probabilities, kChunkTokens apart. A function
// of its own, which leaves its loop more registers.
template <int kQueries, int kVectors>
__attribute__((noinline)) void accumulate_dims(const ValueBlocks& blocks, int head_dim, int dim, const NextBlocks* next,
                                               const float* pairs, float* const* values) {
  for (int b = blocks.first, end; b < blocks.end; b = end) {
    end = b / 2 * 2 + 2 < blocks.end ? b / 2 * 2 + 2 : blocks.end;
    F sum[2][kQueries][kVectors];  // of even and odd tokens
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c)
#pragma GCC unroll 8
      for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) sum[c][i][j] = zero();
    for (int block = b; block < end; ++block) {
      const std::uint32_t* at = blocks[block] + dim;
      FetchParts following = next ? next->during(block) : FetchParts();
      for (int row = block * kBlockRows; row < (block + 1) * kBlockRows; row += 2) {
#pragma GCC unroll 2
        for (int c = 0; c < 2; ++c, at += head_dim) {
          if (next) following.fetch_one();
          Pairs v[kVectors];
#pragma GCC unroll 4
          for (int j = 0; j < kVectors; ++j) v[j] = load_pairs(at + j * kLanes);
#pragma GCC unroll 8
          for (int i = 0; i < kQueries; ++i) {
            const Pairs p = broadcast_pair(pairs + i * kChunkTokens, row + c);
#pragma GCC unroll 4
            for (int j = 0; j < kVectors; ++j) sum[c][i][j] = fma_pairs(p, v[j], sum[c][i][j]);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kQueries; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        float* out = values[i] + dim + j * kLanes;
        store(out, add(load(out), add(sum[0][i][j], sum[1][i][j])));
      }
  }
}

}  // namespace

void attend_chunk_bf16(const AttentionTile& tile, std::int64_t chunk, float* maxima, float* sums, float* const* values) {
  alignas(64) float scores[kMaxQueries][kChunkTokens];
  Range ranges[kMaxQueries];
  const Range all = mask_ranges(tile, chunk, ranges);
  const ValueBlocks blocks(tile, all);
  if constexpr (kPairsArePacked) {
    alignas(64) float pairs[kMaxQueries][kPairStride];
    for (int i = 0; i < tile.count; ++i) pack_pairs(tile.queries + i * kQueryStride, tile.head_dim, pairs[i]);
    score_chunk(tile, pairs[0], blocks.first, blocks.end, scores);
  } else {
    score_chunk(tile, tile.queries, blocks.first, blocks.end, scores);
  }
  softmax(tile, ranges, scores, maxima, sums);
  for (int i = 0; i < tile.count; ++i) {
    round_probabilities(scores[i], ranges[i], blocks.first, blocks.end);
    pack_pairs(scores[i], kChunkTokens, scores[i]);
    for (int d = 0; d < tile.head_dim; d += kLanes) store(values[i] + d, zero());
  }
  const NextBlocks next(tile, kBlockRows);
  in_parts<kMostQueries>(
      tile.count, [&](auto queries, int first) __attribute__((always_inline)) {
        constexpr int kQueries = queries(), kVectors = vectors_at_once(kQueries);
        int dim = 0;
        for (; dim + kVectors * kLanes <= tile.head_dim; dim += kVectors * kLanes)
          accumulate_dims<kQueries, kVectors>(blocks, tile.head_dim, dim, first == 0 && dim == 0 ? &next : nullptr,
                                              scores[first], values + first);
        for (; dim < tile.head_dim; dim += kLanes)
          accumulate_dims<kQueries, 1>(blocks, tile.head_dim, dim, first == 0 && dim == 0 ? &next : nullptr, scores[first],
                                       values + first);
      });
}

}  // namespace warploom::cpu::WARPLOOM_ISA
