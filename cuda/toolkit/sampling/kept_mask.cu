// Writes a byte for each token of a row: 1 for those that the row's draw picks from.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16; mask u8 [rows, stride].
// Layout:   a block takes 8192 neighbouring tokens of one row, a thread 4 of them at once.
// Bytes:    the row once (from L2 where the draw left it there) and the mask once.
// Launch:   512 threads; rows * vocab_size / 8192 blocks.
// Capture:  yes.
// Numerics: exact.
#include "cuda/toolkit/sampling/kept_mask.h"

#include "cuda/runtime/check.h"
#include "cuda/toolkit/sampling/tile.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads)
    kept_mask_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ bool aligned,
                     const RowRecord* const __grid_constant__ records, const __grid_constant__ MaskRows mask) {
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
  std::uint8_t* out = mask.data + r * mask.stride;
  for (int at = first + 4 * static_cast<int>(threadIdx.x); at < end; at += 4 * kThreads) {
    const float4 y = ok ? row.load(at, end) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float values[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (at + j < end) out[at + j] = ok && filter.draws(at + j, values[j]);
  }
}

}  // namespace

void launch_kept_mask(const SampleArgs& a, const MaskRows& mask, const SampleScratch& scratch, cudaStream_t stream) {
  const auto* kernel = with_row_type(a, [](auto type, auto sparse) {
    return reinterpret_cast<const void*>(kept_mask_kernel<typename decltype(type)::type, decltype(sparse)::value>);
  });
  SampleArgs args = a;
  MaskRows out = mask;
  const RowRecord* records = scratch.records;
  bool aligned = rows_aligned(a);
  void* arguments[] = {&args, &aligned, &records, &out};
  check(cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(all_tiles(a))), dim3(kThreads), arguments, sparse_bytes(a),
                         stream),
        "launching kept_mask_kernel");
}

}  // namespace warploom::cuda
