// Paged attention for sequences with many rows: causal, over the cached context and the new tokens.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head of a token. The rows of a sequence and kv head are ordered by token, and a warp takes 16
//           of them. The warps of a block share the keys and values that they copy to shared memory, 16 or 32 at a time.
//           After each 128 keys a warp merges its result into its running result in shared memory, and after each 2048 that
//           into a total in the workspace. If there are few rows, each 2048 keys, a fold, are another block's: the last one to
//           finish merges the folds of its rows in order.
// Bytes:    keys and values once for each block, that is for 16 to 64 rows; queries and results once; 4 * (head_dim + 2) bytes
//           for each row and 2048 keys beyond the first, read and written.
// Launch:   1 to 4 warps; as many blocks as run at once, or fewer items: rows of a block. Those of a sequence that have the
//           longest context come first, for all kv heads, and blocks take them back and forth: who got the longest of a round
//           gets the shortest of the next.
// Limits:   as the decode kernel. A NaN or an infinity among a sequence's values also reaches rows before its position, up to the end of the
//           16 or 32 keys in which the last row of their warp ends: masks give it the probability 0, and 0 * NaN is NaN. The rows of a
//           warp share the values that mma multiplies, so they cannot be cleared for some of its rows. Finite values reach no such row.
// Capture:  yes, one kernel.
// Numerics: as the decode kernel, bit for bit: both run the same WarpAttention over the same chunks.
// Source:   Dao, "FlashAttention-2", arXiv:2307.08691.
// History:  f16 queries leave their shared memory to the running results after they are loaded into registers. With 128
//           dimensions, two blocks instead of one then fit on a multiprocessor of an A100.
#include <algorithm>

#include "core/divide.h"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"
#include "cuda/toolkit/attention/work_list.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxBlocks = 1024;                                      // more than run at once on any GPU
static_assert(kMaxBlocks * sizeof(unsigned) <= kAttentionZeroBytes);  // there is a counter for each

// Blocks of 128 dimensions that shared memory has room for on a multiprocessor: three of a compute capability of 9.x to 11.x, at
// most two of others. To compile for three there would cost registers in vain.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)
constexpr int kFittingBlocks = 2;
#else
constexpr int kFittingBlocks = 3;
#endif

// Warps of a block, tiles of 16 keys in a stage, and stages in flight. Chosen to fit in 99 KiB of shared memory.
template <class S, class Dim>
struct PrefillShape {
  static constexpr int kSize = ceil_div(Dim::kMax, 64) * S::kElementBytes / 2;  // of a tile; 64 dimensions of f16 are 1
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kThreads = 32 * kWarps, kBlockRows = kWarps * kMmaRows;
  static constexpr int kMinBlocks = !Dim::kPlain || S::kLeftParts > 1 || Dim::kMax > 128 ? 1
                                    : Dim::kMax > 64                                     ? kFittingBlocks
                                                                                         : 4;
  static constexpr int kTiles = S::kRightParts == 1 && Dim::kMax * S::kLeftParts <= 128 ? 2 : 1;
  static constexpr int kStages = Dim::kMax * S::kLeftParts <= 384 ? 2 : 1;
  // Queries that are in registers leave their shared memory to the running results.
  static constexpr bool kReuseQueryTile = WarpAttention<S, Dim>::kQueriesInRegisters;

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
static_assert(QueryTile<HalfStorage<__nv_bfloat16>>::bytes(128) <= kMmaRows * 4 * RunningRows::row_floats(128));

// What there is to do for a sequence: an item is the rows of a block, those with the longest context first, and a kv head; if
// contexts are split, and one fold of its keys.
struct PrefillWork {
  StepTokens step;
  int row_blocks = 0, first_fold = 0, folds = 1;

