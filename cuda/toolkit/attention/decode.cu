// Paged attention for sequences with few rows: one query token, or some more, as when drafts are verified. All blocks share the
// keys of all contexts alike, however many sequences there are and however long each is.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head of a token. Up to 16 rows of one kv head form a tile, so that a group reads its keys and
//           values once. A warp takes chunks of 128 keys and copies 16 of them at a time into its own shared memory while it
//           multiplies the previous 16. An item of work is a tile and one chunk for each warp; a block has a range of all
//           items, whose bounds follow from the number of items alone.
// Merging:  16 chunks at a multiple of 2048 keys are merged in order, a fold; then the folds of a context are. If a block has
//           all of a fold, it does so in shared memory, else the last block to finish a part of it, through the workspace. The
//           same holds for the folds of a context.
// Bytes:    keys and values once for every 16 rows; queries once for each block that has some of their items; results once; 4
//           bytes for each page of the context. 4 * (head_dim + 2) bytes for each row of a chunk or fold that goes through the
//           workspace, written and read once.
// Launch:   1 to 4 warps; as many blocks as run at once, or fewer items.
// Limits:   head_dim a multiple of 16, <= 256; block_size 8, 16 or 32.
// Capture:  yes, one kernel; positions may change between replays. The kernel leaves the workspace's counters at 0.
// Numerics: mma.sync products with f32 sums. f16: queries and probabilities are rounded to f16; bf16: to sums of two bf16,
//           or to bf16 with round_to_bf16; f32: everything is a sum of three bf16. The errors are 1e-3, 1.5e-5, 1.2e-2 and up to
//           1.1e-5 (sm_90 and later: 7e-6) for normally distributed queries, keys and values; f32's are what tensor cores cut off of
//           sums (arXiv:2511.10909). A row's bits depend only on its own position and context, not on how the context is split.
// Source:   online softmax: Milakov and Gimelshein, arXiv:1805.02867; split contexts: Dao et al., "Flash-Decoding",
//           2023.
#include <algorithm>

#include "core/divide.h"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/toolkit/attention/decode_work.cuh"
#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxBlocks = 512;                                           // more than run at once on any GPU
static_assert(2 * kMaxBlocks * sizeof(unsigned) == kAttentionZeroBytes);  // counters of folds and of tiles

// Warps of a block, and key tiles in flight for each warp. Chosen to fit in 99 KiB of shared memory, the smallest limit of
// all supported GPUs.
template <class S, class Dim>
struct DecodeShape {
  // Of a tile; 64 dimensions of f16 are 1. Doubled for bf16 with 256 dimensions, whose two-part queries need that much
  // again.
  static constexpr int kSize =
      ceil_div(Dim::kMax, 64) * S::kElementBytes / 2 * (S::kLeftParts == 2 && Dim::kMax == 256 ? 2 : 1);
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kMinBlocks = !Dim::kPlain || S::kLeftParts > 1 || Dim::kMax > 128 ? 1 : Dim::kMax > 64 ? 2 : 3;
  static constexpr int kStages = kSize == 1 ? 3 : kSize <= 4 || S::kRightParts == 1 ? 2 : 1;

  // Queries that are in registers leave their shared memory to the running results.
  __host__ __device__ static constexpr int front_bytes(int rows, int head_dim) {
    const int queries = QueryTile<S>::bytes(head_dim), running = RunningRows::bytes(rows, head_dim);
    if (!WarpAttention<S, Dim>::kQueriesInRegisters) return queries + running;
    return queries > running ? queries : running;
  }
  __host__ __device__ static constexpr int shared_bytes(int rows, int head_dim) {
    return front_bytes(rows, head_dim) + kWarps * kStages * tile_bytes<S>(head_dim);
  }
};

// Where results go that are not complete within a block.
struct DecodeWorkspace {
  unsigned* counters;  // [2, kMaxBlocks]: of folds, then of tiles, each at the first block that has a part
  Partials chunks;     // [a fold's first block, chunk of the fold]
  Partials folds;      // [tile, or a tile's first block if there are more tiles than blocks; fold]
  Partials totals;     // [block]: of the folds so far of a tile whose folds are all the block's
  int max_folds;
  bool by_tile;
};

