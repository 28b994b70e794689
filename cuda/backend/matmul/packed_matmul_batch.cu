// Multiplies packed weights by the activations of more than a few tokens.
//
// Shapes:   weight [rows, cols]; x [tokens, cols] of f16 or bf16; results as epilogue.h says.
// Layout:   packed.h. A block computes 32 to 128 rows of up to 64 tokens. Two groups of warps take the two chunks of a span
//           (sum_order.h) side by side; a warp has 32 rows and all tokens. x and weights come through shared memory in 2 to 4
//           stages of 64 inputs. If there are few rows, several blocks share the spans of the same rows and exchange sums through
//           device memory, or the warps of a block are two teams of two groups, one for each half of the spans.
// Bytes:    every packed byte and every x once from DRAM, if what neighbouring blocks share stays in L2; from L2 the weights
//           once for each 64 tokens, x once for each block of rows. Of blocks that share spans, all but one write their
//           sums, which that one reads. For 16 to 64 tokens reads are at most 1.15 times the weight's bytes, if the weight is large.
// Launch:   one dimension: blocks of the same rows side by side, for they share weights; batch_plan.h.
// Limits:   kMaxSegments formats in a launch; cols a multiple of 8, x on a 16-byte boundary.
// Capture:  yes.
// Numerics: as packed_matmul_kernel, bit for bit. However the work is cut into blocks, sums are added in the same order.
// Source:   Frantar et al., MARLIN, 2024 (stages of x and weights in shared memory, a block of 4 x 2 warps).
// History:  blocks of 16 rows that read x for themselves asked L2 for 15.2 times the bytes of a 4-bit weight of 4,096 rows at
//           64 tokens; now 8.1. When all of four blocks wrote sums and one read them all, reads from DRAM were 1.5 times the
//           weight's bytes there, now 1.06. With at most 128 registers, four token tiles spill.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/epilogue.cuh"
#include "cuda/backend/matmul/kernels.h"
#include "cuda/backend/matmul/stage.cuh"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kMaxThreads = 32 * kWarpGroups * kMaxRowWarps;

struct BatchLaunch {
  BatchPlan plan;
  int tokens;
};

// What a block computes. Its warps are one team, or two that share its rows and tokens and take a half of the spans each. A team
// is two groups, for the two chunks of a span.
struct BlockWork {
  int first_token, tokens;
  int segment, first_tile;  // of the segment
  int row_tiles;            // that the segment has from there
  int row_warps;            // of a group
  int teams;
  int split, splits;  // which block of those that share the spans of the same rows and tokens
  int unit;           // the row block and token group, of all row blocks that are split
  __device__ int warps() const { return teams * kWarpGroups * row_warps; }
};
__device__ inline BlockWork work_of(const PackedView& weight, const BatchLaunch& shape) {
  const BatchPlan& plan = shape.plan;
  const int groups = plan.token_groups;
  int at = static_cast<int>(blockIdx.x);
  const bool whole = at >= plan.split.row_blocks * groups * plan.splits;
  if (whole) at -= plan.split.row_blocks * groups * plan.splits;
  const RowBlocks& rows = whole ? plan.whole : plan.split;
  BlockWork work;
  work.splits = whole ? 1 : plan.splits;
  work.teams = whole ? 2 : 1;
  work.row_warps = rows.row_warps;
  const int group = at % groups;
  at /= groups;
  work.split = at % work.splits;
  const int row_block = at / work.splits;
  int s = 0;
  while (s + 1 < weight.segment_count && row_block >= rows.first_block[s + 1]) ++s;
  work.first_token = group * plan.token_tiles * kTokenTile;
  work.tokens = shape.tokens - work.first_token;
  work.segment = s;
  work.first_tile = rows.first_tile[s] + (row_block - rows.first_block[s]) * block_row_tiles(rows.row_warps);
  work.row_tiles = (weight.segments[s].rows + kTileRows - 1) / kTileRows - work.first_tile;
  work.unit = row_block * groups + group;
  return work;
}

