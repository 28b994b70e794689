// Paged attention for sequences with one query token. Warps share the context of a sequence; if there are few sequences,
// blocks share it too.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head. Up to 16 rows of one kv head form a tile, so that a group reads its keys and values
//           once. A warp takes chunks of 128 keys and copies 16 of them at a time into its own shared memory while it
//           multiplies the previous 16. The results of the chunks (max, sum and values of each row) are merged in order:
//           within the block, or, if several blocks share a context, through the workspace by the last block to finish.
// Bytes:    keys and values once; queries once for each block; results once; 4 bytes for each page of the context. If
//           blocks share a context, also 4 * (head_dim + 2) bytes for each row and chunk, written and read once (the last
//           block keeps one chunk in registers).
// Launch:   1 to 4 warps; grid (blocks of a context, kv heads * tiles, sequences). Blocks beyond the end of a context
//           return at once.
// Limits:   head_dim a multiple of 16, <= 256; block_size 8, 16 or 32.
// Capture:  yes, one kernel; positions may change between replays. The kernel leaves the workspace's counters at 0.
// Numerics: mma.sync products with f32 sums. f16: queries and probabilities are rounded to f16; bf16: to sums of two bf16;
//           f32: everything is a sum of three bf16. The errors are 1e-3, 1.5e-5 and up to 1.1e-5 (sm_90 and later: 7e-6) for
//           normally distributed queries, keys and values; f32's are what tensor cores cut off of sums (arXiv:2511.10909). A row's bits depend only on its own position and context, not on how the context is split.
// Source:   online softmax: Milakov and Gimelshein, arXiv:1805.02867; split contexts: Dao et al., "Flash-Decoding",
//           2023.
// History:  with queries and probabilities of one bf16, the error was 1.2e-2.
#include <algorithm>

#include "core/divide.h"
#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr std::int64_t kTargetBlocks = 512;                               // enough to fill a GPU several times
constexpr std::int64_t kMaxSplitTiles = kTargetBlocks / 2;                // with more tiles, each context stays in one block
static_assert(kMaxSplitTiles * sizeof(unsigned) == kAttentionZeroBytes);  // one counter for each tile

// Warps of a block, and key tiles in flight for each warp. Chosen to fit in 99 KiB of shared memory, the smallest limit of
// all supported GPUs.
template <class S, int kMaxDim>
struct DecodeShape {
  // Of a tile; 64 dimensions of f16 are 1. Doubled for bf16 with 256 dimensions, whose two-part queries need that much
  // again.
  static constexpr int kSize = kMaxDim / 64 * S::kElementBytes / 2 * (S::kLeftParts == 2 && kMaxDim == 256 ? 2 : 1);
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kStages = kSize == 1 ? 3 : kSize <= 4 || S::kRightParts == 1 ? 2 : 1;
};

// How blocks and warps share one context. A group is one chunk for each warp.
struct ContextSplit {
  int first_chunk, last_chunk, groups, blocks;

  __device__ ContextSplit(const KeyRange& range, int warps) {
    first_chunk = range.first / kChunkKeys;
    last_chunk = range.last / kChunkKeys;
    groups = (last_chunk - first_chunk) / warps + 1;
    blocks = min(groups, static_cast<int>(gridDim.x));
  }
};

// Partial results of one tile of rows in the workspace. Each chunk has states [rows], padded to 16 bytes, then values [rows,
// head_dim].
struct Partials {
  float* data;
  int rows, head_dim;

  __host__ __device__ static constexpr std::int64_t chunk_floats(std::int64_t rows, std::int64_t head_dim) {
    return (2 * rows + 3) / 4 * 4 + rows * head_dim;
  }
  __device__ SoftmaxState* states(int chunk) const {
    return reinterpret_cast<SoftmaxState*>(data + chunk * chunk_floats(rows, head_dim));
  }
  __device__ float* values(int chunk) const { return data + chunk * chunk_floats(rows, head_dim) + (2 * rows + 3) / 4 * 4; }

