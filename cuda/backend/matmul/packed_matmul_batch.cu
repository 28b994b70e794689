// Multiplies packed weights by the activations of more than a few tokens.
//
// Shapes:   weight [rows, cols]; x [tokens, cols] of f16 or bf16; bias [rows] f32 or null; out [tokens, rows] f32.
// Layout:   packed.h. A block computes 32, 64 or 128 rows of up to 64 tokens. Its warps are two groups, which take the two
//           chunks of a span (sum_order.h) side by side; a warp has 32 rows and all tokens. x and weights come through shared
//           memory in 2 to 4 stages of 64 inputs.
// Bytes:    every packed byte and every x once from DRAM, if what neighbouring blocks share stays in L2; from L2 the weights
//           once for each 64 tokens, x once for each block of rows. If the inputs are split over blocks, sums of
//           spans are written and read once.
// Launch:   one dimension: blocks of the same rows side by side, for they share weights; batch_plan.h.
// Limits:   kMaxSegments formats in a launch; cols a multiple of 8, x on a 16-byte boundary.
// Capture:  yes.
// Numerics: as packed_matmul_kernel, bit for bit. However the work is cut into blocks, sums are added in the same order.
// Source:   Frantar et al., MARLIN, 2024 (stages of x and weights in shared memory, a block of 4 x 2 warps).
// History:  blocks of 16 rows that read x for themselves asked L2 for 15.2 times the bytes of a 4-bit weight of 4,096 rows at
//           64 tokens; now 3.2 to 5.0. With at most 128 registers, four token tiles spill.
#include <algorithm>
#include <cstdint>

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/tile.cuh"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/tensor_core.cuh"
#include "cuda/runtime/check.h"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxThreads = 32 * kWarpGroups * kMaxRowWarps;
constexpr int kTokenBytes = kTileInputs * 2;  // of a stage

struct BatchLaunch {
  BatchPlan plan;
  int tokens;
  std::int64_t out_stride;
};

// What a block computes.
struct BlockWork {
  int first_token, tokens;
  int segment, first_tile;  // of the segment
  int row_tiles;            // that the segment has from there
  int split, unit;          // unit: the block among those of the same split
};
__device__ inline BlockWork work_of(const PackedView& weight, const BatchLaunch& shape) {
  const BatchPlan& plan = shape.plan;
  const int groups = plan.token_groups, splits = plan.splits;
  int at = static_cast<int>(blockIdx.x);
  const int group = at % groups;
  at /= groups;
  const int split = at % splits, row_block = at / splits;
  int s = 0;
  while (s + 1 < weight.segment_count && row_block >= plan.first_block[s + 1]) ++s;
  BlockWork work;
  work.first_token = group * plan.token_tiles * kTokenTile;
  work.tokens = shape.tokens - work.first_token;
  work.segment = s;
  work.first_tile = (row_block - plan.first_block[s]) * block_row_tiles(plan.row_warps);
  work.row_tiles = (weight.segments[s].rows + kTileRows - 1) / kTileRows - work.first_tile;
  work.split = split;
  work.unit = row_block * groups + group;
  return work;
}

// Where a group is along the inputs: tile by tile through its chunk of a span, then on to that of the next span.
struct Cursor {
  int tile, left;  // tiles of the chunk
  // True at the end of a chunk.
  __device__ bool advance(int chunk_tiles) {
    ++tile;
    if (--left > 0) return false;
    tile += chunk_tiles * (kChunksPerSpan - 1);
    left = chunk_tiles;
    return true;
  }
};

// The stages of a warp's group: x of kTokenTiles token tiles, [tokens][64 inputs], then the tiles of the group's rows. Odd
// tokens have the two halves of their 128 bytes exchanged, so that the lanes of two tokens reach different banks.
template <typename Reader, typename T, int kTokenTiles>
class StageCopies {
 public:
  __device__ StageCopies(const PackedView& weight, const BatchPlan& plan, const BlockWork& work, const T* x)
      : cols_(weight.cols), tokens_(work.tokens), row_warps_(plan.row_warps) {
    const int warp = static_cast<int>(threadIdx.x / 32) % row_warps_;
    lane_ = static_cast<int>(threadIdx.x % 32);
    const int thread = 32 * warp + lane_;
    token_ = thread / 8;
    input_ = 8 * (thread % 8);
    x_ = x + (std::int64_t{work.first_token + token_} * cols_ + input_);
    to_x_ = token_ * kTokenBytes + (2 * input_ ^ (token_ % 2 * (kTokenBytes / 2)));
    const int first = kWarpRowTiles * warp;
    to_tiles_ = kTokenTiles * kTokenTile * kTokenBytes + first * Reader::kTileBytes + 16 * lane_;
    row_tiles_ = work.row_tiles - first;
    const TileSegment& segment = weight.segments[work.segment];
    row_bytes_ = segment.tile_row_bytes;
    tiles_ = segment.tiles + (std::int64_t{work.first_tile + first} * row_bytes_ + 16 * lane_);
  }

