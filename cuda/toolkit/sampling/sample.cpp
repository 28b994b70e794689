// The public call: which kernels run, and where their workspace lies.
#include <algorithm>

#include "cuda/runtime/check.h"
#include "cuda/runtime/multiprocessors.h"
#include "cuda/toolkit/sampling/kept_mask.h"
#include "cuda/toolkit/sampling/sample_args.h"

namespace warploom::cuda {

namespace {

struct Plan {
  RowShape shape;
  bool records = false;
  std::int64_t tiles = 0;
};

Plan plan_of(const SampleArgs& a, std::optional<cudaStream_t> stream) {
  Plan plan;
  plan.shape = shape_for(a, stream);
  plan.records = a.top > 0 || a.kept_offsets || a.probabilities || a.filtered_logits;
  if (a.kept_offsets) plan.tiles = kept_tiles(a);
  return plan;
}

// The workspace from `base` on; bytes of it.
std::size_t lay_out(const SampleArgs& a, const Plan& plan, std::byte* base, SampleScratch& scratch) {
  std::size_t bytes = 0;
  const auto take = [&](std::size_t size) {
    std::byte* at = base ? base + bytes : nullptr;
    bytes += (size + 15) / 16 * 16;
    return at;
  };
  const auto rows = static_cast<std::size_t>(a.rows);
  if (plan.records) scratch.records = reinterpret_cast<RowRecord*>(take(rows * sizeof(RowRecord)));
  if (plan.shape.ctas_per_row > 1) {
    scratch.row_workspaces = take(rows * row_workspace_bytes());
    scratch.lists = take(rows * row_lists_bytes());
  }
  if (plan.tiles > 0)
    scratch.tiles =
        reinterpret_cast<unsigned long long*>(take(static_cast<std::size_t>(plan.tiles + 1) * sizeof(unsigned long long)));
  return bytes;
}

}  // namespace

std::size_t workspace_bytes_of(const SampleArgs& args) {
  SampleScratch scratch;
  return args.rows == 0 ? 0 : lay_out(args, plan_of(args, std::nullopt), nullptr, scratch);
}

void run(const SampleArgs& args, cudaStream_t stream) {
  if (args.rows == 0) {
    if (args.kept_offsets)
      check(cudaMemsetAsync(args.kept_offsets, 0, sizeof(std::int64_t), stream), "clearing kept_offsets");
    return;
  }
  const Plan plan = plan_of(args, stream);
  SampleScratch scratch;
  check_workspace(args.workspace, lay_out(args, plan, static_cast<std::byte*>(args.workspace.data), scratch));
  launch_draw(args, plan.shape, scratch, stream);
  if (args.top > 0) launch_top(args, plan.shape, scratch, stream);
  if (args.kept_offsets) launch_kept(args, scratch, stream);
  if (args.probabilities || args.filtered_logits) launch_dense(args, scratch, stream);
}

void run_kept_mask(const SampleArgs& args, const MaskRows& mask, cudaStream_t stream) {
  if (args.rows == 0) return;
  Plan plan = plan_of(args, stream);
  plan.records = true;
  SampleScratch scratch;
  check_workspace(args.workspace, lay_out(args, plan, static_cast<std::byte*>(args.workspace.data), scratch));
  launch_draw(args, plan.shape, scratch, stream);
  launch_kept_mask(args, mask, scratch, stream);
}

std::size_t sample_workspace_bytes(const SampleArgs& args) {
  check_rows(args);
  check_outputs(args);
  return workspace_bytes_of(args);
}

// The most rows that blocks share need the most.
std::size_t max_sample_workspace_bytes(const SampleArgs& args) {
  SampleArgs shared = args;
  shared.rows = std::min<std::int64_t>(args.rows, multiprocessors() / 2);
  return std::max(sample_workspace_bytes(args), sample_workspace_bytes(shared));
}

void sample(const SampleArgs& args, cudaStream_t stream) {
  check_rows(args);
  check_outputs(args);
  run(args, stream);
}

}  // namespace warploom::cuda
