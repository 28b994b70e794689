// How rows are cut into parts, and launches of kernels whose parts wait for each other. Host code.
#include <algorithm>

#include "cuda/runtime/check.h"
#include "cuda/runtime/multiprocessors.h"
#include "cuda/toolkit/sampling/request.h"
#include "cuda/toolkit/sampling/team.cuh"

namespace warploom::cuda {

namespace {

constexpr std::int64_t kMinCtaLogits = 1536;  // logits a block must have to be worth a barrier

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

// All parts of all rows must run at once. They take a block's room on each multiprocessor and no more, so that kernels of other
// streams neither wait for a call nor keep it waiting. Rows that are one block's each need not run at once.
RowShape shape_for(const SampleArgs& a, std::optional<cudaStream_t> stream) {
  std::int64_t parts = a.parts != 0 ? a.parts : std::clamp<std::int64_t>(a.vocab_size / kMinCtaLogits, 1, kMaxSampleParts);
  if (parts > 1) {
    const std::int64_t room = stream ? multiprocessors(*stream) : multiprocessors();
    parts = std::clamp<std::int64_t>(room / a.rows, 1, parts);
  }
  return cut_row(a.vocab_size, parts);
}

void launch_cta_group(const SampleArgs& a, const void* kernel, RowShape& shape,
                      const std::function<std::size_t()>& dynamic_bytes, void** arguments, const SampleScratch& scratch,
                      const char* what, cudaStream_t stream) {
  for (;; shape = cut_row(a.vocab_size, shape.ctas_per_row / 2)) {
    const dim3 grid(static_cast<unsigned>(a.rows * shape.ctas_per_row)), block(device::kThreads);
    const std::size_t bytes = dynamic_bytes();
    if (shape.ctas_per_row == 1) return check(cudaLaunchKernel(kernel, grid, block, arguments, bytes, stream), what);
    check(cudaMemsetAsync(scratch.row_workspaces, 0, static_cast<std::size_t>(a.rows) * row_workspace_bytes(), stream),
          "clearing the workspace of sampling");
    const cudaError_t error = cudaLaunchCooperativeKernel(kernel, grid, block, arguments, bytes, stream);
    if (error != cudaErrorCooperativeLaunchTooLarge) return check(error, what);
    static_cast<void>(cudaGetLastError());
  }
}

}  // namespace warploom::cuda
