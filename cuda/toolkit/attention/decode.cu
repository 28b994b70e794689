// Attention over pages where a sequence has one query token: its context is split over warps, and over blocks where
// sequences are few.
//
// Shapes:   queries, out [tokens, heads, head_dim] of f32, f16 or bf16; keys and values [blocks, 2, kv_heads,
//           block_size, head_dim] of the layer.
// Layout:   a row is a query head; up to 16 rows of one kv head are a tile, so that keys and values are read once for a
//           group. A warp takes chunks of 128 keys, in which it copies 16 at a time into its own shared memory while it
//           multiplies the 16 before. Its result (max, sum, values of a row) merges into the block's in the order of
//           the chunks; or, where several blocks share a context, goes to the workspace, and the last block to arrive
//           merges all of them.
// Bytes:    keys and values once; queries once a block, results once; 4 bytes a page of the context; where blocks share
//           a context 4 * (head_dim + 2) bytes a row and chunk, written and read once (but for one chunk, which the last
//           block has itself).
// Launch:   1 to 4 warps; grid (blocks a context, kv heads * tiles, sequences). Blocks beyond a context's end leave at
//           once.
// Limits:   head_dim a multiple of 16, at most 256; blocks of 8, 16 or 32 tokens.
// Capture:  yes, one kernel; positions may move on between replays. Counters in the workspace are back at 0 at its end.
// Numerics: products by mma.sync with f32 sums. f16: queries and weights rounded to f16; bf16: to sums of two bf16;
//           f32: all as sums of three bf16. Off by 1e-3, 1.4e-5 and 2e-6 for normal queries, keys and values. A row's
//           bits depend on its own position and context alone, not on how that is split.
// Source:   online softmax: Milakov and Gimelshein, arXiv:1805.02867; split contexts: Dao et al., "Flash-Decoding",
//           2023.
// History:  bf16 with queries and weights of one part was off by 1.2e-2.
#include <algorithm>

#include "cuda/toolkit/attention/launch.h"
#include "cuda/toolkit/attention/pages.cuh"
#include "cuda/toolkit/attention/variants.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr std::int64_t kAimedBlocks = 512;            // enough to fill a GPU a few times over
constexpr std::int64_t kMaxSplit = kAimedBlocks / 2;  // tiles of rows; where there are more, a context stays in one block
static_assert(kMaxSplit * sizeof(unsigned) == kAttentionZeroBytes);  // a counter a tile

// Warps of a block and tiles in flight: what fits in the 99 KiB that the smallest GPU gives a block.
template <class S, int kMaxDim>
struct DecodeShape {
  // Of a tile, 64 dimensions of f16 being 1; bf16's queries of 256 dimensions, of two parts, count as another.
  static constexpr int kSize = kMaxDim / 64 * S::kElementBytes / 2 * (S::kLeft == 2 && kMaxDim == 256 ? 2 : 1);
  static constexpr int kWarps = kSize <= 2 ? 4 : kSize <= 4 ? 2 : 1;
  static constexpr int kStages = kSize == 1 ? 3 : kSize <= 4 || S::kParts == 1 ? 2 : 1;
};

// How one head's context is cut up.
struct Split {
  int first_chunk, last_chunk, groups, blocks;

  __device__ Split(const KeyRange& range, int warps) {
    first_chunk = range.first / kChunkKeys;
    last_chunk = range.last / kChunkKeys;
    groups = (last_chunk - first_chunk) / warps + 1;
    blocks = min(groups, static_cast<int>(gridDim.x));
  }
};

// Partial results of one tile of rows, a chunk after the other: states [rows], padded to 16 bytes, then values [rows,
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
  // Four neighbours of a row after all chunks, in their order. Chunk `own` lies in `near` too.
  __device__ float4 merge_all(int chunks, int own, const RunningRows& near, int row, int dim) const {
    SoftmaxState merged;
    float4 y{0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int c = 0; c < chunks; ++c) {
      SoftmaxState state = near.states[row];
      float4 x = near.row_values(row, dim);
      if (c != own) {
        const float2 far = __ldcg(reinterpret_cast<const float2*>(states(c) + row));
        state = {far.x, far.y};
        x = __ldcg(reinterpret_cast<const float4*>(values(c) + row * head_dim + dim));
      }
      const Shares shares = merge(merged, state);
      y = {merge_value(shares, y.x, x.x), merge_value(shares, y.y, x.y), merge_value(shares, y.z, x.z),
           merge_value(shares, y.w, x.w)};
    }
    return {finish_value(y.x, merged.sum), finish_value(y.y, merged.sum), finish_value(y.z, merged.sum),
            finish_value(y.w, merged.sum)};
  }
};

