// Draws one token a row by integer weights that stand in memory.
//
// Shapes:   weights u64 [rows, vocab_size], rows row_stride apart; token and status [rows].
// Layout:   a row is cut into parts (blocks), those into segments (warps); a lane reads every 32nd weight.
// Bytes:    the row once, and one segment of it again.
// Launch:   512 threads; cooperative where parts share rows.
// Limits:   vocab_size in [1, 2^22], weights below 2^42, so that a row's sum fits 64 bits.
// Capture:  yes.
// Numerics: exact: docs/sampling.md section 5.
#include "core/sampling_math.h"
#include "cuda/toolkit/sampling/row.cuh"
#include "cuda/toolkit/sampling/sample_args.h"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr u64 kLargestWeight = (u64{1} << 42) - 1;

__global__ void __launch_bounds__(kThreads, 2)
    weighted_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ RowShape shape,
                    RowWorkspace* const __grid_constant__ row_workspaces, RowLists* const __grid_constant__ lists) {
  __shared__ CtaScratch scratch;
  CtaGroup ctas(shape, row_workspaces, lists, scratch);
  const std::int64_t r = ctas.row();
  const auto* weights = static_cast<const u64*>(a.logits) + r * a.row_stride;
  const int vocab_size = static_cast<int>(a.vocab_size), lane = threadIdx.x % 32;
  u64 too_large = 0;
  for (int s = threadIdx.x / 32; s < shape.segments; s += kWarps) {
    const int from = ctas.first() + s * shape.segment, end = min(from + shape.segment, vocab_size);
    u64 sum = 0;
    for (int i = from + lane; i < end; i += 32) {
      too_large += weights[i] > kLargestWeight;
      sum += weights[i];
    }
    sum = warp_sum(sum);
    if (lane == 0) scratch.segment_sums[s] = sum;
  }
  too_large = ctas.sum(0, too_large);
  const u64 mine = threadIdx.x < static_cast<unsigned>(shape.segments) ? scratch.segment_sums[threadIdx.x] : 0;
  const CtaGroup::Prefix prefix = ctas.prefix(mine);
  if (too_large != 0 || prefix.total == 0) {
    if (!ctas.is_leader() || threadIdx.x != 0) return;
    if (a.token) a.token[r] = -1;
    if (a.status) a.status[r] = too_large != 0 ? SampleStatus::invalid_logits : SampleStatus::all_masked;
    return;
  }
  const auto at = sampling::draw(
      sampling::random_bits(a.seed ? a.seed[r] : 0, a.position ? a.position[r] : 0, a.subsequence ? a.subsequence[r] : 0),
      prefix.total);
  const u64 before = prefix.before_cta + prefix.before_thread;
  const bool hit = before <= at && at < before + mine;
  if (hit) {
    scratch.shared_values[0] = threadIdx.x;
    scratch.shared_values[1] = at - before;
  }
  if (!__syncthreads_or(hit) || threadIdx.x >= 32) return;
  int id = 0;
  if (walk(
          vocab_size, ctas, static_cast<int>(scratch.shared_values[0]), scratch.shared_values[1],
          [&](int i) { return weights[i]; }, id)) {
    if (a.token) a.token[r] = id;
    if (a.status) a.status[r] = SampleStatus::ok;
  }
}

std::size_t cta_group_bytes(const SampleArgs& a, const RowShape& shape) {
  return shape.ctas_per_row > 1 ? static_cast<std::size_t>(a.rows) * (row_workspace_bytes() + row_lists_bytes()) : 0;
}

}  // namespace

std::size_t weighted_workspace_bytes(const SampleArgs& a) {
  return a.rows == 0 ? 0 : cta_group_bytes(a, shape_for(a, std::nullopt));
}

void run_weighted(const SampleArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return;
  SampleArgs a = args;
  RowShape shape = shape_for(a, stream);
  check_workspace(a.workspace, cta_group_bytes(a, shape));
  SampleScratch scratch;
  if (shape.ctas_per_row > 1) {
    scratch.row_workspaces = a.workspace.data;
    scratch.lists = static_cast<std::byte*>(a.workspace.data) + static_cast<std::size_t>(a.rows) * row_workspace_bytes();
  }
  void* arguments[] = {&a, &shape, &scratch.row_workspaces, &scratch.lists};
  launch_cta_group(
      a, reinterpret_cast<const void*>(weighted_kernel), shape, [] { return std::size_t{0}; }, arguments, scratch,
      "launching weighted_kernel", stream);
}

}  // namespace warploom::cuda