  template <class Warp>
  __device__ void put(int chunk, const Warp& warp) const {
    warp.for_each_row(
        rows,
        [&](int row, const SoftmaxState& state) {
          if (threadIdx.x % 4 == 0) states(chunk)[row] = state;
        },
        [&](int row, int dim, float2 x) { *reinterpret_cast<float2*>(values(chunk) + row * head_dim + dim) = x; });
  }
  // Merges four neighbouring values of a row over all chunks, in order. Chunk `own` is read from `local`.
  __device__ float4 merge_all(int chunks, int own, const RunningRows& local, int row, int dim) const {
    SoftmaxState merged;
    float4 y{0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int c = 0; c < chunks; ++c) {
      SoftmaxState state = local.states[row];
      float4 x = local.row_values(row, dim);
      if (c != own) {
        const float2 far = __ldcg(reinterpret_cast<const float2*>(states(c) + row));
        state = {far.x, far.y};
        x = __ldcg(reinterpret_cast<const float4*>(values(c) + row * head_dim + dim));
      }
      const RescaleFactors rescale = merge(merged, state);
      y = {merge_value(rescale, y.x, x.x), merge_value(rescale, y.y, x.y), merge_value(rescale, y.z, x.z),
           merge_value(rescale, y.w, x.w)};
    }
    return {finish_value(y.x, merged.sum), finish_value(y.y, merged.sum), finish_value(y.z, merged.sum),
            finish_value(y.w, merged.sum)};
  }
};

// Copies the tiles of all chunks of a warp, ahead of its products.
template <class S>
class TileStream {
 public:
  // The warp takes chunks `chunk`, `chunk` + step, ...
  __device__ TileStream(const Pages<S>& pages, const KeyRange& range, int chunk, int step)
      : pages_(pages), range_(range), chunk_(chunk), step_(step) {
    enter();
  }
  __device__ static int first_key(int chunk, const KeyRange& range) {
    return max(chunk * kChunkKeys, range.first / kTileKeys * kTileKeys);
  }
  __device__ void copy_next(char* tile) {
    if (key_ <= range_.last) {
      pages_.copy_tile(tile, key_, threadIdx.x % 32, 32);
      key_ += kTileKeys;
      if (key_ % kChunkKeys == 0) {
        chunk_ += step_;
        enter();
      }
    }
    end_copy_group();
  }

 private:
  __device__ void enter() {
    key_ = first_key(chunk_, range_);
    if (key_ <= range_.last) pages_.enter_chunk(chunk_);
  }

  Pages<S> pages_;
  KeyRange range_;
  int chunk_, step_, key_;
};

__device__ void write_rows(const PagedAttentionArgs& a, std::int64_t token, int head, int rows, auto&& four) {
  const int head_dim = static_cast<int>(a.cache.head_dim), vectors = head_dim / 4;
  for (int i = threadIdx.x; i < rows * vectors; i += blockDim.x) {
    const int row = i / vectors, dim = i % vectors * 4;
    store_four(a.out.data, a.out.type, token * a.out.stride + std::int64_t{head + row} * head_dim + dim, four(row, dim));
  }
}

// True in the last block of a tile to arrive; then all of them have written their partial results.
__device__ bool is_last_block(unsigned* counter, int blocks) {
  __shared__ bool last;
  __threadfence();  // partial results are visible before the count
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicInc(counter, static_cast<unsigned>(blocks - 1)) == static_cast<unsigned>(blocks - 1);  // wraps to 0
    __threadfence();  // other blocks' results are read after the count
  }
  __syncthreads();
  return last;
}