  __device__ PrefillWork(const PagedAttentionArgs& a, int sequence, int block_rows) : step(a, sequence) {
    if (step.count == 0 || step.is_decode()) return;
    row_blocks = ceil_div(step.rows, block_rows);
    KeyRange range = mask_range(a.metadata.positions[step.first], a.window);
    range.include(mask_range(a.metadata.positions[step.first + step.count - 1], a.window));
    if (range.empty()) return;
    first_fold = range.first / kFoldKeys;
    folds = range.last / kFoldKeys - first_fold + 1;
  }
};

// What goes through the workspace.
struct PrefillWorkspace {
  unsigned* counters;  // [rows of a block of a kv head], if contexts are split
  Partials slots;      // [item] then, else [block], a total
  int max_items;       // with more, contexts are not split
};

// An item of a block. In shared memory: registers are for the products.
struct PrefillItem {
  int sequence, kv_head;
  HeadRows rows;
  int count;        // rows from rows.first to the sequence's last
  KeyRange keys;    // all, or those of a fold
  int slot, owner;  // -1: contexts are not split. owner: counter
};

// The union of `count` ranges. All lanes of a warp must call it.
__device__ KeyRange union_of(const KeyRange* ranges, int count) {
  KeyRange all = kNoKeys;
  for (int i = threadIdx.x % 32; i < count; i += 32) all.include(ranges[i]);
  return {__reduce_min_sync(0xffffffffu, all.first), __reduce_max_sync(0xffffffffu, all.last)};
}

// Merges a warp's running rows into the block's slot, or puts them there if it has no total yet, and clears them.
__device__ void add_to_total(const RunningRows& running, const Partials& totals, int first_row, bool has_total) {
  const int lane = threadIdx.x % 32, slot = static_cast<int>(blockIdx.x);
  const auto merged = [&](int row, int dim) {
    PartialFour x;
    if (has_total) x = totals.get(slot, row, dim);
    x.merge_in(running.get(row, dim));
    return x;
  };
  for_each_four(kMmaRows, running.head_dim, lane, 32, [&](int row, int dim) {
    *reinterpret_cast<float4*>(totals.values(slot, first_row + row) + dim) = merged(first_row + row, dim).values;
  });
  __syncwarp();  // all values are merged by the old states
  if (lane < kMmaRows) totals.states(slot)[first_row + lane] = merged(first_row + lane, 0).state;
  __syncwarp();  // the running rows have been read, the total may be
  running.clear(first_row, kMmaRows, lane, 32);
  __syncwarp();  // running results are cleared
}

template <class S, class Dim>
__device__ void attend_item(const PagedAttentionArgs& a, const PrefillWorkspace& workspace, const PrefillItem& item,
                            char* shared) {
  using Shape = PrefillShape<S, Dim>;
  constexpr int kWarps = Shape::kWarps, kStages = Shape::kStages, kStageKeys = Shape::kTiles * kTileKeys;
  constexpr int kBlockRows = Shape::kBlockRows;
  __shared__ float factors[kBlockRows];
  __shared__ KeyRange ranges[kBlockRows];
  const HeadRows& rows = item.rows;
  const int head_dim = Dim::of(a.cache), count = item.count;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first_row = warp * kMmaRows;
  const RunningRows running(shared + Shape::query_bytes(head_dim), kBlockRows, head_dim);
  char* const query_tile = Shape::kReuseQueryTile
                               ? reinterpret_cast<char*>(running.values + first_row * RunningRows::row_floats(head_dim))
                               : shared + warp * QueryTile<S>::bytes(head_dim);
  char* const ring = shared + Shape::query_bytes(head_dim) + Shape::running_bytes(head_dim);
  const int own_row = first_row + lane;  // a lane finds one row's keys and queries
  const KeyRange own_range =
      lane < kMmaRows && own_row < count ? mask_range(a.metadata.positions[rows.token(own_row)], a.window) : kNoKeys;
  if (lane < kMmaRows) ranges[own_row] = own_range;
  __syncthreads();  // ranges are complete
  const KeyRange context = union_of(ranges, kBlockRows), all = context.within(item.keys),
                 own = union_of(ranges + first_row, kMmaRows).within(item.keys);
  if (all.empty() && !context.empty()) return;  // the fold is not of these rows' contexts

  // The first keys and values are on their way while the queries are read.
  Pages<S, Dim> pages(a, item.kv_head, all);
  const int begin = all.empty() ? 0 : all.first / kStageKeys * kStageKeys;
  int next = begin;
  pages.read_ahead(a.metadata, item.sequence, begin / kChunkKeys);
  const auto copy_next = [&](int slot) {
    if (next <= all.last) {
      if (next == begin || next % kChunkKeys == 0) pages.enter_next_chunk(a.metadata, item.sequence, next / kChunkKeys);
#pragma unroll
      for (int t = 0; t < Shape::kTiles; ++t)
        pages.template copy_tile<32 * kWarps>(ring + (slot * Shape::kTiles + t) * tile_bytes<S>(head_dim),
                                              next + t * kTileKeys, threadIdx.x);
      next += kStageKeys;
    }
    end_copy_group();
  };
  for (int i = 0; i < kStages - 1; ++i) copy_next(i);
  const std::int64_t query = own_range.empty() ? -1 : rows.element(a.queries, own_row, head_dim);
  const float factor = QueryTile<S>::template store<Dim, kMmaRows>(query_tile, 0, a.queries, query, head_dim);
  if (lane < kMmaRows) factors[own_row] = factor;
  __syncwarp();  // the query tile and factors are complete
  WarpAttention<S, Dim> attention(a, query_tile);
  attention.load_queries(factors + first_row);
  __syncwarp();  // the warp has loaded the queries that the running results may overwrite
  running.clear(first_row, kMmaRows, lane, 32);
  __syncwarp();  // running results are cleared
  attention.set_mask_ranges(ranges + first_row);
  int slot = 0, free_slot = kStages - 1;
  bool has_total = false;
  for (int chunk_end = begin / kChunkKeys * kChunkKeys + kChunkKeys, key = begin; key <= all.last; chunk_end += kChunkKeys) {
    attention.begin_chunk();
    bool seen = false;
    for (; key < chunk_end && key <= all.last; key += kStageKeys) {
      if constexpr (kStages == 1) {
        __syncthreads();  // all warps have read the tiles before
        copy_next(0);
        wait_copy_groups<0>();
        __syncthreads();  // all threads' copies have arrived
      } else {
        wait_copy_groups<kStages - 2>();
        __syncthreads();  // all threads' copies have arrived, all warps have read the tiles before
        copy_next(free_slot);
      }
      if (key <= own.last && key + kStageKeys > own.first) {
        attention.template attend<Shape::kTiles>(ring + slot * Shape::kTiles * tile_bytes<S>(head_dim), key);
        seen = true;
      }
      slot = slot + 1 == kStages ? 0 : slot + 1;
      free_slot = free_slot + 1 == kStages ? 0 : free_slot + 1;
    }
    if (seen) {
      attention.end_chunk();
      attention.merge_into(running, first_row, kMmaRows);
    }
    if (chunk_end % kFoldKeys == 0 && chunk_end <= all.last) {
      add_to_total(running, workspace.slots, first_row, has_total);
      has_total = true;
    }
  }

  const int warp_rows = min(count - first_row, kMmaRows), block = static_cast<int>(blockIdx.x);
  const auto write = [&](auto&& get) {
    for_each_four(warp_rows, head_dim, lane, 32, [&](int i, int dim) {
      const int row = first_row + i;
      store_four(a.out.data, a.out.type, rows.element(a.out, row, head_dim) + dim,
                 ranges[row].empty() ? float4{0.0f, 0.0f, 0.0f, 0.0f} : get(row, dim).result());
    });
  };
  const int fold = all.first / kFoldKeys, first_fold = context.first / kFoldKeys;
  const int folds = context.empty() ? 1 : context.last / kFoldKeys - first_fold + 1;
  if (has_total)
    return write([&](int row, int dim) {
      PartialFour total = workspace.slots.get(block, row, dim);
      total.merge_in(running.get(row, dim));
      return total;
    });
  if (item.slot < 0 || folds == 1) return write([&](int row, int dim) { return running.get(row, dim); });
  for_each_four(warp_rows, head_dim, lane, 32, [&](int i, int dim) {
    workspace.slots.put(item.slot, first_row + i, dim, running.get(first_row + i, dim));
  });
  if (!arrives_last(workspace.counters + item.owner, folds)) return;
  const int first_slot = item.slot - (fold - first_fold);
  write([&](int row, int dim) { return workspace.slots.merge_slots(first_slot, folds, row, dim); });
}

template <class S, class Dim>
__global__ void __launch_bounds__(PrefillShape<S, Dim>::kThreads, PrefillShape<S, Dim>::kMinBlocks)
    prefill_attention_kernel(const __grid_constant__ PagedAttentionArgs a,
                             const __grid_constant__ PrefillWorkspace workspace) {
  using Shape = PrefillShape<S, Dim>;
  extern __shared__ __align__(16) char shared[];
  __shared__ WorkList<Shape::kThreads> list;
  const int sequences = static_cast<int>(a.metadata.num_seqs), kv_heads = static_cast<int>(a.cache.num_kv_heads);
  const int group = static_cast<int>(a.num_heads) / kv_heads;
  bool split = true;
  const auto amount = [&](int sequence) {
    const PrefillWork work(a, sequence, Shape::kBlockRows);
    const int row_blocks = work.row_blocks * kv_heads;
    return WorkAmount{split ? row_blocks * work.folds : row_blocks, row_blocks};
  };
  list.sum(sequences, amount);
  if (list.items() > workspace.max_items) {  // many rows: blocks have enough to do without
    split = false;
    __syncthreads();  // all threads have read the list
    list.sum(sequences, amount);
  }
  wait_for_launch_ahead();  // up to here only the step's input is read
  allow_next_launch();
  __shared__ PrefillItem item;
  const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
  for (int round = 0; round * blocks < list.items(); ++round) {
    const int i = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
    if (i >= list.items()) break;  // only in the last round
    if (threadIdx.x == 0) {
      const WorkPlace place = list.find(i, sequences, amount);
      const PrefillWork work(a, place.sequence, Shape::kBlockRows);
      const int parts = split ? work.folds : 1, rows_at = place.item / parts, kv_head = rows_at % kv_heads;
      const int first_row = (work.row_blocks - 1 - rows_at / kv_heads) * Shape::kBlockRows;
      const int fold = work.first_fold + place.item % parts;
      item = {place.sequence, kv_head, {work.step.first, group, kv_head * group, first_row}, work.step.rows - first_row};
      item.keys = parts > 1 ? KeyRange{fold * kFoldKeys, fold * kFoldKeys + kFoldKeys - 1} : KeyRange{0, INT_MAX};
      item.slot = parts > 1 ? i : -1;
      item.owner = place.tiles + rows_at;
    }
    __syncthreads();  // the item is there
    attend_item<S, Dim>(a, workspace, item, shared);
    __syncthreads();  // all threads have read the item, its shared memory is free
  }
}

// Upper bounds that the host knows.
struct PrefillPlan {
  std::int64_t all_items, items, slots = 0;  // all_items: if contexts were split, as blocks count them at first