// Copies the tiles of all chunks of a warp up to key `last`, ahead of its products. The chunks are `step` apart.
template <class S, class Dim, int kStep>
class TileStream {
 public:
  __device__ TileStream(const PagedAttentionArgs& a, const Pages<S, Dim>& pages, int sequence, int last, int chunk)
      : pages_(pages), last_(last), chunk_(chunk) {
    enter(a, sequence);
  }
  __device__ static int first_key(int chunk, const KeyRange& range) {
    return max(chunk * kChunkKeys, range.first / kTileKeys * kTileKeys);
  }
  __device__ void copy_next(const PagedAttentionArgs& a, int sequence, char* tile) {
    if (key_ <= last_) {
      pages_.template copy_tile<32>(tile, key_, threadIdx.x % 32);
      key_ += kTileKeys;
      if (key_ % kChunkKeys == 0) {
        chunk_ += kStep;
        enter(a, sequence);
      }
    }
    end_copy_group();
  }

 private:
  __device__ void enter(const PagedAttentionArgs& a, int sequence) {
    const KeyRange& range = pages_.range();
    if ((chunk_ + 1) * kChunkKeys <= range.first) chunk_ += kStep;  // the group's first chunks may be before the window
    key_ = first_key(chunk_, range);
    if (key_ <= last_) pages_.enter_chunk(a.metadata, sequence, chunk_);
  }

  Pages<S, Dim> pages_;
  int last_, chunk_, key_;
};

// Stores a warp's chunk.
template <class Warp>
__device__ void put_chunk(const Partials& chunks, int slot, int rows, const Warp& warp) {
  warp.for_each_row(
      rows,
      [&](int row, const SoftmaxState& state) {
        if (threadIdx.x % 4 == 0) chunks.states(slot)[row] = state;
      },
      [&](int row, int dim, float2 x) { *reinterpret_cast<float2*>(chunks.values(slot, row) + dim) = x; });
}

// Items [first, first + count) of a tile, which all are this block's. In shared memory: registers are for the products.
template <int kWarps>
struct TileRun {
  Shares shares;
  DecodeWork<kWarps> work;  // of the sequence
  int sequence, kv_head;
  HeadRows tile;
  int rows;  // of the tile
  int first_group, last_group;
  int begin;    // the tile's first item among all items
  int ordinal;  // the tile's place among all tiles
  bool done;    // with the block's items

  __device__ bool is_whole() const { return last_group - first_group + 1 == work.groups; }
};