template <class S, int kMaxDim>
__global__ void __launch_bounds__(32 * DecodeShape<S, kMaxDim>::kWarps)
    decode_attention_kernel(const __grid_constant__ PagedAttentionArgs a, float* const __grid_constant__ partials,
                            unsigned* const __grid_constant__ counters, const __grid_constant__ int max_chunks) {
  constexpr int kWarps = DecodeShape<S, kMaxDim>::kWarps, kStages = DecodeShape<S, kMaxDim>::kStages;
  extern __shared__ __align__(16) char shared[];
  __shared__ float factors[kMmaRows];
  const int group = static_cast<int>(a.num_heads / a.cache.num_kv_heads), tiles = ceil_div(group, kMmaRows);
  const int kv_head = blockIdx.y / tiles, first_row = blockIdx.y % tiles * kMmaRows, rows = min(group - first_row, kMmaRows);
  const int head = kv_head * group + first_row, head_dim = static_cast<int>(a.cache.head_dim);
  const std::int64_t sequence = blockIdx.z, token = a.metadata.qo_indptr[sequence];
  if (a.metadata.qo_indptr[sequence + 1] - token != 1) return;
  const KeyRange range = mask_range(a.metadata.positions[token], a.window);
  if (range.first > range.last) {
    if (blockIdx.x == 0) write_rows(a, token, head, rows, [](int, int) { return float4{0.0f, 0.0f, 0.0f, 0.0f}; });
    return;
  }
  const ContextSplit split(range, kWarps);
  if (static_cast<int>(blockIdx.x) >= split.groups) return;

  const int warp = threadIdx.x / 32, step = split.blocks * kWarps;
  char* const query_tile = shared;
  const int max_rows = min(group, kMmaRows);
  const RunningRows running(shared + QueryTile<S>::bytes(head_dim), max_rows, head_dim);
  char* const ring = shared + QueryTile<S>::bytes(head_dim) + RunningRows::bytes(max_rows, head_dim) +
                     warp * kStages * tile_bytes<S>(head_dim);
  int chunk = split.first_chunk + static_cast<int>(blockIdx.x) * kWarps + warp;
  TileStream<S> stream(Pages<S>(a, sequence, kv_head, range), range, chunk, step);
  for (int i = 0; i < kStages - 1; ++i) stream.copy_next(ring + i * tile_bytes<S>(head_dim));

  for (int row = warp; row < kMmaRows; row += kWarps) {
    const std::int64_t at = row < rows ? token * a.queries.stride + std::int64_t{head + row} * head_dim : -1;
    const float factor = QueryTile<S>::store(query_tile, row, a.queries, at, head_dim);
    if (threadIdx.x % 32 == 0) factors[row] = factor;
  }
  running.clear(0, rows, threadIdx.x, 32 * kWarps);
  __syncthreads();  // the query tile is complete, running results are cleared
  WarpAttention<S, kMaxDim> attention(a, query_tile);
  attention.load_queries(factors);
  attention.set_mask_range(0, range);
  attention.set_mask_range(1, range);

  const std::int64_t tile = sequence * gridDim.y + blockIdx.y;
  const Partials partial{partials + tile * max_chunks * Partials::chunk_floats(max_rows, head_dim), rows, head_dim};
  int slot = 0, free_slot = kStages - 1;
  for (int g = blockIdx.x; g < split.groups; g += split.blocks, chunk += step) {
    const bool mine = chunk <= split.last_chunk;
    if (mine) {
      attention.begin_chunk();
      const int end = min(range.last, chunk * kChunkKeys + kChunkKeys - 1);
      for (int key = TileStream<S>::first_key(chunk, range); key <= end; key += kTileKeys) {
        stream.copy_next(ring + free_slot * tile_bytes<S>(head_dim));
        wait_copy_groups<kStages - 1>();
        __syncwarp();  // all lanes' copies have arrived
        attention.attend(ring + slot * tile_bytes<S>(head_dim), key);
        __syncwarp();  // all lanes have read the tile
        slot = slot + 1 == kStages ? 0 : slot + 1;
        free_slot = free_slot + 1 == kStages ? 0 : free_slot + 1;
      }
      attention.end_chunk();
    }
    if (split.blocks > 1) {
      if (mine) partial.put(chunk - split.first_chunk, attention);
      continue;
    }
    for (int merging_warp = 0; merging_warp < kWarps; ++merging_warp) {
      if (mine && merging_warp == warp) attention.merge_into(running, 0, rows);
      __syncthreads();  // the previous chunk is merged
    }
  }
  if (split.blocks == 1) return write_rows(a, token, head, rows, [&](int row, int dim) { return running.result(row, dim); });
  if (!is_last_block(counters + tile, split.blocks)) return;
  // The first warp still has its last chunk in registers, so that chunk need not be read again.
  if (warp == 0) attention.merge_into(running, 0, rows);
  __syncthreads();
  const int chunks = split.last_chunk - split.first_chunk + 1;
  const int own =
      (split.groups - 1 - static_cast<int>(blockIdx.x)) / split.blocks * split.blocks + static_cast<int>(blockIdx.x);
  write_rows(a, token, head, rows,
             [&](int row, int dim) { return partial.merge_all(chunks, own * kWarps, running, row, dim); });
}