  // Copies this thread's part of a tile of inputs. What is beyond the matrices becomes zero.
  __device__ void start(std::uint32_t stage, int tile) const {
    const bool within = tile * kTileInputs + input_ < cols_;
    const T* from = x_ + tile * kTileInputs;
    std::uint32_t to = stage + to_x_;
    for (int token = token_; token < kTokenTiles * kTokenTile; token += 4 * row_warps_) {
      copy_async_16(to, from, within && token < tokens_);
      from += std::int64_t{4 * row_warps_} * cols_;
      to += 4 * row_warps_ * kTokenBytes;
    }
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const std::byte* row = tiles_ + (std::int64_t{r} * row_bytes_ + tile * Reader::kTileBytes);
#pragma unroll
      for (int at = 0; at < Reader::kTileBytes; at += 512)
        if (at + 512 <= Reader::kTileBytes || at + 16 * lane_ < Reader::kTileBytes)
          copy_async_16(stage + to_tiles_ + r * Reader::kTileBytes + at, row + at, r < row_tiles_);
    }
  }

 private:
  const T* x_;              // this thread's first 8 inputs of its first token
  const std::byte* tiles_;  // its first 16 bytes of the first tile of the warp's rows
  int cols_, tokens_, row_warps_, lane_, token_, input_, row_tiles_, row_bytes_;
  std::uint32_t to_x_, to_tiles_;
};

template <int kTokenTiles>
using Sums = float[kWarpRowTiles][kTokenTiles][4];

// Adds the products of one tile of inputs. stage: of this warp's group.
template <typename T, int kTokenTiles, typename Reader>
__device__ inline void add_stage(const Reader& reader, const std::byte* stage, int warp, Sums<kTokenTiles>& sum) {
  const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
  const std::byte* tiles = stage + kTokenTiles * kTokenTile * kTokenBytes + kWarpRowTiles * warp * Reader::kTileBytes;
  std::uint32_t a[kWarpRowTiles][4][4];
#pragma unroll
  for (int r = 0; r < kWarpRowTiles; ++r) {
    const std::byte* tile = tiles + r * Reader::kTileBytes;
    reader.decode(reader.load_shared(reader.codes(tile), reader.scales(tile)), a[r]);
  }
  const int odd = g % 2 * (kTokenBytes / 2);
  const std::byte* first = stage + (g * kTokenBytes + 16 * t + odd);
  const std::byte* second = stage + (g * kTokenBytes + 16 * t + (kTokenBytes / 2 - odd));
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) {
    const uint4 low = *reinterpret_cast<const uint4*>(first + j * kTokenTile * kTokenBytes),
                high = *reinterpret_cast<const uint4*>(second + j * kTokenTile * kTokenBytes);
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      mma<T>(sum[r][j], a[r][0], low.x, low.y);
      mma<T>(sum[r][j], a[r][1], low.z, low.w);
      mma<T>(sum[r][j], a[r][2], high.x, high.y);
      mma<T>(sum[r][j], a[r][3], high.z, high.w);
    }
  }
}

// Ends a span: each of the two warps of the same rows adds up one part of the token tiles. exchange: [warps][kept][row
// tiles][lanes].
template <int kTokenTiles>
__device__ inline void add_span(float4* exchange, int warp, int partner, int group, Sums<kTokenTiles>& sum,
                                Sums<kept_tiles(kTokenTiles)>& total) {
  constexpr int kKept = kept_tiles(kTokenTiles);
  const auto at = [&](int of_warp, int j, int r) {
    return exchange + (((of_warp * kKept + j) * kWarpRowTiles + r) * 32 + static_cast<int>(threadIdx.x % 32));
  };
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const int upper = kKept + j < kTokenTiles ? kKept + j : j;  // an odd number of tiles: nobody reads the last one
      const float(&theirs)[4] = sum[r][j], (&also)[4] = sum[r][upper];
      *at(warp, j, r) =
          group ? make_float4(theirs[0], theirs[1], theirs[2], theirs[3]) : make_float4(also[0], also[1], also[2], also[3]);
    }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const int upper = kKept + j < kTokenTiles ? kKept + j : j;
      const float4 other = *at(partner, j, r);
      const float others[4] = {other.x, other.y, other.z, other.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) total[r][j][i] += (group ? sum[r][upper][i] : sum[r][j][i]) + others[i];
    }
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[r][j][i] = 0.0f;
}