// Copies of a warp's tiles run ahead of its products, through all its chunks.
template <class S>
class TileStream {
 public:
  // The warp takes the chunks `chunk`, `chunk` + step and so on.
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

// True in the last of the tile's blocks to get here: then all of them have written their partial results.
__device__ bool arrives_last(unsigned* counter, int blocks) {
  __shared__ bool last;
  __threadfence();  // this thread's partial results, before the count
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicInc(counter, static_cast<unsigned>(blocks - 1)) == static_cast<unsigned>(blocks - 1);  // which wraps to 0
    __threadfence();  // the count, before what the others have written is read
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
  __shared__ float factors[kRows];
  const int group = static_cast<int>(a.num_heads / a.cache.num_kv_heads), tiles = (group + kRows - 1) / kRows;
  const int kv_head = blockIdx.y / tiles, first_row = blockIdx.y % tiles * kRows, rows = min(group - first_row, kRows);
  const int head = kv_head * group + first_row, head_dim = static_cast<int>(a.cache.head_dim);
  const std::int64_t sequence = blockIdx.z, token = a.metadata.qo_indptr[sequence];
  if (a.metadata.qo_indptr[sequence + 1] - token != 1) return;
  const KeyRange range = keys_of(a.metadata.positions[token], a.window);
  if (range.first > range.last) {
    if (blockIdx.x == 0) write_rows(a, token, head, rows, [](int, int) { return float4{0.0f, 0.0f, 0.0f, 0.0f}; });
    return;
  }
  const Split split(range, kWarps);
  if (static_cast<int>(blockIdx.x) >= split.groups) return;

  const int warp = threadIdx.x / 32, step = split.blocks * kWarps;
  char* const query_tile = shared;
  const int max_rows = min(group, kRows);
  const RunningRows running(shared + QueryTile<S>::bytes(head_dim), max_rows, head_dim);
  char* const ring = shared + QueryTile<S>::bytes(head_dim) + RunningRows::bytes(max_rows, head_dim) +
                     warp * kStages * tile_bytes<S>(head_dim);
  int chunk = split.first_chunk + static_cast<int>(blockIdx.x) * kWarps + warp;
  TileStream<S> stream(Pages<S>(a, sequence, kv_head, range), range, chunk, step);
  for (int i = 0; i < kStages - 1; ++i) stream.copy_next(ring + i * tile_bytes<S>(head_dim));

  for (int row = warp; row < kRows; row += kWarps) {
    const std::int64_t at = row < rows ? token * a.queries.stride + std::int64_t{head + row} * head_dim : -1;
    const float factor = QueryTile<S>::store(query_tile, row, a.queries, at, head_dim);
    if (threadIdx.x % 32 == 0) factors[row] = factor;
  }
  running.clear(0, rows, threadIdx.x, 32 * kWarps);
  __syncthreads();  // queries are in their tile, running results are clear
  WarpAttention<S, kMaxDim> attention(a, query_tile);
  attention.take_queries(factors);
  attention.see(0, range);
  attention.see(1, range);

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
        __syncwarp();  // every lane's part of the tile is there
        attention.attend(ring + slot * tile_bytes<S>(head_dim), key);
        __syncwarp();  // every lane is done with it
        slot = slot + 1 == kStages ? 0 : slot + 1;
        free_slot = free_slot + 1 == kStages ? 0 : free_slot + 1;
      }
      attention.end_chunk();
    }
    if (split.blocks > 1) {
      if (mine) partial.put(chunk - split.first_chunk, attention);
      continue;
    }
    for (int turn = 0; turn < kWarps; ++turn) {
      if (mine && turn == warp) attention.merge_into(running, 0, rows);
      __syncthreads();  // the chunk before is merged
    }
  }
  if (split.blocks == 1) return write_rows(a, token, head, rows, [&](int row, int dim) { return running.result(row, dim); });
  if (!arrives_last(counters + tile, split.blocks)) return;
  // The first warp has its last chunk still, which so need not be read again.
  if (warp == 0) attention.merge_into(running, 0, rows);
  __syncthreads();
  const int chunks = split.last_chunk - split.first_chunk + 1;
  const int own =
      (split.groups - 1 - static_cast<int>(blockIdx.x)) / split.blocks * split.blocks + static_cast<int>(blockIdx.x);
  write_rows(a, token, head, rows,
             [&](int row, int dim) { return partial.merge_all(chunks, own * kWarps, running, row, dim); });
}

// What the host knows of the grid.
struct Grid {
  std::int64_t group, tiles, chunks, splits;
  int warps, threads, shared_bytes, max_shared_bytes;
  const void* kernel;
};

Grid grid_of(const PagedAttentionArgs& a) {
  Grid grid{};
  grid.group = a.num_heads / a.cache.num_kv_heads;
  grid.tiles = a.metadata.num_seqs * a.cache.num_kv_heads * ((grid.group + kRows - 1) / kRows);
  grid.chunks = (a.metadata.max_blocks_per_seq * a.cache.block_size + kChunkKeys - 1) / kChunkKeys;
  if (a.window > 0) grid.chunks = std::min(grid.chunks, (a.window + kChunkKeys - 2) / kChunkKeys + 1);
  const int head_dim = static_cast<int>(a.cache.head_dim),
            rows = static_cast<int>(std::min<std::int64_t>(grid.group, kRows));
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
    grid.max_shared_bytes = shared_bytes(kRows, size());
    grid.kernel = reinterpret_cast<const void*>(decode_attention_kernel<S, size()>);
  });
  const std::int64_t groups = (grid.chunks + grid.warps - 1) / grid.warps;
  grid.splits = std::clamp<std::int64_t>(kAimedBlocks / std::max<std::int64_t>(grid.tiles, 1), 1, groups);
  return grid;
}

}  // namespace

// Of fewer sequences too, whose contexts may be split where those of more are not.
std::size_t decode_workspace_bytes(const PagedAttentionArgs& args) {
  const Grid grid = grid_of(args);
  if (grid.chunks <= grid.warps) return 0;
  const std::int64_t floats = Partials::chunk_floats(std::min<std::int64_t>(grid.group, kRows), args.cache.head_dim);
  return kAttentionZeroBytes +
         static_cast<std::size_t>(std::min(grid.tiles, kMaxSplit) * grid.chunks * floats) * sizeof(float);
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