template <class S, class Dim>
__device__ void attend_run(const PagedAttentionArgs& a, const DecodeWorkspace& workspace,
                           const TileRun<DecodeShape<S, Dim>::kWarps>& run, char* shared) {
  using Shape = DecodeShape<S, Dim>;
  constexpr int kWarps = Shape::kWarps, kStages = Shape::kStages, kThreads = Shape::kThreads;
  using Work = DecodeWork<kWarps>;
  __shared__ float factors[kMmaRows];
  __shared__ KeyRange ranges[kMmaRows];
  const Work& work = run.work;
  const Shares& shares = run.shares;
  const KeyRange& range = work.range;
  const int warp = threadIdx.x / 32, head_dim = Dim::of(a.cache);
  // Cheaper to find again than to keep.
  const auto running_rows = [&] {
    char* const at = shared + (WarpAttention<S, Dim>::kQueriesInRegisters ? 0 : QueryTile<S>::bytes(Dim::of(a.cache)));
    return RunningRows(at, workspace.chunks.rows, Dim::of(a.cache));
  };
  const int ring = Shape::front_bytes(workspace.chunks.rows, head_dim) + warp * kStages * tile_bytes<S>(head_dim);

  using Stream = TileStream<S, Dim, kWarps>;
  Stream stream(a, Pages<S, Dim>(a, run.kv_head, range), run.sequence,
                min(range.last, run.last_group * Work::kGroupKeys + Work::kGroupKeys - 1), run.first_group * kWarps + warp);
  for (int i = 0; i < kStages - 1; ++i) stream.copy_next(a, run.sequence, shared + ring + i * tile_bytes<S>(head_dim));
  {
    constexpr int kRows = kMmaRows / kWarps;
    const int lane = threadIdx.x % 32, first_row = warp * kRows, row = first_row + lane;  // a lane finds one row
    const KeyRange own =
        lane < kRows && row < run.rows ? mask_range(a.metadata.positions[run.tile.token(row)], a.window) : kNoKeys;
    const std::int64_t at = own.empty() ? -1 : run.tile.element(a.queries, row, head_dim);
    const float factor = QueryTile<S>::template store<Dim, kRows>(shared, first_row, a.queries, at, head_dim);
    if (lane < kRows) factors[row] = factor, ranges[row] = own;
  }
  __syncthreads();  // the query tile, factors and ranges are complete
  WarpAttention<S, Dim> attention(a, shared);
  attention.load_queries(factors);
  attention.set_mask_ranges(ranges);
  __syncthreads();  // all warps have loaded the queries that the running results may overwrite
  running_rows().clear(0, run.rows, threadIdx.x, kThreads);
  __syncthreads();  // running results are cleared

  const auto write = [&](auto&& get) {
    for_each_four(run.rows, head_dim, threadIdx.x, kThreads, [&](int row, int dim) {
      const float4 x = ranges[row].empty() ? float4{0.0f, 0.0f, 0.0f, 0.0f} : get(row, dim).result();
      store_four(a.out.data, a.out.type, run.tile.element(a.out, row, head_dim) + dim, x);
    });
  };
  // Completes a fold of which get(row, dim) has the values.
  const auto complete = [&](int fold, auto&& get) {
    const int folds = work.folds(), first_fold = work.first_fold();
    if (folds == 1) return write(get);
    const int owner = shares.block_of(run.begin);
    const int slot = (workspace.by_tile ? run.ordinal : owner) * workspace.max_folds;
    for_each_four(run.rows, head_dim, threadIdx.x, kThreads,
                  [&](int row, int dim) { workspace.folds.put(slot + fold - first_fold, row, dim, get(row, dim)); });
    if (arrives_last(workspace.counters + kMaxBlocks + owner, folds))
      write([&](int row, int dim) { return workspace.folds.merge_slots(slot, folds, row, dim); });
  };
  // The same of a tile of which this block has all folds, in order.
  const auto add_to_total = [&](int fold) {
    const int slot = static_cast<int>(blockIdx.x), first_fold = work.first_fold();
    const auto get = [&](int row, int dim) {
      PartialFour x;
      if (fold > first_fold) x = workspace.totals.get(slot, row, dim);
      x.merge_in(running_rows().get(row, dim));
      return x;
    };
    if (fold == first_fold + work.folds() - 1) return write(get);
    for_each_four(run.rows, head_dim, threadIdx.x, kThreads, [&](int row, int dim) {
      *reinterpret_cast<float4*>(workspace.totals.values(slot, row) + dim) = get(row, dim).values;
    });
    __syncthreads();  // all values are merged by the old states
    if (threadIdx.x < run.rows) workspace.totals.states(slot)[threadIdx.x] = get(threadIdx.x, 0).state;
  };

  int slot = 0;
  for (int g = run.first_group; g <= run.last_group; ++g) {
    const int chunk = g * kWarps + warp;
    const bool mine = !range.empty() && chunk >= range.first / kChunkKeys && chunk <= range.last / kChunkKeys;
    if (mine) {
      attention.begin_chunk();
      const int end = min(range.last, chunk * kChunkKeys + kChunkKeys - 1);
      for (int key = Stream::first_key(chunk, range); key <= end; key += kTileKeys) {
        const int free_slot = slot == 0 ? kStages - 1 : slot - 1;
        stream.copy_next(a, run.sequence, shared + ring + free_slot * tile_bytes<S>(head_dim));
        wait_copy_groups<kStages - 1>();
        __syncwarp();  // all lanes' copies have arrived
        attention.template attend<1>(shared + ring + slot * tile_bytes<S>(head_dim), key);
        __syncwarp();  // all lanes have read the tile
        slot = slot + 1 == kStages ? 0 : slot + 1;
      }
      attention.end_chunk();
    }
    const int fold = g / Work::kFoldGroups;
    const int fold_begin = max(fold * Work::kFoldGroups, work.first_group);
    const int fold_end = min(fold * Work::kFoldGroups + Work::kFoldGroups, work.first_group + work.groups) - 1;
    if (fold_begin >= run.first_group && fold_end <= run.last_group) {
      for (int merging_warp = 0; merging_warp < kWarps; ++merging_warp) {
        if (mine && merging_warp == warp) attention.merge_into(running_rows(), 0, run.rows);
        __syncthreads();  // the previous chunk is merged
      }
      if (g < fold_end) continue;
      if (run.is_whole() && work.folds() > 1)
        add_to_total(fold);
      else
        complete(fold, [&](int row, int dim) { return running_rows().get(row, dim); });
      if (g == run.last_group) return;
      __syncthreads();  // all threads have read the running results
      running_rows().clear(0, run.rows, threadIdx.x, kThreads);
      __syncthreads();  // running results are cleared
      continue;
    }
    // Other blocks have chunks of the fold too.
    const int begin = run.begin + fold_begin - work.first_group, end = run.begin + fold_end - work.first_group;
    const int owner = shares.block_of(begin), chunks_at = owner * kFoldChunks;
    if (mine) put_chunk(workspace.chunks, chunks_at + chunk % kFoldChunks, run.rows, attention);
    if (g < fold_end && g < run.last_group) continue;
    if (!arrives_last(workspace.counters + owner, shares.block_of(end) - owner + 1)) continue;
    // The first warp still has a chunk in registers, which need not be read again.
    const int first = max(range.first / kChunkKeys, fold * kFoldChunks),
              last = min(range.last / kChunkKeys, fold * kFoldChunks + kFoldChunks - 1), kept = g * kWarps;
    if (warp == 0 && mine) attention.merge_into(running_rows(), 0, run.rows);
    __syncthreads();  // running results are the kept chunk
    complete(fold, [&](int row, int dim) {
      return merge_in_order(last - first + 1, [&](int i) {
        return first + i == kept ? running_rows().get(row, dim)
                                 : workspace.chunks.get(chunks_at + (first + i) % kFoldChunks, row, dim);
      });
    });
    if (g == run.last_group) return;
    __syncthreads();  // all threads have read the running results
    running_rows().clear(0, run.rows, threadIdx.x, kThreads);
    __syncthreads();  // running results are cleared
  }
}

