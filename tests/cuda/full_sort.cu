// Samples by sorting whole rows: the yardstick of the selection that the library does.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16.
// Layout:   a pass writes keys and ids, a segmented radix sort orders them, one block a row cuts and draws.
// Bytes:    16 a token and pass of the sort, of which 32-bit keys take several.
// Capture:  no.
// Numerics: docs/sampling.md; exact.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cub/block/block_scan.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

#include "core/sampling_math.h"
#include "cuda/device/order_key.cuh"
#include "cuda/runtime/check.h"
#include "tests/cuda/full_sort.h"

namespace warploom::test {

namespace {

using cuda::device::logit_of;
using cuda::device::order_key;
using u64 = unsigned long long;

constexpr int kThreads = 256;

__device__ float logit(const SampleArgs& a, std::int64_t row, std::int64_t i) {
  const std::int64_t at = row * a.row_stride + i;
  switch (a.type) {
    case DType::f16: return __half2float(static_cast<const __half*>(a.logits)[at]);
    case DType::bf16: return __bfloat162float(static_cast<const __nv_bfloat16*>(a.logits)[at]);
    default: return static_cast<const float*>(a.logits)[at];
  }
}

__global__ void keys_kernel(SampleArgs a, std::uint32_t* keys, TokenId* ids) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, row = i / a.vocab_size, id = i % a.vocab_size;
  if (row >= a.rows) return;
  keys[i] = order_key(logit(a, row, id));
  ids[i] = static_cast<TokenId>(id);
}

struct Tail {  // of the prefix that is kept: its last token, its length and its sum
  std::int64_t last;
  u64 sum;
};

using Scan = cub::BlockScan<u64, kThreads>;

// The first place in [0, count) at which the running sum of weight(i) reaches `need`, and that sum; by the whole block.
template <class Weight>
__device__ Tail first_reaching(Scan::TempStorage& scan, Tail& found, std::int64_t count, u64 need, Weight weight) {
  u64 before = 0;
  __syncthreads();
  if (threadIdx.x == 0) found = {-1, 0};
  __syncthreads();
  for (std::int64_t base = 0; base < count && found.last < 0; base += kThreads) {
    const std::int64_t i = base + threadIdx.x;
    const u64 mine = i < count ? weight(i) : 0;
    u64 until, all;
    Scan(scan).InclusiveSum(mine, until, all);
    until += before;
    before += all;
    if (until >= need && until - mine < need) found = {i, until};
    __syncthreads();
  }
  return found.last < 0 ? Tail{count - 1, before} : found;
}

__global__ void cut_kernel(SampleArgs a, const std::uint32_t* keys, const TokenId* ids) {
  __shared__ Scan::TempStorage scan;
  __shared__ Tail found;
  const std::int64_t r = blockIdx.x;
  const std::uint32_t* sorted = keys + r * a.vocab_size;
  const float max = logit_of(sorted[0]), scale = sampling::exponent_scale(a.temperature ? a.temperature[r] : 1.0f);
  const auto weight = [&](std::int64_t i) -> u64 { return sampling::weight(logit_of(sorted[i]), max, scale); };
  const std::int64_t first_k = a.top_k && a.top_k[r] > 0 && a.top_k[r] < a.vocab_size ? a.top_k[r] : a.vocab_size;
  Tail tail = first_reaching(scan, found, first_k, ~u64{0}, weight);
  if (a.top_p && a.top_p[r] < 1.0f)
    tail = first_reaching(scan, found, first_k, sampling::top_p_threshold(a.top_p[r], tail.sum), weight);
  const std::uint32_t last_key = sorted[tail.last];
  const TokenId last_id = ids[r * a.vocab_size + tail.last];
  const u64 at = sampling::draw(
      sampling::random_bits(a.seed ? a.seed[r] : 0, a.position ? a.position[r] : 0, a.subsequence ? a.subsequence[r] : 0),
      tail.sum);
  const Tail drawn = first_reaching(scan, found, a.vocab_size, at + 1, [&](std::int64_t id) -> u64 {
    const float y = logit(a, r, id);
    const std::uint32_t key = order_key(y);
    const bool kept = key > last_key || (key == last_key && id <= last_id);
    return kept ? sampling::weight(y, max, scale) : 0;
  });
  const Tail weighty =
      first_reaching(scan, found, tail.last + 1, tail.sum, weight);  // weights of 0 at the end survive nothing
  if (threadIdx.x != 0) return;
  a.token[r] = static_cast<TokenId>(drawn.last);
  if (a.num_kept) a.num_kept[r] = weighty.last + 1;
  if (a.total_weight) a.total_weight[r] = tail.sum;
}

template <typename T>
T* allocate(std::size_t count) {
  void* p = nullptr;
  cuda::check(cudaMalloc(&p, count * sizeof(T)), "allocating room for a sort");
  return static_cast<T*>(p);
}

__global__ void offsets_kernel(std::int64_t* offsets, std::int64_t rows, std::int64_t vocab_size) {
  const std::int64_t r = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (r <= rows) offsets[r] = r * vocab_size;
}

}  // namespace

void full_sort_sample(const SampleArgs& a) {
  const auto elements = static_cast<std::size_t>(a.rows * a.vocab_size);
  const auto rows = static_cast<unsigned>(a.rows);
  auto *keys = allocate<std::uint32_t>(2 * elements), *sorted_keys = keys + elements;
  auto *ids = allocate<TokenId>(2 * elements), *sorted_ids = ids + elements;
  auto* offsets = allocate<std::int64_t>(rows + 1);
  offsets_kernel<<<rows / kThreads + 1, kThreads>>>(offsets, a.rows, a.vocab_size);
  keys_kernel<<<static_cast<unsigned>((elements + kThreads - 1) / kThreads), kThreads>>>(a, keys, ids);
  std::size_t bytes = 0;
  const auto sort = [&](void* room) {
    cuda::check(cub::DeviceSegmentedRadixSort::SortPairsDescending(room, bytes, keys, sorted_keys, ids, sorted_ids,
                                                                   a.rows * a.vocab_size, a.rows, offsets, offsets + 1),
                "sorting rows");
  };
  sort(nullptr);
  auto* room = allocate<std::byte>(bytes);
  sort(room);
  cut_kernel<<<rows, kThreads>>>(a, sorted_keys, sorted_ids);
  cuda::check(cudaDeviceSynchronize(), "drawing from sorted rows");
  for (void* p : {static_cast<void*>(keys), static_cast<void*>(ids), static_cast<void*>(offsets), static_cast<void*>(room)})
    cudaFree(p);
}

}  // namespace warploom::test
