// Paged attention for sequences with several query tokens: causal, over the cached context and the new tokens.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head of a token. The rows of a sequence and kv head are ordered by token, and a warp takes 16
//           of them. The warps of a block share the keys and values that they copy to shared memory, 16 or 32 at a time.
//           After each 128 keys a warp merges its result into its running result in shared memory.
// Bytes:    keys and values once for each block, that is for 16 to 64 rows; queries and results once.
// Launch:   1 to 4 warps; grid (max_query_len * group / rows of a block, sequences, kv heads); the rows with the longest
//           context come first. Blocks beyond a sequence's tokens return at once.
// Limits:   as the decode kernel.
// Capture:  yes, one kernel.
// Numerics: as the decode kernel, bit for bit: both run the same WarpAttention over the same chunks.
// Source:   Dao, "FlashAttention-2", arXiv:2307.08691.
// History:  f16 queries leave their shared memory to the running results after they are loaded into registers. With 128
//           dimensions, two blocks instead of one then fit on a multiprocessor of an A100.
#include <algorithm>

#include "core/divide.h"
#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

// Warps of a block, tiles of 16 keys in a stage, and stages in flight. Chosen to fit in 99 KiB of shared memory.
template <class S, int kMaxDim>
struct PrefillShape {
  static constexpr int kSize = kMaxDim / 64 * S::kElementBytes / 2;  // of a tile; 64 dimensions of f16 are 1
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kTiles = S::kRightParts == 1 && kMaxDim * S::kLeftParts <= 128 ? 2 : 1;
  static constexpr int kStages = kMaxDim * S::kLeftParts <= 384 ? 2 : 1;
  // Queries that are in registers leave their shared memory to the running results.
  static constexpr bool kReuseQueryTile = WarpAttention<S, kMaxDim>::kQueriesInRegisters;

  __host__ __device__ static constexpr int query_bytes(int head_dim) {
    return kReuseQueryTile ? 0 : kWarps * QueryTile<S>::bytes(head_dim);
  }
  __host__ __device__ static constexpr int running_bytes(int head_dim) {
    return RunningRows::bytes(kWarps * kMmaRows, head_dim);
  }
  static constexpr int shared_bytes(int head_dim) {
    return query_bytes(head_dim) + running_bytes(head_dim) + kStages * kTiles * tile_bytes<S>(head_dim);
  }
};
static_assert(kChunkKeys % (2 * kTileKeys) == 0);
static_assert(QueryTile<HalfStorage<__half>>::bytes(128) <= kMmaRows * 4 * RunningRows::row_floats(128));

// The rows of a sequence and kv head.
struct Rows {
  std::int64_t first_token;
  int group, head, count;

  __device__ std::int64_t token(int row) const { return first_token + row / group; }
  __device__ std::int64_t element(const TensorView& rows, int row, int head_dim) const {
    return token(row) * rows.stride + std::int64_t{head + row % group} * head_dim;
  }
};

// The union of `count` ranges. All lanes of a warp must call it.
__device__ KeyRange union_of(const KeyRange* ranges, int count) {
  int first = INT_MAX, last = -1;
  for (int i = threadIdx.x % 32; i < count; i += 32) {
    if (ranges[i].first > ranges[i].last) continue;
    first = min(first, ranges[i].first);
    last = max(last, ranges[i].last);
  }
  return {__reduce_min_sync(0xffffffffu, first), __reduce_max_sync(0xffffffffu, last)};
}

