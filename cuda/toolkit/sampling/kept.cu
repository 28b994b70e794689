// Lists the kept tokens of every row's draw, by ascending id, row after row in one array.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16; kept_offsets [rows + 1], kept [kept_capacity].
// Layout:   a block takes 8192 neighbouring tokens of one row, a thread 4 of them at once.
// Bytes:    the row once (from L2 where the draw left it there), the list once, 8 bytes a tile.
// Launch:   512 threads; rows * vocab_size / 8192 blocks, which take tickets so that each one's predecessors run.
// Capture:  yes: a fill of the tiles' sums, and one kernel.
// Numerics: exact.
// Source:   decoupled look-back: Merrill and Garland, "Single-pass parallel prefix scan with decoupled look-back", NVIDIA
//           2016.
#include <cuda/atomic>

#include "cuda/runtime/check.h"
#include "cuda/toolkit/sampling/tile.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr u64 kOwnSum = 1, kRunningSum = 2;  // in a tile's word, below its sum

using Word = ::cuda::atomic_ref<u64, ::cuda::thread_scope_device>;

// The sum of all tiles before this one; by one whole warp.
__device__ u64 sum_before(u64* words, u32 tile, u64 own) {
  const int lane = threadIdx.x % 32;
  if (lane == 0) Word(words[tile]).store(own << 2 | (tile == 0 ? kRunningSum : kOwnSum), ::cuda::memory_order_relaxed);
  u64 before = 0;
  for (std::int64_t last = std::int64_t{tile} - 1; last >= 0; last -= 32) {
    const std::int64_t at = last - lane;
    u64 word = kRunningSum;
    while (at >= 0 && (word = Word(words[at]).load(::cuda::memory_order_relaxed)) == 0) __nanosleep(32);
    __syncwarp();
    const u32 running = __ballot_sync(kAllLanes, (word & 3) == kRunningSum);
    const int nearest = running != 0 ? __ffs(static_cast<int>(running)) - 1 : 31;
    before += warp_sum(lane <= nearest ? word >> 2 : 0);
    if (running != 0) break;
  }
  if (lane == 0 && tile > 0) Word(words[tile]).store((before + own) << 2 | kRunningSum, ::cuda::memory_order_relaxed);
  return before;
}

// words: a ticket, then a word a tile; zero before the launch.
template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads, 2)
    kept_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ bool aligned,
                const RowRecord* const __grid_constant__ records, u64* const __grid_constant__ words) {
  using Scan = cub::BlockScan<u32, kThreads, cub::BLOCK_SCAN_WARP_SCANS>;
  __shared__ Scan::TempStorage scan;
  __shared__ RowParams params;
  __shared__ u32 ticket;
  __shared__ u64 before_tile;
  const u32 tiles = row_tiles(a.vocab_size);
  if (threadIdx.x == 0) {
    ticket = static_cast<u32>(atomicAdd(words, u64{1}));
    params.read(a, ticket / tiles);
  }
  __syncthreads();
  const std::int64_t r = ticket / tiles;
  const int first = static_cast<int>(ticket % tiles) * kTile, end = min(first + kTile, static_cast<int>(a.vocab_size));
  const RowRecord record = records[r];
  const Row<T, kSparse> row(a, r, params, aligned, false, first);
  u32 kept = 0;  // a bit a token
  const auto at_step = [&](int step) { return first + 4 * static_cast<int>(kThreads * step + threadIdx.x); };
  constexpr int kSteps = kTile / (4 * kThreads);
  if (record.status == SampleStatus::ok) {
    row.mark(first, end);
    const Kept<T> filter(record);
#pragma unroll 1
    for (int step = 0; step < kSteps; ++step) {
      const int at = at_step(step);
      if (at >= end) break;
      const float4 y = row.load(at, end);
      const u32 here = filter.draws(at, y.x) | filter.draws(at + 1, y.y) << 1 | filter.draws(at + 2, y.z) << 2 |
                       filter.draws(at + 3, y.w) << 3;
      kept |= here << (4 * step);
    }
  }
  u32 before[kSteps], own = 0;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    u32 sum;
    __syncthreads();
    Scan(scan).ExclusiveSum(static_cast<u32>(__popc(kept >> (4 * step) & 15u)), before[step], sum);
    before[step] += own;
    own += sum;
  }
  if (threadIdx.x < 32) {
    const u64 sum = sum_before(words + 1, ticket, own);
    if (threadIdx.x == 0) {
      before_tile = sum;
      if (first == 0) a.kept_offsets[r] = static_cast<std::int64_t>(sum);
      if (r == a.rows - 1 && end == a.vocab_size) a.kept_offsets[a.rows] = static_cast<std::int64_t>(sum + own);
    }
  }
  __syncthreads();
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    auto place = static_cast<std::int64_t>(before_tile + before[step]);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if ((kept >> (4 * step + j) & 1u) == 0) continue;
      if (place < a.kept_capacity) a.kept[place] = at_step(step) + j;
      ++place;
    }
  }
}

}  // namespace

std::int64_t kept_tiles(const SampleArgs& a) { return all_tiles(a); }

void launch_kept(const SampleArgs& a, const SampleScratch& scratch, cudaStream_t stream) {
  const auto* kernel = with_row_type(a, [](auto type, auto sparse) {
    return reinterpret_cast<const void*>(kept_kernel<typename decltype(type)::type, decltype(sparse)::value>);
  });
  const std::int64_t tiles = kept_tiles(a);
  check(cudaMemsetAsync(scratch.tiles, 0, static_cast<std::size_t>(tiles + 1) * sizeof(u64), stream),
        "clearing the workspace of sampling");
  SampleArgs args = a;
  SampleScratch s = scratch;
  bool aligned = rows_aligned(a);
  void* arguments[] = {&args, &aligned, &s.records, &s.tiles};
  check(cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(tiles)), dim3(kThreads), arguments, sparse_bytes(a), stream),
        "launching kept_kernel");
}

}  // namespace warploom::cuda