__device__ inline void wait_for_stage(int stages) {
  if (stages == 4)
    wait_copy_groups<2>();
  else if (stages == 3)
    wait_copy_groups<1>();
  else
    wait_copy_groups<0>();
  __syncthreads();
}

// The sums of the block's spans.
template <typename T, int kTokenTiles, typename Reader>
__device__ inline void add_spans(const Reader& reader, const PackedView& weight, const BatchPlan& plan,
                                 const BlockWork& work, const T* x, std::byte* shared,
                                 Sums<kept_tiles(kTokenTiles)>& total) {
  const int warps = kWarpGroups * plan.row_warps, warp = static_cast<int>(threadIdx.x / 32);
  const int group = warp / plan.row_warps, row_warp = warp % plan.row_warps, chunk = plan.order.chunk_tiles;
  const int group_bytes = group_stage_bytes(kTokenTiles, plan.row_warps, Reader::kTileBytes);
  const int stage_bytes = kWarpGroups * group_bytes;
  std::byte* ring = shared + warps * kept_bytes(kTokenTiles) + group * group_bytes;
  const int ring_bytes = plan.stages * stage_bytes;
  const StageCopies<Reader, T, kTokenTiles> copies(weight, plan, work, x);
  Cursor copied{(work.split * kChunksPerSpan + group) * chunk, chunk}, added = copied;
  const int steps = chunk * (plan.splits > 1 ? 1 : plan.order.spans);
  int left_to_copy = steps, copy_at = 0, add_at = 0;
  const auto copy_next = [&] {
    if (left_to_copy-- > 0) {
      if (copied.tile < weight.col_tiles) copies.start(shared_address(ring) + copy_at, copied.tile);
      copied.advance(chunk);
      copy_at = copy_at + stage_bytes < ring_bytes ? copy_at + stage_bytes : 0;
    }
    end_copy_group();
  };
  for (int i = 1; i < plan.stages; ++i) copy_next();
  Sums<kTokenTiles> sum = {};
  for (int step = 0; step < steps; ++step) {
    wait_for_stage(plan.stages);
    copy_next();
    if (added.tile < weight.col_tiles) add_stage<T, kTokenTiles>(reader, ring + add_at, row_warp, sum);
    add_at = add_at + stage_bytes < ring_bytes ? add_at + stage_bytes : 0;
    if (added.advance(chunk))
      add_span<kTokenTiles>(reinterpret_cast<float4*>(shared), warp, (1 - group) * plan.row_warps + row_warp, group, sum,
                            total);
  }
}

// Hands the sums of one span over; the last block of a unit gets those of all, added in order, and returns true.
template <int kKept>
__device__ inline bool merge_splits(const BatchPlan& plan, const BlockWork& work, float4* partials, unsigned* counters,
                                    Sums<kKept>& total) {
  __shared__ bool last;
  constexpr int kPieces = kKept * kWarpRowTiles;
  const std::int64_t split_floats = std::int64_t{kPieces} * static_cast<int>(blockDim.x);
  float4* unit = partials + (work.unit * plan.splits * split_floats + threadIdx.x);
  const auto piece = [&](int split, int j, int r) {
    return unit + (split * split_floats + (j * kWarpRowTiles + r) * static_cast<int>(blockDim.x));
  };
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const float(&t)[4] = total[r][j];
      *piece(work.split, j, r) = make_float4(t[0], t[1], t[2], t[3]);
    }
  __threadfence();  // the sums are visible before the count
  __syncthreads();
  if (threadIdx.x == 0) {
    const auto most = static_cast<unsigned>(plan.splits - 1);
    last = atomicInc(counters + work.unit, most) == most;  // wraps to 0
    __threadfence();                                       // other blocks' sums are read after the count
  }
  __syncthreads();
  if (!last) return false;
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      float sum[4] = {};
      for (int split = 0; split < plan.splits; ++split) {
        const float4 add = __ldcg(piece(split, j, r));
        sum[0] += add.x, sum[1] += add.y, sum[2] += add.z, sum[3] += add.w;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) total[r][j][i] = sum[i];
    }
  return true;
}