template <class S, int kMaxDim>
__global__ void __launch_bounds__(32 * PrefillShape<S, kMaxDim>::kWarps)
    prefill_attention_kernel(const __grid_constant__ PagedAttentionArgs a, const __grid_constant__ bool skip_decode) {
  using Shape = PrefillShape<S, kMaxDim>;
  constexpr int kWarps = Shape::kWarps, kStages = Shape::kStages, kStageKeys = Shape::kTiles * kTileKeys;
  constexpr int kBlockRows = kWarps * kMmaRows;
  extern __shared__ __align__(16) char shared[];
  __shared__ float factors[kBlockRows];
  __shared__ KeyRange ranges[kBlockRows];
  const std::int64_t sequence = blockIdx.y;
  const int head_dim = static_cast<int>(a.cache.head_dim);
  Rows rows;
  rows.first_token = a.metadata.qo_indptr[sequence];
  rows.group = static_cast<int>(a.num_heads / a.cache.num_kv_heads);
  rows.head = static_cast<int>(blockIdx.z) * rows.group;
  const int tokens = static_cast<int>(a.metadata.qo_indptr[sequence + 1] - rows.first_token);
  rows.count = tokens * rows.group;
  const int block_row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kBlockRows;
  if (block_row >= rows.count || (skip_decode && tokens == 1)) return;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first_row = block_row + warp * kMmaRows;
  const RunningRows running(shared + Shape::query_bytes(head_dim), kBlockRows, head_dim);
  char* const query_tile =
      Shape::kReuseQueryTile ? reinterpret_cast<char*>(running.values + warp * kMmaRows * RunningRows::row_floats(head_dim))
                             : shared + warp * QueryTile<S>::bytes(head_dim);
  char* const ring = shared + Shape::query_bytes(head_dim) + Shape::running_bytes(head_dim);
  for (int i = 0; i < kMmaRows; ++i) {
    const int row = first_row + i;
    const bool there = row < rows.count;
    const KeyRange range = there ? mask_range(a.metadata.positions[rows.token(row)], a.window) : KeyRange{};
    const std::int64_t at = there && range.last >= 0 ? rows.element(a.queries, row, head_dim) : -1;
    const float factor = QueryTile<S>::store(query_tile, i, a.queries, at, head_dim);
    if (lane == 0) factors[warp * kMmaRows + i] = factor, ranges[warp * kMmaRows + i] = range;
  }
  __syncthreads();  // query tiles, factors and ranges are complete
  WarpAttention<S, kMaxDim> attention(a, query_tile);
  attention.load_queries(factors + warp * kMmaRows);
  __syncwarp();  // the warp has loaded the queries that the running results may overwrite
  running.clear(warp * kMmaRows, kMmaRows, lane, 32);
  __syncwarp();  // running results are cleared
  for (int r = 0; r < 2; ++r) attention.set_mask_range(r, ranges[warp * kMmaRows + lane / 4 + 8 * r]);

  const KeyRange all = union_of(ranges, kBlockRows), own = union_of(ranges + warp * kMmaRows, kMmaRows);
  Pages<S> pages(a, sequence, blockIdx.z, all);
  const int begin = all.first / kStageKeys * kStageKeys;
  int next = begin;
  const auto copy_next = [&](int slot) {
    if (next <= all.last) {
      if (next == begin || next % kChunkKeys == 0) pages.enter_chunk(next / kChunkKeys);
#pragma unroll
      for (int t = 0; t < Shape::kTiles; ++t)
        pages.copy_tile(ring + (slot * Shape::kTiles + t) * tile_bytes<S>(head_dim), next + t * kTileKeys, threadIdx.x,
                        32 * kWarps);
      next += kStageKeys;
    }
    end_copy_group();
  };
  for (int i = 0; i < kStages - 1; ++i) copy_next(i);
  int slot = 0, free_slot = kStages - 1;
  bool seen = false;
  for (int key = begin; key <= all.last; key += kStageKeys) {
    if (key == begin || key % kChunkKeys == 0) attention.begin_chunk();
    copy_next(free_slot);
    wait_copy_groups<kStages - 1>();
    __syncthreads();  // all threads' copies have arrived
#pragma unroll
    for (int t = 0; t < Shape::kTiles; ++t) {
      const int at = key + t * kTileKeys;
      if (at > own.last || at + kTileKeys <= own.first) continue;
      attention.attend(ring + (slot * Shape::kTiles + t) * tile_bytes<S>(head_dim), at);
      seen = true;
    }
    if (seen && ((key + kStageKeys) % kChunkKeys == 0 || key + kStageKeys > all.last)) {
      attention.end_chunk();
      attention.merge_into(running, warp * kMmaRows, kMmaRows);
      seen = false;
    }
    __syncthreads();  // all warps have read the tiles
    slot = slot + 1 == kStages ? 0 : slot + 1;
    free_slot = free_slot + 1 == kStages ? 0 : free_slot + 1;
  }

  const int vectors = head_dim / 4;
  for (int i = lane; i < kMmaRows * vectors; i += 32) {
    const int row = i / vectors, dim = i % vectors * 4;
    if (first_row + row >= rows.count) break;
    const bool padding = ranges[warp * kMmaRows + row].last < 0;
    store_four(a.out.data, a.out.type, rows.element(a.out, first_row + row, head_dim) + dim,
               padding ? float4{0.0f, 0.0f, 0.0f, 0.0f} : running.result(warp * kMmaRows + row, dim));
  }
}

}  // namespace

void launch_prefill(const PagedAttentionArgs& args, bool skip_decode, cudaStream_t stream) {
  const int head_dim = static_cast<int>(args.cache.head_dim);
  with_variant(args.cache, [&](auto storage, auto size) {
    using S = decltype(storage);
    using Shape = PrefillShape<S, size()>;
    constexpr int kBlockRows = Shape::kWarps * kMmaRows;
    const std::int64_t rows = args.metadata.max_query_len * (args.num_heads / args.cache.num_kv_heads);
    const dim3 blocks(static_cast<unsigned>(ceil_div(rows, kBlockRows)), static_cast<unsigned>(args.metadata.num_seqs),
                      static_cast<unsigned>(args.cache.num_kv_heads));
    PagedAttentionArgs copy = args;
    void* arguments[] = {&copy, &skip_decode};
    launch_attention(reinterpret_cast<const void*>(prefill_attention_kernel<S, size()>), blocks, 32 * Shape::kWarps,
                     Shape::shared_bytes(head_dim), Shape::shared_bytes(size()), arguments, "prefill_attention_kernel",
                     stream);
  });
}

}  // namespace warploom::cuda
