// Lists the most probable tokens of a row, before temperature and filters, in order.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16; lists [rows, top].
// Layout:   as the draw: a row is cut into parts (blocks), those into segments (warps).
// Bytes:    the row twice, mostly from L2: digits of its first level, then what reaches the pivot. More levels where more
//           tokens than a shortlist holds share the pivot's digit.
// Launch:   512 threads; cooperative where parts share rows.
// Limits:   top in [1, 1024].
// Capture:  yes.
// Numerics: exact: order, ties and count as docs/sampling.md section 2.
// History:  a kernel of its own, so that the draw keeps its registers and its launch whether a list is wanted or not.
#include <cmath>

#include "cuda/toolkit/sampling/plan.cuh"
#include "cuda/toolkit/sampling/request.h"
#include "cuda/toolkit/sampling/select.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads, 2)
    top_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ RowShape shape,
               const __grid_constant__ bool aligned, const __grid_constant__ bool cached,
               RowWorkspace* const __grid_constant__ row_workspaces, RowLists* const __grid_constant__ lists,
               const RowRecord* const __grid_constant__ records) {
  __shared__ CtaScratch scratch;
  __shared__ RowParams params;
  __shared__ Pivot pivot;
  CtaGroup ctas(shape, row_workspaces, lists, scratch);
  if (threadIdx.x == 0) params.read(a, ctas.row());
  __syncthreads();
  const Row<T, kSparse> row(a, ctas.row(), params, aligned, cached, ctas.first());
  const auto write = [&](int at, TokenId token, float logit, double logprob) {
    const std::int64_t place = std::int64_t{ctas.row()} * a.top + at;
    a.top_token[place] = token;
    if (a.top_logit) a.top_logit[place] = logit;
    if (a.top_logprob) a.top_logprob[place] = logprob;
  };
  const bool ok = records[ctas.row()].status == SampleStatus::ok;
  int count = 0;
  if (ok) {
    row.mark(0, row.vocab_size());
    const CtaGroup::MinMax min_max = scan_row(row, ctas, true);
    const auto candidates = static_cast<std::int64_t>(ctas.histogram_sum());
    count = static_cast<int>(candidates < a.top ? candidates : a.top);
    bool fits = false;
    const Cut cut = select_first(row, ctas, pivot, static_cast<u64>(count), fits);
    ctas.begin_list();
    for_each_token(
        row, ctas,
        [&](int id, float y) {
          const u32 key = order_key(y);
          if (cut.keeps(key, static_cast<u32>(id))) ctas.append(pack(key, id));
        },
        [](int) {});
    u64 entries[kListed];
    ctas.end_list(entries);
    if (!ctas.is_leader()) return;
    const double max = logit_of(key_of(min_max.max));
    const double log_all = a.top_logprob ? log(static_cast<double>(records[ctas.row()].all) * 0x1p-40) : 0.0;
#pragma unroll
    for (int j = 0; j < kListed; ++j) {
      const int at = static_cast<int>(kListed * threadIdx.x) + j;
      if (at >= count) break;
      const float logit = logit_of(key_of(entries[j]));
      write(at, id_of(entries[j]), logit, (static_cast<double>(logit) - max) - log_all);
    }
  }
  if (!ctas.is_leader()) return;
  for (int at = count + static_cast<int>(threadIdx.x); at < a.top; at += kThreads) write(at, -1, -INFINITY, -INFINITY);
}

const void* kernel_of(const SampleArgs& a) {
  return with_row_type(a, [](auto type, auto sparse) {
    return reinterpret_cast<const void*>(top_kernel<typename decltype(type)::type, decltype(sparse)::value>);
  });
}

}  // namespace

void launch_top(const SampleArgs& a, const RowShape& shape, const SampleScratch& scratch, cudaStream_t stream) {
  SampleArgs args = a;
  RowShape cut = shape;
  SampleScratch s = scratch;
  bool aligned = rows_aligned(a), cached = false;
  void* arguments[] = {&args, &cut, &aligned, &cached, &s.row_workspaces, &s.lists, &s.records};
  launch_cta_group(
      a, kernel_of(a), cut, [&] { return sparse_bytes(a); }, arguments, scratch, "launching top_kernel", stream);
}

}  // namespace warploom::cuda
