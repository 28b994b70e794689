// Embedding look-up: one row of a table for each token.
//
// Shapes:   table [vocab_size, cols], packed or rows of 16-bit floats; ids [tokens]; out [tokens, cols] f32.
// Layout:   packed.h; a thread takes every 256th input of its token.
// Bytes:    the row's codes and scales, in whole sectors of its tiles; out once.
// Launch:   a block of 256 threads for each token.
// Limits:   ids must be rows of the table. A packed table leaves the tokens of other ids unchanged.
// Capture:  yes.
// Numerics: scale * (code - zero_point) + min in f32, rounded once. Equal to the file's values, except that the scales and
//           mins of K-quants are products rounded to f16. 16-bit floats are converted exactly.
// Source:   packed.h.
// History:  none yet.
#include "cuda/backend/matmul/kernels.h"
#include "cuda/device/dependent_launch.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/runtime/launch.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr int kEmbedThreads = 256;

template <typename T>
__device__ inline float element_at(const std::byte* at) {
  return static_cast<float>(*reinterpret_cast<const T*>(at));
}

template <typename T>
__device__ inline float weight_at(const std::byte* tile, TileFormat format, int row, int input) {
  const int g = row % 8, upper = row / 8, half = input / 32, t = input % 32 / 8, s = 2 * half + input % 8 / 4, q = input % 4;
  const int lane = 4 * g + t;
  if (format.bits == 16) return element_at<T>(tile + 512 * s + 16 * lane + 4 * upper + 8 * (q / 2) + 2 * (q % 2));
  int code;
  if (format.bits == 4) {
    const auto word = *reinterpret_cast<const std::uint32_t*>(tile + 16 * lane + 4 * s);
    code = static_cast<int>(word >> (4 * upper + 8 * (q / 2) + 16 * (q % 2)) & 15u);
  } else {
    code = static_cast<int>(tile[512 * half + 16 * lane + 8 * (s % 2) + 4 * upper + q]);
  }
  const std::byte* scales = tile + tile_code_bytes(format.bits) + 4 * upper;
  const float centred = static_cast<float>(code - zero_point_of(format));
  if (format.scales == ScaleLayout::plain) return element_at<__half>(scales + 8 * g + 2 * half) * centred;
  const std::byte* pair = scales + 16 * g + 8 * half;
  if (format.scales == ScaleLayout::halves) return element_at<__half>(pair + 2 * (t / 2)) * centred;
  return __fmaf_rn(element_at<__half>(pair), centred, element_at<__half>(pair + 2));
}

template <typename T>
__global__ void __launch_bounds__(kEmbedThreads)
    packed_embed_kernel(const __grid_constant__ PackedView table, const __grid_constant__ int first_row,
                        const TokenId* const __grid_constant__ ids, float* const __grid_constant__ out) {
  allow_next_launch();
  const int row = ids[blockIdx.x] - first_row;
  if (row < 0 || row >= table.rows) return;
  int s = 0;
  while (s + 1 < table.segment_count && row >= table.segments[s + 1].first_row) ++s;
  const TileSegment& segment = table.segments[s];
  const int within = row - segment.first_row, bytes = tile_bytes(segment.format);
  const std::byte* tiles = segment.tiles + std::int64_t{within / kTileRows} * segment.tile_row_bytes;
  float* to = out + std::int64_t{blockIdx.x} * table.cols;
  for (int i = threadIdx.x; i < table.cols; i += kEmbedThreads)
    to[i] = weight_at<T>(tiles + std::int64_t{i / kTileInputs} * bytes, segment.format, within % kTileRows, i % kTileInputs);
}

template <typename T>
__global__ void __launch_bounds__(kEmbedThreads)
    dense_embed_kernel(const T* const __grid_constant__ rows, const __grid_constant__ int cols,
                       const __grid_constant__ std::int64_t stride, const TokenId* const __grid_constant__ ids,
                       float* const __grid_constant__ out) {
  allow_next_launch();
  const T* row = rows + ids[blockIdx.x] * stride;
  float* to = out + std::int64_t{blockIdx.x} * cols;
  for (int i = threadIdx.x; i < cols; i += kEmbedThreads) to[i] = static_cast<float>(row[i]);
}

}  // namespace

void launch_packed_embed(const PackedView& table, DType type, int first_row, const TokenId* ids, std::int64_t tokens,
                         float* out, cudaStream_t stream) {
  if (tokens == 0) return;
  const auto kernel = type == DType::f16 ? packed_embed_kernel<__half> : packed_embed_kernel<__nv_bfloat16>;
  launch(kernel, "launching packed_embed_kernel", dim3(static_cast<unsigned>(tokens)), kEmbedThreads, 0, stream, table,
         first_row, ids, out);
}

void launch_dense_embed(const void* rows, DType type, std::int64_t cols, std::int64_t stride, const TokenId* ids,
                        std::int64_t tokens, float* out, cudaStream_t stream) {
  if (tokens == 0) return;
  const dim3 blocks(static_cast<unsigned>(tokens));
  if (type == DType::f16)
    launch(dense_embed_kernel<__half>, "launching dense_embed_kernel", blocks, kEmbedThreads, 0, stream,
           static_cast<const __half*>(rows), static_cast<int>(cols), stride, ids, out);
  else
    launch(dense_embed_kernel<__nv_bfloat16>, "launching dense_embed_kernel", blocks, kEmbedThreads, 0, stream,
           static_cast<const __nv_bfloat16*>(rows), static_cast<int>(cols), stride, ids, out);
}

}  // namespace warploom::cuda
