// Attention over pages where sequences have several query tokens: causal, over what is cached before them too.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head of a token; a sequence's rows of one kv head's group lie token by token, and a warp
//           takes 16 of them. The block's warps share the keys and values that they copy, 16 or 32 at a time, into
//           shared memory. A warp's result of each 128 keys merges into its running one, in shared memory.
// Bytes:    keys and values once for every block, that is for 16 to 64 rows; queries and results once.
// Launch:   1 to 4 warps; grid (max_query_len * group / rows of a block, sequences, kv heads), the rows that see most
//           first. Blocks beyond a sequence's tokens leave at once.
// Limits:   as the decode kernel.
// Capture:  yes, one kernel.
// Numerics: as the decode kernel, bit by bit: both run the same WarpAttention over the same chunks.
// Source:   Dao, "FlashAttention-2", arXiv:2307.08691.
// History:  queries of f16 that leave their shared memory to the running results, once they are in registers: two
//           blocks of 128 dimensions instead of one fit an A100's multiprocessor.
#include <algorithm>

#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

// Warps of a block, tiles of 16 keys that are copied together, and such copies in flight: what fits in 99 KiB.
template <class S, int kMaxDim>
struct PrefillShape {
  static constexpr int kSize = kMaxDim / 64 * S::kElementBytes / 2;  // of a tile, 64 dimensions of f16 being 1
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kTiles = S::kParts == 1 && kMaxDim * S::kLeft <= 128 ? 2 : 1;
  static constexpr int kStages = kMaxDim * S::kLeft <= 384 ? 2 : 1;
  // Queries that are held in registers leave their room to the running results.
  static constexpr bool kShared = WarpAttention<S, kMaxDim>::kHeld;

  __host__ __device__ static constexpr int query_bytes(int head_dim) {
    return kShared ? 0 : kWarps * QueryTile<S>::bytes(head_dim);
  }
  __host__ __device__ static constexpr int running_bytes(int head_dim) {
    return RunningRows::bytes(kWarps * kRows, head_dim);
  }
  static constexpr int shared_bytes(int head_dim) {
    return query_bytes(head_dim) + running_bytes(head_dim) + kStages * kTiles * tile_bytes<S>(head_dim);
  }
};
static_assert(kChunkKeys % (2 * kTileKeys) == 0);
static_assert(QueryTile<HalfStorage<__half>>::bytes(128) <= kRows * 4 * RunningRows::row_floats(128));

// Where a block's rows are in the step.
struct Rows {
  std::int64_t first_token;
  int group, head, count;  // count: of the sequence

  __device__ std::int64_t token(int row) const { return first_token + row / group; }
  __device__ std::int64_t element(const TensorView& rows, int row, int head_dim) const {
    return token(row) * rows.stride + std::int64_t{head + row % group} * head_dim;
  }
};

// The keys that any of `count` rows sees. By whole warps.
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
    prefill_attention_kernel(const __grid_constant__ PagedAttentionArgs a,
                             const __grid_constant__ bool leave_single_tokens) {
  using Shape = PrefillShape<S, kMaxDim>;
  constexpr int kWarps = Shape::kWarps, kStages = Shape::kStages, kStageKeys = Shape::kTiles * kTileKeys;
  constexpr int kBlockRows = kWarps * kRows;
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
  if (block_row >= rows.count || (leave_single_tokens && tokens == 1)) return;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first_row = block_row + warp * kRows;
  const RunningRows running(shared + Shape::query_bytes(head_dim), kBlockRows, head_dim);
  char* const query_tile = Shape::kShared
                               ? reinterpret_cast<char*>(running.values + warp * kRows * RunningRows::row_floats(head_dim))
                               : shared + warp * QueryTile<S>::bytes(head_dim);
  char* const ring = shared + Shape::query_bytes(head_dim) + Shape::running_bytes(head_dim);
  for (int i = 0; i < kRows; ++i) {
    const int row = first_row + i;
    const bool there = row < rows.count;
    const KeyRange range = there ? keys_of(a.metadata.positions[rows.token(row)], a.window) : KeyRange{};
    const std::int64_t at = there && range.last >= 0 ? rows.element(a.queries, row, head_dim) : -1;
    const float factor = QueryTile<S>::store(query_tile, i, a.queries, at, head_dim);
    if (lane == 0) factors[warp * kRows + i] = factor, ranges[warp * kRows + i] = range;
  }
  __syncthreads();  // the queries are in their tiles, every row's range is there
  WarpAttention<S, kMaxDim> attention(a, query_tile);
  attention.take_queries(factors + warp * kRows);
  __syncwarp();  // held queries have left the running results' place
  running.clear(warp * kRows, kRows, lane, 32);
  __syncwarp();  // which the whole warp finds clear
  for (int r = 0; r < 2; ++r) attention.see(r, ranges[warp * kRows + lane / 4 + 8 * r]);

  const KeyRange all = union_of(ranges, kBlockRows), own = union_of(ranges + warp * kRows, kRows);
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
    __syncthreads();  // every thread's part of the tiles is there
#pragma unroll
    for (int t = 0; t < Shape::kTiles; ++t) {
      const int at = key + t * kTileKeys;
      if (at > own.last || at + kTileKeys <= own.first) continue;
      attention.attend(ring + (slot * Shape::kTiles + t) * tile_bytes<S>(head_dim), at);
      seen = true;
    }
    if (seen && ((key + kStageKeys) % kChunkKeys == 0 || key + kStageKeys > all.last)) {
      attention.end_chunk();
      attention.merge_into(running, warp * kRows, kRows);
      seen = false;
    }
    __syncthreads();  // every warp is done with the tiles
    slot = slot + 1 == kStages ? 0 : slot + 1;
    free_slot = free_slot + 1 == kStages ? 0 : free_slot + 1;
  }

  const int vectors = head_dim / 4;
  for (int i = lane; i < kRows * vectors; i += 32) {
    const int row = i / vectors, dim = i % vectors * 4;
    if (first_row + row >= rows.count) break;
    const bool padding = ranges[warp * kRows + row].last < 0;
    store_four(a.out.data, a.out.type, rows.element(a.out, first_row + row, head_dim) + dim,
               padding ? float4{0.0f, 0.0f, 0.0f, 0.0f} : running.result(warp * kRows + row, dim));
  }
}

}  // namespace

void launch_prefill(const PagedAttentionArgs& args, bool leave_single_tokens, cudaStream_t stream) {
  const int head_dim = static_cast<int>(args.cache.head_dim);
  with_variant(args.cache, [&](auto storage, auto size) {
    using S = decltype(storage);
    using Shape = PrefillShape<S, size()>;
    constexpr int kBlockRows = Shape::kWarps * kRows;
    const std::int64_t rows = args.metadata.max_query_len * (args.num_heads / args.cache.num_kv_heads);
    const dim3 blocks(static_cast<unsigned>((rows + kBlockRows - 1) / kBlockRows),
                      static_cast<unsigned>(args.metadata.num_seqs), static_cast<unsigned>(args.cache.num_kv_heads));
    PagedAttentionArgs copy = args;
    void* arguments[] = {&copy, &leave_single_tokens};
    launch_attention(reinterpret_cast<const void*>(prefill_attention_kernel<S, size()>), blocks, 32 * Shape::kWarps,
                     Shape::shared_bytes(head_dim), Shape::shared_bytes(size()), arguments, "prefill_attention_kernel",
                     stream);
  });
}

}  // namespace warploom::cuda