  PrefillPlan(const PagedAttentionArgs& a, int block_rows) {
    const AttentionMetadata& m = a.metadata;
    const std::int64_t group = a.num_heads / a.cache.num_kv_heads, rows = m.num_tokens * group;
    const std::int64_t sequences = std::min(m.num_seqs, ceil_div(rows, kMaxDecodeRows + 1));
    const std::int64_t folds = ceil_div(m.max_blocks_per_seq * a.cache.block_size, kFoldKeys);
    const std::int64_t row_blocks =
        a.cache.num_kv_heads *
        std::min(sequences * ceil_div(m.max_query_len * group, block_rows), rows / block_rows + sequences);
    all_items = row_blocks * folds;
    items = std::min<std::int64_t>(all_items, std::max<std::int64_t>(row_blocks, kMaxBlocks));
    if (folds > 1 && m.max_query_len > 1) slots = std::min<std::int64_t>(items, kMaxBlocks);
  }
};

}  // namespace

std::int64_t prefill_items(const PagedAttentionArgs& args) {
  return with_variant(args, [&](auto storage, auto dim) {
    return PrefillPlan(args, PrefillShape<decltype(storage), decltype(dim)>::kBlockRows).all_items;
  });
}

std::size_t prefill_workspace_bytes(const PagedAttentionArgs& args) {
  return with_variant(args, [&](auto storage, auto dim) {
    constexpr int kBlockRows = PrefillShape<decltype(storage), decltype(dim)>::kBlockRows;
    return static_cast<std::size_t>(PrefillPlan(args, kBlockRows).slots *
                                    Partials::slot_floats(kBlockRows, args.cache.head_dim)) *
           sizeof(float);
  });
}

void launch_prefill(const PagedAttentionArgs& args, const LaunchStream& stream) {
  const int head_dim = static_cast<int>(args.cache.head_dim);
  with_variant(args, [&](auto storage, auto dim) {
    using S = decltype(storage);
    using Shape = PrefillShape<S, decltype(dim)>;
    const PrefillPlan plan(args, Shape::kBlockRows);
    PagedAttentionArgs copy = args;
    PrefillWorkspace workspace{static_cast<unsigned*>(args.workspace.data),
                               {attention_partials(args.workspace), Shape::kBlockRows, head_dim},
                               plan.slots > 0 ? static_cast<int>(plan.slots) : INT_MAX};
    void* arguments[] = {&copy, &workspace};
    launch_attention({reinterpret_cast<const void*>(prefill_attention_kernel<S, decltype(dim)>),
                      std::min<std::int64_t>(plan.items, kMaxBlocks), Shape::kThreads, Shape::shared_bytes(head_dim),
                      Shape::shared_bytes(dim.kMax), "prefill_attention_kernel"},
                     arguments, stream);
  });
}

}  // namespace warploom::cuda