template <int kTokenTiles>
__device__ inline void store_sums(const PackedView& weight, const BatchLaunch& shape, const BlockWork& work,
                                  const float* bias, const Sums<kept_tiles(kTokenTiles)>& total, float* out) {
  constexpr int kKept = kept_tiles(kTokenTiles);
  const int warp = static_cast<int>(threadIdx.x / 32), group = warp / shape.plan.row_warps,
            row_warp = warp % shape.plan.row_warps;
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  const TileSegment& segment = weight.segments[work.segment];
  // Sum i of a lane's four belongs to row g (i < 2) or g + 8 and to token 2 t + i % 2 of the token tile.
#pragma unroll
  for (int r = 0; r < kWarpRowTiles; ++r)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (work.first_tile + kWarpRowTiles * row_warp + r) * kTileRows + g + 8 * half;
      if (row >= segment.rows) continue;
      const float add = bias ? bias[segment.first_row + row] : 0.0f;
      float* to = out + (work.first_token * shape.out_stride + segment.first_row + row);
#pragma unroll
      for (int j = 0; j < kKept; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int tile = group * kKept + j, token = tile * kTokenTile + 2 * t + i;
          if (tile >= kTokenTiles || token >= work.tokens) continue;
          const float value = total[r][j][2 * half + i];
          to[token * shape.out_stride] = bias ? value + add : value;
        }
    }
}

template <typename T, int kTokenTiles>
__global__ void __launch_bounds__(kMaxThreads, kTokenTiles <= 2 ? 2 : 1)
    batch_packed_matmul_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ BatchLaunch shape,
                               const T* const __grid_constant__ x, const float* const __grid_constant__ bias,
                               float4* const __grid_constant__ partials, unsigned* const __grid_constant__ counters,
                               float* const __grid_constant__ out) {
  extern __shared__ float4 shared[];  // what warps exchange, then the stages
  constexpr int kKept = kept_tiles(kTokenTiles);
  const BlockWork work = work_of(weight, shape);
  Sums<kKept> total = {};
  with_reader<T>(weight.segments[work.segment].format, [&](const auto& reader) {
    add_spans<T, kTokenTiles>(reader, weight, shape.plan, work, x, reinterpret_cast<std::byte*>(shared), total);
  });
  if (shape.plan.splits > 1 && !merge_splits<kKept>(shape.plan, work, partials, counters, total)) return;
  store_sums<kTokenTiles>(weight, shape, work, bias, total, out);
}

template <typename T, int kTokenTiles>
void launch_tiles(const PackedView& weight, const BatchLaunch& shape, const void* x, const float* bias,
                  const MatmulWorkspace& workspace, float* out, cudaStream_t stream) {
  const auto kernel = batch_packed_matmul_kernel<T, kTokenTiles>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, workspace.room.shared_bytes),
        "cudaFuncSetAttribute");
  const BatchPlan& plan = shape.plan;
  const dim3 blocks(static_cast<unsigned>(plan.row_blocks) * static_cast<unsigned>(plan.token_groups * plan.splits));
  launch(kernel, "launching batch_packed_matmul_kernel", blocks, 32u * kWarpGroups * static_cast<unsigned>(plan.row_warps),
         static_cast<std::size_t>(plan.shared_bytes), stream, weight, shape, static_cast<const T*>(x), bias,
         workspace.partials, workspace.counters, out);
}

template <typename T>
void launch_for(const PackedView& weight, const BatchLaunch& shape, const void* x, const float* bias,
                const MatmulWorkspace& workspace, float* out, cudaStream_t stream) {
  switch (shape.plan.token_tiles) {
    case 2: return launch_tiles<T, 2>(weight, shape, x, bias, workspace, out, stream);
    case 4: return launch_tiles<T, 4>(weight, shape, x, bias, workspace, out, stream);
    case 5: return launch_tiles<T, 5>(weight, shape, x, bias, workspace, out, stream);
    case 6: return launch_tiles<T, 6>(weight, shape, x, bias, workspace, out, stream);
    default: return launch_tiles<T, 8>(weight, shape, x, bias, workspace, out, stream);
  }
}

}  // namespace

void launch_packed_matmul_batch(const PackedView& weight, DType type, const void* x, const float* bias, std::int64_t tokens,
                                std::int64_t out_stride, const MatmulWorkspace& workspace, float* out, cudaStream_t stream) {
  if (weight.row_tiles == 0) return;
  // A grid has 2^31 - 1 blocks; a plan at most four for each row tile and 64 tokens.
  constexpr int kMaxGroups = 1 << 18;
  const std::int64_t most = kMaxBatchTokens * std::clamp((1 << 28) / weight.row_tiles, 1, kMaxGroups);
  for (std::int64_t first = 0; first < tokens; first += most) {
    const int now = static_cast<int>(std::min(tokens - first, most));
    const BatchLaunch shape{plan_batch(weight, now, workspace.room), now, out_stride};
    const void* from = static_cast<const std::byte*>(x) + first * weight.cols * bytes_of(type);
    float* to = out + first * out_stride;
    type == DType::f16 ? launch_for<__half>(weight, shape, from, bias, workspace, to, stream)
                       : launch_for<__nv_bfloat16>(weight, shape, from, bias, workspace, to, stream);
  }
}

}  // namespace warploom::cuda