// Of a warp.
struct WarpPlace {
  int warp, team, group, row_warp;
  __device__ explicit WarpPlace(const BlockWork& work) {
    warp = static_cast<int>(threadIdx.x / 32);
    row_warp = warp % work.row_warps;
    group = warp / work.row_warps % kWarpGroups;
    team = warp / (work.row_warps * kWarpGroups);
  }
  // The warp of the same rows in the other group.
  __device__ int partner(const BlockWork& work) const { return warp + (1 - 2 * group) * work.row_warps; }
};

// The spans that a team adds.
struct Spans {
  int first, count;
};
__device__ inline Spans spans_of(const SumOrder& order, const BlockWork& work, int team) {
  const int parts = work.splits * work.teams, part = work.split + team;
  if (parts == 1) return {0, order.spans};
  if (parts > 2) return {part, 1};
  return part == 0 ? Spans{0, order.half_spans} : Spans{order.half_spans, order.spans - order.half_spans};
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

// The copies to the stages of a warp's group, which hold the tiles of all of its rows.
template <typename Reader, typename T, int kTokenTiles>
class StageCopies {
 public:
  __device__ StageCopies(const PackedView& weight, const BlockWork& work, const T* x)
      : cols_(weight.cols), tokens_(work.tokens), row_warps_(work.row_warps) {
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

// The sums of the team's spans.
template <typename T, int kTokenTiles, typename Reader>
__device__ inline void add_spans(const Reader& reader, const PackedView& weight, const BatchPlan& plan,
                                 const BlockWork& work, const T* x, std::byte* shared,
                                 Sums<kept_tiles(kTokenTiles)>& total) {
  constexpr int kKept = kept_tiles(kTokenTiles);
  const WarpPlace at(work);
  const int chunk = plan.order.chunk_tiles;
  const int group_bytes = group_stage_bytes(kTokenTiles, work.row_warps, Reader::kTileBytes);
  const int stage_bytes = work.teams * kWarpGroups * group_bytes;
  std::byte* ring = shared + work.warps() * kept_bytes(kTokenTiles) + (at.team * kWarpGroups + at.group) * group_bytes;
  const int ring_bytes = plan.stages * stage_bytes;
  const StageCopies<Reader, T, kTokenTiles> copies(weight, work, x);
  Cursor copied{(spans_of(plan.order, work, at.team).first * kChunksPerSpan + at.group) * chunk, chunk}, added = copied;
  // Both teams take as many steps; beyond the last input there is nothing to add.
  const int steps = chunk * spans_of(plan.order, work, 0).count;
  const int middle = work.splits * work.teams == 1 ? chunk * plan.order.half_spans : steps;
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
  Sums<kKept> first_half = {};
  for (int step = 0; step < steps; ++step) {
    wait_for_stage(plan.stages);
    __syncthreads();
    copy_next();
    if (added.tile < weight.col_tiles) add_stage<T, kTokenTiles>(reader, ring + add_at, at.row_warp, sum);
    add_at = add_at + stage_bytes < ring_bytes ? add_at + stage_bytes : 0;
    if (!added.advance(chunk)) continue;
    add_span<kTokenTiles>(reinterpret_cast<float4*>(shared), at.warp, at.partner(work), at.group, sum, total);
    if (step + 1 == middle && middle < steps) {
#pragma unroll
      for (int j = 0; j < kKept; ++j)
#pragma unroll
        for (int r = 0; r < kWarpRowTiles; ++r)
#pragma unroll
          for (int i = 0; i < 4; ++i) first_half[r][j][i] = total[r][j][i], total[r][j][i] = 0.0f;
    }
  }
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i) total[r][j][i] = first_half[r][j][i] + total[r][j][i];
}

// Adds the second team's half to the first's, which returns true. exchange: as in add_span().
template <int kKept>
__device__ inline bool merge_teams(const BlockWork& work, float4* exchange, Sums<kKept>& total) {
  const WarpPlace at(work);
  const int first_warp = at.warp % (kWarpGroups * work.row_warps);
  const auto piece = [&](int j, int r) {
    return exchange + (((first_warp * kKept + j) * kWarpRowTiles + r) * 32 + static_cast<int>(threadIdx.x % 32));
  };
  __syncthreads();  // the last span's exchange is over
  if (at.team == 1) {
#pragma unroll
    for (int j = 0; j < kKept; ++j)
#pragma unroll
      for (int r = 0; r < kWarpRowTiles; ++r) {
        const float(&t)[4] = total[r][j];
        *piece(j, r) = make_float4(t[0], t[1], t[2], t[3]);
      }
  }
  __syncthreads();
  if (at.team == 1) return false;
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const float4 add = *piece(j, r);
      total[r][j][0] += add.x, total[r][j][1] += add.y, total[r][j][2] += add.z, total[r][j][3] += add.w;
    }
  return true;
}

// Of a unit's blocks, the one that starts last merges: it waits for the others, which run already, and need not write its own
// sums. A unit's counter holds how many have started and, from this bit on, how many have handed over theirs.
constexpr unsigned kHandedOver = 1u << 16;

// What thread 0 leaves in shared memory, so that no register holds it through the sums.
struct StartedSplit {
  int unit;
  bool last;  // whether the block is the last of its unit to start
};
__device__ inline void start_split(const BlockWork& work, unsigned* counters, StartedSplit& started) {
  if (threadIdx.x != 0) return;
  started.unit = work.unit;
  started.last = (atomicAdd(counters + work.unit, 1u) & (kHandedOver - 1)) == static_cast<unsigned>(work.splits - 1);
}

// Hands the block's sums over; the block that started last gets those of all, added in order, and returns true.
template <int kKept>
__device__ inline bool merge_splits(const SumOrder& order, const BlockWork& work, const StartedSplit& started,
                                    float4* partials, unsigned* counters, Sums<kKept>& total) {
  const auto others = static_cast<unsigned>(work.splits - 1);
  constexpr int kPieces = kKept * kWarpRowTiles;
  const int threads = 32 * work.warps(), split_pieces = kPieces * threads;
  float4* unit = partials + (std::int64_t{started.unit} * work.splits * split_pieces + threadIdx.x);
  const auto piece = [&](int split, int j, int r) {
    return unit + (split * split_pieces + (j * kWarpRowTiles + r) * threads);
  };
  if (!started.last) {
#pragma unroll
    for (int j = 0; j < kKept; ++j)
#pragma unroll
      for (int r = 0; r < kWarpRowTiles; ++r) {
        const float(&t)[4] = total[r][j];
        *piece(work.split, j, r) = make_float4(t[0], t[1], t[2], t[3]);
      }
    __threadfence();  // the sums are visible before the count
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(counters + started.unit, kHandedOver);
    return false;
  }
  if (threadIdx.x == 0) {
    volatile unsigned* counter = counters + started.unit;
    while (*counter != others * kHandedOver + others + 1) __nanosleep(32);
    *counter = 0;
    __threadfence();  // other blocks' sums are read after the count
  }
  __syncthreads();
  // The splits of the first half come first.
  const int middle = work.splits == 2 ? 1 : order.half_spans;
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      float half[2][4] = {};
#pragma unroll
      for (int i = 0; i < kMaxSpans; ++i) {
        constexpr int kMaxHalf = kMaxSpans / 2;
        const int split = i < kMaxHalf ? i : middle + i - kMaxHalf;
        if (split >= (i < kMaxHalf ? middle : work.splits)) continue;
        const float(&own)[4] = total[r][j];
        const float4 add = split == work.split ? make_float4(own[0], own[1], own[2], own[3]) : __ldcg(piece(split, j, r));
        float(&sum)[4] = half[i / kMaxHalf];
        sum[0] += add.x, sum[1] += add.y, sum[2] += add.z, sum[3] += add.w;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) total[r][j][i] = half[0][i] + half[1][i];
    }
  return true;
}