template <class S, class Dim>
__global__ void __launch_bounds__(DecodeShape<S, Dim>::kThreads, DecodeShape<S, Dim>::kMinBlocks)
    decode_attention_kernel(const __grid_constant__ PagedAttentionArgs a,
                            const __grid_constant__ DecodeWorkspace workspace) {
  using Shape = DecodeShape<S, Dim>;
  using Work = DecodeWork<Shape::kWarps>;
  extern __shared__ __align__(16) char shared[];
  __shared__ WorkList<Shape::kThreads> list;
  const int sequences = static_cast<int>(a.metadata.num_seqs), block = static_cast<int>(blockIdx.x);
  const auto amount = [&](int sequence) { return Work(a, sequence).amount(); };
  list.sum(sequences, amount);
  const Shares shares{list.items(), min(list.items(), static_cast<int>(gridDim.x))};
  __shared__ TileRun<Shape::kWarps> run;
  __shared__ WorkPlace place;
  __shared__ int at;
  if (threadIdx.x == 0 && block < shares.blocks) {
    at = shares.begin(block);
    place = list.find(at, sequences, amount);
    run.shares = shares;
    run.work = Work(a, place.sequence);
  }
  wait_for_launch_ahead();  // up to here only the step's input is read
  allow_next_launch();
  if (block >= shares.blocks) return;
  while (true) {
    if (threadIdx.x == 0) {
      while (place.item >= run.work.tiles * run.work.groups) {
        place.item -= run.work.tiles * run.work.groups, place.tiles += run.work.tiles;
        run.work = Work(a, ++place.sequence);
      }
      const int group = static_cast<int>(a.num_heads / a.cache.num_kv_heads), groups = run.work.groups;
      const int tile = place.item / groups, first = place.item % groups, end = shares.begin(block + 1);
      const int count = min(groups - first, end - at);
      const int tiles = ceil_div(run.work.step.rows, kMmaRows), first_row = tile % tiles * kMmaRows;
      run.sequence = place.sequence, run.kv_head = tile / tiles;
      run.tile = {run.work.step.first, group, run.kv_head * group, first_row};
      run.rows = min(run.work.step.rows - first_row, kMmaRows);
      run.first_group = run.work.first_group + first, run.last_group = run.first_group + count - 1;
      run.begin = at - first, run.ordinal = place.tiles + tile;
      run.done = at + count == end;
      at += count, place.item += count;
    }
    __syncthreads();  // the run is there
    attend_run<S, Dim>(a, workspace, run, shared);
    if (run.done) return;
    __syncthreads();  // all threads have read the run, its shared memory is free
  }
}

