// Copies rows of a batch into rows that follow one another: what the last layer goes on with.
//
// Shapes:   in f32 [*, stride], rows [count]; out f32 [count, width].
// Layout:   a thread takes 4 neighbouring elements of a row, or 1 if width or stride is not a multiple of 4.
// Bytes:    each row read once and written once: bytes_moved().
// Launch:   256 threads; grid x covers a row, grid y the rows.
// Limits:   none. Beyond 65,535 rows, a block copies several.
// Capture:  yes.
// Numerics: a copy.
// Source:   none.
// History:  none.
#include <algorithm>

#include "core/divide.h"
#include "cuda/backend/elementwise/elementwise.h"
#include "cuda/device/activation.cuh"
#include "cuda/device/dependent_launch.cuh"

namespace warploom::cuda {
namespace {

constexpr int kGatherThreads = 256;

template <int kWidth>
__global__ void __launch_bounds__(kGatherThreads) gather_rows_kernel(const __grid_constant__ GatherRowsArgs a) {
  device::wait_for_launch_ahead();
  device::allow_next_launch();
  const long long at = (static_cast<long long>(blockIdx.x) * kGatherThreads + threadIdx.x) * kWidth;
  if (at >= a.width) return;
  for (long long row = blockIdx.y; row < a.count; row += gridDim.y) {
    float x[kWidth];
    device::load_some<kWidth>(a.in, a.rows[row] * a.stride + at, x);
    device::store_some<kWidth>(a.out, DType::f32, row * a.width + at, x);
  }
}

}  // namespace

void launch_gather_rows(const GatherRowsArgs& args, const LaunchStream& stream) {
  if (args.count == 0 || args.width == 0) return;
  const bool vector = args.width % 4 == 0 && args.stride % 4 == 0;
  const void* kernel =
      vector ? reinterpret_cast<const void*>(&gather_rows_kernel<4>) : reinterpret_cast<const void*>(&gather_rows_kernel<1>);
  const std::int64_t blocks = ceil_div(args.width, kGatherThreads * (vector ? 4 : 1));
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min<std::int64_t>(args.count, 65535)));
  void* arguments[] = {const_cast<GatherRowsArgs*>(&args)};
  launch_kernel(kernel, "gather_rows", grid, kGatherThreads, arguments, 0, stream);
}

}  // namespace warploom::cuda