template <int kTokenTiles>
__device__ inline void store_sums(const PackedView& weight, const BlockWork& work, const Epilogue& to,
                                  const Sums<kept_tiles(kTokenTiles)>& total) {
  constexpr int kKept = kept_tiles(kTokenTiles);
  const WarpPlace at(work);
  const int g = static_cast<int>(threadIdx.x % 32 / 4), t = static_cast<int>(threadIdx.x % 4);
  const TileSegment& segment = weight.segments[work.segment];
  // Sum i of a lane's four belongs to row g (i < 2) or g + 8 and to token 2 t + i % 2 of the token tile.
#pragma unroll
  for (int r = 0; r < kWarpRowTiles; ++r)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (work.first_tile + kWarpRowTiles * at.row_warp + r) * kTileRows + g + 8 * half;
      if (row >= segment.rows) continue;
      const float add = to.bias ? to.bias[segment.first_row + row] : 0.0f;
      float* out = static_cast<float*>(to.out) + (work.first_token * to.stride + segment.first_row + row);
#pragma unroll
      for (int j = 0; j < kKept; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int tile = at.group * kKept + j, token = tile * kTokenTile + 2 * t + i;
          if (tile >= kTokenTiles || token >= work.tokens) continue;
          const float value = total[r][j][2 * half + i];
          out[token * to.stride] = to.bias ? value + add : value;
        }
    }
}