// The grid, as far as the host knows it.
struct Grid {
  std::int64_t group, tiles, chunks, splits;
  int warps, threads, shared_bytes, max_shared_bytes;
  const void* kernel;
};

Grid grid_of(const PagedAttentionArgs& a) {
  Grid grid{};
  grid.group = a.num_heads / a.cache.num_kv_heads;
  grid.tiles = a.metadata.num_seqs * a.cache.num_kv_heads * ceil_div(grid.group, kMmaRows);
  grid.chunks = ceil_div(a.metadata.max_blocks_per_seq * a.cache.block_size, kChunkKeys);
  if (a.window > 0) grid.chunks = std::min(grid.chunks, (a.window + kChunkKeys - 2) / kChunkKeys + 1);
  const int head_dim = static_cast<int>(a.cache.head_dim),
            rows = static_cast<int>(std::min<std::int64_t>(grid.group, kMmaRows));
  with_variant(a.cache, [&](auto storage, auto size) {
    using S = decltype(storage);
    using Shape = DecodeShape<S, size()>;
    grid.warps = Shape::kWarps;
    grid.threads = 32 * Shape::kWarps;
    const auto shared_bytes = [](int some_rows, int dim) {
      return QueryTile<S>::bytes(dim) + RunningRows::bytes(some_rows, dim) +
             Shape::kWarps * Shape::kStages * tile_bytes<S>(dim);
    };
    grid.shared_bytes = shared_bytes(rows, head_dim);
    grid.max_shared_bytes = shared_bytes(kMmaRows, size());
    grid.kernel = reinterpret_cast<const void*>(decode_attention_kernel<S, size()>);
  });
  const std::int64_t groups = ceil_div(grid.chunks, grid.warps);
  grid.splits = std::clamp<std::int64_t>(kTargetBlocks / std::max<std::int64_t>(grid.tiles, 1), 1, groups);
  return grid;
}

}  // namespace

// Enough for fewer sequences too: their contexts may be split although those of more sequences are not.
std::size_t decode_workspace_bytes(const PagedAttentionArgs& args) {
  const Grid grid = grid_of(args);
  if (grid.chunks <= grid.warps) return 0;
  const std::int64_t floats = Partials::chunk_floats(std::min<std::int64_t>(grid.group, kMmaRows), args.cache.head_dim);
  return kAttentionZeroBytes +
         static_cast<std::size_t>(std::min(grid.tiles, kMaxSplitTiles) * grid.chunks * floats) * sizeof(float);
}

void launch_decode(const PagedAttentionArgs& args, void* workspace, cudaStream_t stream) {
  const Grid grid = grid_of(args);
  PagedAttentionArgs copy = args;
  auto* counters = static_cast<unsigned*>(workspace);
  auto* partials = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + (workspace ? kAttentionZeroBytes : 0));
  int chunks = static_cast<int>(grid.chunks);
  void* arguments[] = {&copy, &partials, &counters, &chunks};
  const dim3 blocks(static_cast<unsigned>(grid.splits), static_cast<unsigned>(grid.tiles / args.metadata.num_seqs),
                    static_cast<unsigned>(args.metadata.num_seqs));
  launch_attention(grid.kernel, blocks, grid.threads, grid.shared_bytes, grid.max_shared_bytes, arguments,
                   "decode_attention_kernel", stream);
}

}  // namespace warploom::cuda
