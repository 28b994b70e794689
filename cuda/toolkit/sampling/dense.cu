// Writes rows of probabilities or of logits in which only the kept tokens of a draw stand.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16; outputs f32 [rows, dense_stride].
// Layout:   a block takes 8192 neighbouring tokens of one row, a thread 4 of them at once.
// Bytes:    the row once (from L2 where the draw left it there) and each output once.
// Launch:   512 threads; rows * vocab_size / 8192 blocks.
// Capture:  yes.
// Numerics: a probability is the share of the weight of the kept tokens, rounded once from binary64, without the cut to
//           integers that weights have: docs/sampling.md section 7.
#include <cmath>

#include "cuda/runtime/check.h"
#include "cuda/toolkit/sampling/plan.cuh"
#include "cuda/toolkit/sampling/request.h"
#include "cuda/toolkit/sampling/tile.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

// As much as may be stored at once.
__device__ void store(float* out, int at, int end, bool aligned, float4 y) {
  if (aligned && at + 4 <= end) {
    *reinterpret_cast<float4*>(out + at) = y;
    return;
  }
  const float values[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (at + j < end) out[at + j] = values[j];
}

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads)
    dense_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ bool aligned,
                 const __grid_constant__ bool stores_aligned, const RowRecord* const __grid_constant__ records) {
  __shared__ RowParams params;
  const u32 tiles = row_tiles(a.vocab_size);
  const std::int64_t r = blockIdx.x / tiles;
  const int first = static_cast<int>(blockIdx.x % tiles) * kTile, end = min(first + kTile, static_cast<int>(a.vocab_size));
  if (threadIdx.x == 0) params.read(a, r);
  __syncthreads();
  const bool ok = records[r].status == SampleStatus::ok;  // else nothing more was written
  const RowRecord record = ok ? records[r] : RowRecord{};
  const Row<T, kSparse> row(a, r, params, aligned, false, first);
  if (ok) row.mark(first, end);
  const Kept<T> filter(record);
  const double share = 0x1p40 / static_cast<double>(record.total);
  float* probabilities = a.probabilities ? a.probabilities + r * a.dense_stride : nullptr;
  float* logits = a.filtered_logits ? a.filtered_logits + r * a.dense_stride : nullptr;
  for (int at = first + 4 * static_cast<int>(threadIdx.x); at < end; at += 4 * kThreads) {
    float4 y = make_float4(NAN, NAN, NAN, NAN), p = y;
    if (ok) {
      y = row.load(at, end);
      const auto one = [&](int j, float& logit) {
        const bool keeps = filter.keep(at + j, logit);
        const float probability = static_cast<float>(static_cast<double>(filter.weight.relative(logit)) * share);
        logit = keeps ? logit : -INFINITY;
        return keeps ? probability : 0.0f;
      };
      p = make_float4(one(0, y.x), one(1, y.y), one(2, y.z), one(3, y.w));
    }
    if (probabilities) store(probabilities, at, end, stores_aligned, p);
    if (logits) store(logits, at, end, stores_aligned, y);
  }
}

}  // namespace

void launch_dense(const SampleArgs& a, const SampleScratch& scratch, cudaStream_t stream) {
  const auto* kernel = with_row_type(a, [](auto type, auto sparse) {
    return reinterpret_cast<const void*>(dense_kernel<typename decltype(type)::type, decltype(sparse)::value>);
  });
  SampleArgs args = a;
  const RowRecord* records = scratch.records;
  bool aligned = rows_aligned(a);
  const auto addresses =
      reinterpret_cast<std::uintptr_t>(a.probabilities) | reinterpret_cast<std::uintptr_t>(a.filtered_logits);
  bool stores_aligned = addresses % sizeof(float4) == 0 && a.dense_stride % 4 == 0;
  void* arguments[] = {&args, &aligned, &stores_aligned, &records};
  check(cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(all_tiles(a))), dim3(kThreads), arguments, sparse_bytes(a),
                         stream),
        "launching dense_kernel");
}

}  // namespace warploom::cuda