// The same where gate and up alternate: a lane's sums i and i + 2. By way of shared memory, so that there is one loop to fetch; exchange: as
// in add_span(), each lane for itself.
template <typename T, int kTokenTiles>
__device__ inline void store_gated_sums(const PackedView& weight, const BlockWork& work, const Epilogue& to,
                                        float4* exchange, const Sums<kept_tiles(kTokenTiles)>& total) {
  constexpr int kKept = kept_tiles(kTokenTiles);
  const WarpPlace at(work);
  const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
  float4* own = exchange + (at.warp * kKept * kWarpRowTiles * 32 + lane);
  __syncthreads();  // the exchanges before are over
#pragma unroll
  for (int j = 0; j < kKept; ++j)
#pragma unroll
    for (int r = 0; r < kWarpRowTiles; ++r) {
      const float(&s)[4] = total[r][j];
      own[(j * kWarpRowTiles + r) * 32] = make_float4(s[0], s[1], s[2], s[3]);
    }
#pragma unroll 1
  for (int piece = 0; piece < kKept * kWarpRowTiles; ++piece) {
    const float4 s = own[piece * 32];
    const int row_tile = work.first_tile + kWarpRowTiles * at.row_warp + piece % kWarpRowTiles;
    const int tile = at.group * kKept + piece / kWarpRowTiles, token = tile * kTokenTile + 2 * t;
    if (row_tile * kTileRows >= weight.rows || tile >= kTokenTiles) continue;
    const int result = row_tile * (kTileRows / 2) + g;
    const std::int64_t first = (work.first_token + token) * to.stride;
    if (token < work.tokens) store_gated<T>(to, first, result, weight.rows, s.x, s.z);
    if (token + 1 < work.tokens) store_gated<T>(to, first + to.stride, result, weight.rows, s.y, s.w);
  }
}

// Each warp brings what its group reads first of its rows to L2.
__device__ inline void prefetch_weights(const PackedView& weight, const BatchPlan& plan, const BlockWork& work) {
  constexpr int kPrefetchBytes = 2048;  // of a tile row
  const int lane = static_cast<int>(threadIdx.x % 32);
  const WarpPlace at(work);
  const int row = kWarpRowTiles * at.row_warp + lane, chunk = plan.order.chunk_tiles;
  const int tile = (spans_of(plan.order, work, at.team).first * kChunksPerSpan + at.group) * chunk;
  if (lane >= kWarpRowTiles || row >= work.row_tiles || tile >= weight.col_tiles) return;
  const TileSegment& segment = weight.segments[work.segment];
  const int bytes = tile_bytes(segment.format);
  prefetch_to_l2(segment.tiles + (std::int64_t{work.first_tile + row} * segment.tile_row_bytes + std::int64_t{tile} * bytes),
                 static_cast<std::size_t>(min(min(chunk, weight.col_tiles - tile) * bytes, kPrefetchBytes)));
}