// Launch and workspace, as far as the host knows them: upper bounds.
struct DecodePlan {
  std::int64_t rows, tiles, items, chunk_slots = 0, fold_slots = 0, total_slots = 0;
  std::int64_t max_folds;
  int threads, shared_bytes, max_shared_bytes;
  const void* kernel;
};

DecodePlan plan_of(const PagedAttentionArgs& a) {
  DecodePlan plan{};
  const AttentionMetadata& m = a.metadata;
  const std::int64_t group = a.num_heads / a.cache.num_kv_heads;
  const std::int64_t tokens = std::clamp<std::int64_t>(kMaxDecodeRows / group, 1, m.max_query_len);  // of a sequence
  plan.rows = std::min<std::int64_t>(tokens * group, kMmaRows);
  plan.tiles = a.cache.num_kv_heads *
               std::min({m.num_seqs * ceil_div(tokens * group, kMmaRows), m.num_tokens * ceil_div(group, kMmaRows),
                         m.num_tokens * group / kMmaRows + m.num_seqs});
  int warps = 0;
  with_variant(a, [&](auto storage, auto dim) {
    using Shape = DecodeShape<decltype(storage), decltype(dim)>;
    warps = Shape::kWarps;
    plan.threads = Shape::kThreads;
    plan.shared_bytes = Shape::shared_bytes(static_cast<int>(plan.rows), static_cast<int>(a.cache.head_dim));
    plan.max_shared_bytes = Shape::shared_bytes(kMmaRows, dim.kMax);
    plan.kernel = reinterpret_cast<const void*>(decode_attention_kernel<decltype(storage), decltype(dim)>);
  });
  // How many pieces of `keys` keys a context touches.
  const auto pieces = [&](std::int64_t keys) {
    const std::int64_t all = ceil_div(m.max_blocks_per_seq * a.cache.block_size, keys);
    return a.window > 0 ? std::min(all, (a.window + tokens - 1 + keys - 2) / keys + 1) : all;
  };
  const std::int64_t groups = pieces(warps * kChunkKeys);
  plan.items = plan.tiles * groups;
  plan.max_folds = pieces(kFoldKeys);
  if (groups > 1) plan.chunk_slots = std::min<std::int64_t>(plan.items, kMaxBlocks) * kFoldChunks;
  if (plan.max_folds > 1) {
    plan.fold_slots = std::min<std::int64_t>(plan.tiles, kMaxBlocks) * plan.max_folds;
    plan.total_slots = std::min<std::int64_t>(plan.items, kMaxBlocks);
  }
  return plan;
}

}  // namespace

std::int64_t decode_items(const PagedAttentionArgs& args) { return plan_of(args).items; }

std::size_t decode_workspace_bytes(const PagedAttentionArgs& args) {
  const DecodePlan plan = plan_of(args);
  return static_cast<std::size_t>((plan.chunk_slots + plan.fold_slots + plan.total_slots) *
                                  Partials::slot_floats(plan.rows, args.cache.head_dim)) *
         sizeof(float);
}

void launch_decode(const PagedAttentionArgs& args, const LaunchStream& stream) {
  const DecodePlan plan = plan_of(args);
  PagedAttentionArgs copy = args;
  const int rows = static_cast<int>(plan.rows), head_dim = static_cast<int>(args.cache.head_dim);
  const std::int64_t slot = Partials::slot_floats(plan.rows, args.cache.head_dim);
  float* const partials = attention_partials(args.workspace);
  DecodeWorkspace workspace{static_cast<unsigned*>(args.workspace.data),
                            {partials, rows, head_dim},
                            {partials + plan.chunk_slots * slot, rows, head_dim},
                            {partials + (plan.chunk_slots + plan.fold_slots) * slot, rows, head_dim},
                            static_cast<int>(plan.max_folds),
                            plan.tiles <= kMaxBlocks};
  void* arguments[] = {&copy, &workspace};
  launch_attention({plan.kernel, std::min<std::int64_t>(plan.items, kMaxBlocks), plan.threads, plan.shared_bytes,
                    plan.max_shared_bytes, "decode_attention_kernel"},
                   arguments, stream);
}

}  // namespace warploom::cuda
