// How rows are cut into parts, and launches of kernels whose parts wait for each other. Host code.
#include <algorithm>

#include "cuda/runtime/check.h"
#include "cuda/toolkit/sampling/request.h"
#include "cuda/toolkit/sampling/team.cuh"

namespace warploom::cuda {

namespace {

constexpr std::int64_t kMinCtaLogits = 1536;  // logits a block must have to be worth a barrier
constexpr std::int64_t kManyRows = 64;        // from here on a row is one block's

std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

RowShape cut_row(std::int64_t vocab_size, std::int64_t parts) {
  RowShape shape;
  shape.segment = static_cast<int>(divide_up(divide_up(divide_up(vocab_size, parts), device::kMaxSegments), device::kStep)) *
                  device::kStep;
  const std::int64_t segments = divide_up(vocab_size, shape.segment);
  shape.segments = static_cast<int>(divide_up(segments, parts));
  shape.ctas_per_row = static_cast<int>(divide_up(segments, shape.segments));
  return shape;
}

}  // namespace

std::size_t row_workspace_bytes() { return sizeof(device::RowWorkspace); }
std::size_t row_lists_bytes() { return sizeof(device::RowLists); }

// All parts of all rows must run at once: so many that they do.
RowShape shape_for(const SampleArgs& a, const void* kernel, std::size_t dynamic_bytes) {
  std::int64_t parts = a.parts;
  if (parts == 0)
    parts = a.rows >= kManyRows ? 1 : std::clamp<std::int64_t>(a.vocab_size / kMinCtaLogits, 1, kMaxSampleParts);
  if (parts > 1) {
    int device = 0, processors = 0, blocks = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, device::kThreads, dynamic_bytes),
          "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    parts = std::clamp<std::int64_t>(std::int64_t{processors} * blocks / a.rows, 1, parts);
  }
  return cut_row(a.vocab_size, parts);
}

void launch_cta_group(const SampleArgs& a, const void* kernel, const RowShape& shape, std::size_t dynamic_bytes,
                      void** arguments, const SampleScratch& scratch, const char* what, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(a.rows * shape.ctas_per_row)), block(device::kThreads);
  if (shape.ctas_per_row > 1) {
    check(cudaMemsetAsync(scratch.row_workspaces, 0, static_cast<std::size_t>(a.rows) * row_workspace_bytes(), stream),
          "clearing the workspace of sampling");
    check(cudaLaunchCooperativeKernel(kernel, grid, block, arguments, dynamic_bytes, stream), what);
  } else {
    check(cudaLaunchKernel(kernel, grid, block, arguments, dynamic_bytes, stream), what);
  }
}

}  // namespace warploom::cuda