template <typename T, int kTokenTiles>
__global__ void __launch_bounds__(kMaxThreads, kTokenTiles <= 2 ? 2 : 1)
    batch_packed_matmul_kernel(const __grid_constant__ PackedView weight, const __grid_constant__ BatchLaunch shape,
                               const T* const __grid_constant__ x, float4* const __grid_constant__ partials,
                               unsigned* const __grid_constant__ counters, const __grid_constant__ Epilogue to) {
  extern __shared__ float4 shared[];  // what warps exchange, then the stages
  constexpr int kKept = kept_tiles(kTokenTiles);
  const BlockWork work = work_of(weight, shape);
  if (static_cast<int>(threadIdx.x) >= 32 * work.warps()) return;
  if constexpr (kTokenTiles < 8) prefetch_weights(weight, shape.plan, work);  // with 8 it would make sm_100 spill
  wait_for_launch_ahead();  // the launch ahead may be a product that uses the same counters
  allow_next_launch();
  __shared__ StartedSplit started;
  if (work.splits > 1) start_split(work, counters, started);  // read after many barriers
  Sums<kKept> total = {};
  with_reader<T>(weight.segments[work.segment].format, [&](const auto& reader) {
    add_spans<T, kTokenTiles>(reader, weight, shape.plan, work, x, reinterpret_cast<std::byte*>(shared), total);
  });
  if (work.teams > 1 && !merge_teams<kKept>(work, shared, total)) return;
  if (work.splits > 1 && !merge_splits<kKept>(shape.plan.order, work, started, partials, counters, total)) return;
  if (to.gated)
    store_gated_sums<T, kTokenTiles>(weight, work, to, shared, total);
  else
    store_sums<kTokenTiles>(weight, work, to, total);
}

template <typename T, int kTokenTiles>
void launch_tiles(const PackedView& weight, const BatchLaunch& shape, const void* x, const Epilogue& to,
                  const MatmulWorkspace& workspace, const LaunchStream& stream) {
  const auto kernel = batch_packed_matmul_kernel<T, kTokenTiles>;
  allow_shared_memory(reinterpret_cast<const void*>(kernel), workspace,
                      workspace.allowed->of_batch[std::is_same_v<T, __half> ? 0 : 1][kTokenTiles]);
  const BatchPlan& plan = shape.plan;
  launch(kernel, "launching batch_packed_matmul_kernel", static_cast<unsigned>(blocks_of(plan)),
         32u * static_cast<unsigned>(warps_of(plan)), static_cast<std::size_t>(plan.shared_bytes), stream, weight, shape,
         static_cast<const T*>(x), workspace.partials, workspace.counters, to);
}

template <typename T>
void launch_for(const PackedView& weight, const BatchLaunch& shape, const void* x, const Epilogue& to,
                const MatmulWorkspace& workspace, const LaunchStream& stream) {
  switch (shape.plan.token_tiles) {
    case 2: return launch_tiles<T, 2>(weight, shape, x, to, workspace, stream);
    case 4: return launch_tiles<T, 4>(weight, shape, x, to, workspace, stream);
    case 5: return launch_tiles<T, 5>(weight, shape, x, to, workspace, stream);
    case 6: return launch_tiles<T, 6>(weight, shape, x, to, workspace, stream);
    default: return launch_tiles<T, 8>(weight, shape, x, to, workspace, stream);
  }
}

}  // namespace

void launch_packed_matmul_batch(const PackedView& weight, DType type, const void* x, std::int64_t tokens, const Epilogue& to,
                                const MatmulWorkspace& workspace, const LaunchStream& stream) {
  if (weight.row_tiles == 0) return;
  // A grid has 2^31 - 1 blocks; a plan at most eight for each row tile and 64 tokens.
  constexpr int kMaxGroups = 1 << 18;
  const std::int64_t most = kMaxBatchTokens * std::clamp((1 << 27) / weight.row_tiles, 1, kMaxGroups);
  for (std::int64_t first = 0; first < tokens; first += most) {
    const int now = static_cast<int>(std::min(tokens - first, most));
    const BatchLaunch shape{workspace.plans->find(weight, now), now};
    const void* from = static_cast<const std::byte*>(x) + first * weight.cols * bytes_of(type);
    const Epilogue from_first = to.from_token(first, type);
    if (shape.plan.by_chunks) {
      launch_packed_matmul_chunks(weight, shape.plan, type, from, now, from_first, workspace, stream);
      continue;
    }
    type == DType::f16 ? launch_for<__half>(weight, shape, from, from_first, workspace, stream)
                       : launch_for<__nv_bfloat16>(weight, shape, from, from_first, workspace, stream);
  }
}

}  // namespace warploom::cuda
