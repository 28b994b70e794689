// Draws one token a row: penalties, bias, mask, top-k, top-p, min-p and the draw, in one launch.
//
// Shapes:   logits [rows, vocab_size] of f32, f16 or bf16, rows row_stride apart; parameters and outputs [rows].
// Layout:   a row is cut into parts (blocks), those into segments (warps); a lane reads 4 neighbouring logits at once.
// Bytes:    rows * vocab_size * element from DRAM. One block a row reads the row again from L2 for each further pass: 1 for a
//           temperature or top-k of a short list, 2 for top-p, 3 where more than 1024 equal logits lie at the pivot, 5 or
//           more where as many different ones do. Where parts share a row, a part keeps its logits in shared memory, and
//           the parts exchange under 2.5 kB a row.
// Launch:   512 threads. One block a row if rows are more than half the multiprocessors, else up to 128, together one a
//           multiprocessor, so that other streams find room; those are launched cooperatively and meet at barriers in device
//           memory.
// Limits:   vocab_size in [1, 2^22].
// Capture:  yes: a fill of the exchanges where parts share rows, and one kernel.
// Numerics: docs/sampling.md. All sums are of 64-bit integers; no result depends on the launch.
// Source:   radix selection: Alabi et al., "Fast k-selection algorithms for graphics processing units", JEA 2012; Philox:
//           Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// History:  first every level of a selection was a pass over the row, and parts added up whole histograms. Lists of what is
//           left at the pivot took a pass from top-k and two from top-p; parts that exchange 64 coarse bins, then 32 fine
//           ones, write under 1% of a row's bytes; entries up to 256 are ordered by counting, as 16 passes of a block's
//           sort bound a single row. Digits were cut from whole keys at first; cut from the keys that are there, one is enough for
//           logits of half precision (sectors asked for by top-p of flat bf16 rows: 4.2 times the logits, now 3.0).
//           Histograms of 64-bit sums were loops of compare-and-swap: bench/README.md has what they cost.
#include <cmath>

#include "cuda/runtime/check.h"
#include "cuda/toolkit/sampling/plan.cuh"
#include "cuda/toolkit/sampling/request.h"
#include "cuda/toolkit/sampling/select.cuh"

namespace warploom::cuda {
namespace {

using namespace device;

struct Outcome {
  TokenId token = -1, argmax = -1;
  SampleStatus status = SampleStatus::ok;
  std::int64_t num_kept = 0;
  u64 total = 0;
  double logprob = 0.0, filtered_logprob = 0.0;
};

__device__ void write(const SampleArgs& a, std::int64_t r, const Outcome& o) {
  if (a.token) a.token[r] = o.token;
  if (a.status) a.status[r] = o.status;
  if (a.argmax) a.argmax[r] = o.argmax;
  if (a.num_kept) a.num_kept[r] = o.num_kept;
  if (a.total_weight) a.total_weight[r] = o.total;
  if (a.logprob) a.logprob[r] = o.logprob;
  if (a.filtered_logprob) a.filtered_logprob[r] = o.filtered_logprob;
}

__device__ bool wants_plain(const SampleArgs& a) { return a.logprob || a.top_logprob; }

// What is known of a row so far. In shared memory, to spare registers.
template <class T>
struct Plan {
  RowParams params;
  Log2Bins<T> log2_bins;
  TokenId argmax;
  u64 least;  // weight of a kept token
  int bin;    // in which top-p ends
  Pivot pivot;
  Cut cut;

  __device__ u64 weight_within(u32 key, int id, float y) const {
    return cut.keeps(key, static_cast<u32>(id)) ? log2_bins.weight(y) : 0;
  }
};

// One row's draw, as the steps of the kernel share it.
template <class R>
struct Draw {
  const SampleArgs& a;
  const R& row;
  CtaGroup& ctas;
  Plan<typename R::Value>& plan;
  RowRecord* const& records;

  __device__ u64 plain_weight(float y) const {
    return wants_plain(a) ? sampling::weight(y, plan.log2_bins.weight.max, sampling::exponent_scale(1.0f)) : 0;
  }
  __device__ u64 at(u64 total) const {
    const RowParams& p = plan.params;
    return sampling::draw(sampling::random_bits(p.seed, p.position, p.subsequence), total);
  }

  // total: the sum of the weights of the kept tokens; all: of every plain weight.
  __device__ void finish(int id, float y, u64 weight, u64 total, std::int64_t num_kept, u64 all) const {
    Outcome out{.token = id, .argmax = plan.argmax, .num_kept = num_kept, .total = total};
    if (a.logprob)
      out.logprob = (static_cast<double>(y) - static_cast<double>(plan.log2_bins.weight.max)) -
                    log(static_cast<double>(all) * 0x1p-40);
    if (a.filtered_logprob) out.filtered_logprob = log(static_cast<double>(weight) / static_cast<double>(total));
    write(a, ctas.row(), out);
    if (records) {
      const auto& weight = plan.log2_bins.weight;
      records[ctas.row()] = {total, all, plan.least, plan.cut.key, plan.cut.id, weight.max, weight.scale, SampleStatus::ok};
    }
  }
  __device__ void refuse(SampleStatus status) const {
    if (!ctas.is_leader() || threadIdx.x != 0) return;
    write(a, ctas.row(), {.status = status});
    if (records) records[ctas.row()].status = status;
  }
};

// The rest of a row of which at most kListRoom tokens can survive, `entries` descending: all in one block.
template <class R>
__device__ void draw_from_list(const Draw<R>& d, u64 all, u64 (&entries)[kListed]) {
  CtaScratch& scratch = d.ctas.scratch();
  const RowParams& p = d.plan.params;
  u64 weights[kListed], sum = 0, before, total;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    const bool first_k = entries[j] != 0 && kListed * threadIdx.x + j < p.top_k;
    weights[j] = first_k ? d.plan.log2_bins.weight(logit_of(key_of(entries[j]))) : 0;
    sum += weights[j];
  }
  BlockScan(scratch.scan).ExclusiveSum(sum, before, total);
  __syncthreads();
  const u64 threshold = p.top_p < 1.0f ? sampling::top_p_threshold(p.top_p, total) : total;
  // Now by id, complemented to ascend, beside the weight: 22 and 41 bits.
  constexpr u64 kWeightBits = (u64{1} << 41) - 1;
  constexpr int kLastId = (1 << 22) - 1;
  int num_kept = 0;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    const bool keeps = before < threshold && weights[j] >= d.plan.least;  // the first ones in order, so their places stay
    before += weights[j];
    num_kept += __syncthreads_count(keeps);
    scratch.list[kListed * threadIdx.x + j] = static_cast<u64>(kLastId - id_of(entries[j])) << 41 | weights[j];
  }
#pragma unroll
  for (int j = 0; j < kListed; ++j)  // without top-p the k-th, even if its weight is 0
    if (static_cast<int>(kListed * threadIdx.x) + j + 1 == (p.top_p < 1.0f ? num_kept : p.top_k))
      d.plan.cut = {key_of(entries[j]), static_cast<u32>(id_of(entries[j]))};
  d.ctas.sort_list(static_cast<u32>(num_kept), entries);
  sum = 0;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    weights[j] = entries[j] & kWeightBits;
    sum += weights[j];
  }
  BlockScan(scratch.scan).ExclusiveSum(sum, before, total);
  const u64 at = d.at(total);
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    if (before <= at && at < before + weights[j]) {
      const int id = kLastId - static_cast<int>(entries[j] >> 41);
      d.finish(id, d.row.at(id), weights[j], total, num_kept, all);
    }
    before += weights[j];
  }
}

// Top-k with few candidates, which the cut's key leaves.
template <class R>
__device__ void draw_top_k(const Draw<R>& d) {
  u64 entries[kListed], all = 0;
  d.ctas.begin_list();
  for_each_token(
      d.row, d.ctas,
      [&](int id, float y) {
        all += d.plain_weight(y);
        const u32 key = order_key(y);
        if (key >= d.plan.cut.key) d.ctas.append(pack(key, id));
      },
      [](int) {});
  d.ctas.end_list(entries);
  if (wants_plain(d.a)) all = d.ctas.sum(1, all);
  if (d.ctas.is_leader()) draw_from_list(d, all, entries);
}

// Sums of a thread's tokens as a pass goes along.
struct Sums {
  u64 segment = 0, all = 0;
  u32 num_kept = 0;

  __device__ void end_segment(CtaScratch& scratch, int s) {
    segment = warp_sum(segment);
    if (threadIdx.x % 32 == 0) scratch.segment_sums[s] = segment;
    segment = 0;
  }
};

// Top-p whose last bin is short: one more pass lists that bin and sums what is above it. Leaves the cut and the sums.
template <class R>
__device__ void cut_in_list(const Draw<R>& d, Sums& sums) {
  CtaGroup& ctas = d.ctas;
  CtaScratch& scratch = ctas.scratch();
  auto& plan = d.plan;
  u64 entries[kListed], weights[kListed], listed = 0, before;
  ctas.begin_list();
  for_each_token(
      d.row, ctas,
      [&](int id, float y) {
        sums.all += d.plain_weight(y);
        const u32 key = order_key(y);
        const u64 w = plan.weight_within(key, id, y);
        if (w == 0) return;
        const int at = plan.log2_bins.bin(y);
        if (at == plan.bin) ctas.append(pack(key, id));
        if (at <= plan.bin || w < plan.least) return;
        sums.segment += w;
        ++sums.num_kept;
      },
      [&](int s) { sums.end_segment(scratch, s); });
  ctas.end_list(entries);
  // Of the bin the first in order, until the threshold is reached.
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    weights[j] = entries[j] != 0 ? plan.log2_bins.weight(logit_of(key_of(entries[j]))) : 0;
    listed += weights[j];
  }
  BlockScan(scratch.scan).ExclusiveSum(listed, before);
  const RowShape& shape = ctas.shape();
  const u64 need = plan.pivot.need - plan.pivot.above;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    if (before < need && weights[j] != 0) {
      if (before + weights[j] >= need) plan.cut = {key_of(entries[j]), static_cast<u32>(id_of(entries[j]))};
      const int offset = id_of(entries[j]) - ctas.first();
      if (weights[j] >= plan.least && offset >= 0 && offset < shape.segments * shape.segment) {
        add_wide(scratch.segment_sums[offset / shape.segment], weights[j]);
        ++sums.num_kept;
      }
    }
    before += weights[j];
  }
  __syncthreads();
}

// Sets the cut of top-p. True where the kept tokens are summed up already.
template <class R>
__device__ bool cut_top_p(const Draw<R>& d, Sums& sums) {
  CtaGroup& ctas = d.ctas;
  auto& plan = d.plan;
  make_histogram<false>(d.row, ctas, [&](int id, float y, u64& m) {
    m = plan.weight_within(order_key(y), id, y);
    return m != 0 ? plan.log2_bins.bin(y) : -1;
  });
  const u64 threshold = sampling::top_p_threshold(plan.params.top_p, ctas.histogram_sum());
  const Bin bin = ctas.find_bin(threshold);
  if (threadIdx.x == 0) {
    plan.bin = static_cast<int>(bin.bin);
    plan.pivot = {{kMaskedKey + 1, 0xffffffffu}, threshold, bin.above, bin.inside};
  }
  __syncthreads();
  if (plan.log2_bins.max_tokens(bin) <= static_cast<float>(ctas.list_limit())) {
    cut_in_list(d, sums);
    return true;
  }
  const Cut cut = select<false>(d.row, ctas, plan.pivot, false, 1, [&](int id, float y, u32 key) -> u64 {
    return plan.log2_bins.bin(y) == plan.bin ? plan.weight_within(key, id, y) : 0;
  });
  if (threadIdx.x == 0) plan.cut = cut;
  __syncthreads();
  return false;
}

// The draw among all kept tokens, whose sums stand in segment_sums: the thread into whose segment it falls calls the first
// warp.
template <class R, class KeptWeight>
__device__ void draw_from_row(const Draw<R>& d, const Sums& sums, KeptWeight kept_weight) {
  CtaGroup& ctas = d.ctas;
  CtaScratch& scratch = ctas.scratch();
  __syncthreads();
  const u64 mine = threadIdx.x < ctas.shape().segments ? scratch.segment_sums[threadIdx.x] : 0;
  const u64 num_kept = ctas.sum(0, sums.num_kept);
  const u64 all = wants_plain(d.a) ? ctas.sum(1, sums.all) : 0;
  const CtaGroup::Prefix prefix = ctas.prefix(mine);
  const u64 at = d.at(prefix.total);
  const u64 before = prefix.before_cta + prefix.before_thread;
  const bool hit = before <= at && at < before + mine;
  if (hit) {
    scratch.shared_values[0] = threadIdx.x;
    scratch.shared_values[1] = at - before;
  }
  if (!__syncthreads_or(hit) || threadIdx.x >= 32) return;
  int id = 0;
  if (walk(
          d.row.vocab_size(), ctas, static_cast<int>(scratch.shared_values[0]), scratch.shared_values[1],
          [&](int i) { return kept_weight(i, d.row.at(i)); }, id)) {
    const float y = d.row.at(id);
    d.finish(id, y, kept_weight(id, y), prefix.total, static_cast<std::int64_t>(num_kept), all);
  }
}

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads, 2)
    sample_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ RowShape shape,
                  const __grid_constant__ bool aligned, const __grid_constant__ bool cached,
                  RowWorkspace* const __grid_constant__ row_workspaces, RowLists* const __grid_constant__ lists,
                  RowRecord* const __grid_constant__ records) {
  __shared__ CtaScratch scratch;
  __shared__ Plan<T> plan;
  CtaGroup ctas(shape, row_workspaces, lists, scratch);
  const RowParams& p = plan.params;
  if (threadIdx.x == 0) plan.params.read(a, ctas.row());
  __syncthreads();
  const Row<T, kSparse> row(a, ctas.row(), p, aligned, cached, ctas.first());
  const Draw<Row<T, kSparse>> d{a, row, ctas, plan, records};
  if (!p.valid() || row.mark(0, row.vocab_size())) return d.refuse(SampleStatus::invalid_parameters);

  const bool greedy = p.temperature == 0.0f;
  const bool by_count = !greedy && p.top_k > 0 && p.top_k < a.vocab_size;
  const CtaGroup::MinMax min_max = scan_row(row, ctas, by_count);
  if (min_max.flag) return d.refuse(SampleStatus::invalid_logits);
  if (key_of(min_max.max) <= kMaskedKey) return d.refuse(SampleStatus::all_masked);
  if (threadIdx.x == 0) {
    plan.log2_bins.set(logit_of(key_of(min_max.max)), logit_of(min_max.min),
                       sampling::exponent_scale(greedy ? 1.0f : p.temperature));
    plan.argmax = id_of(min_max.max);
    plan.least = greedy ? sampling::kArgmaxWeight : sampling::min_p_weight(p.min_p);
    plan.cut = greedy ? Cut{key_of(min_max.max), static_cast<u32>(id_of(min_max.max))} : kKeepsAll;
    if (greedy && !wants_plain(a) && ctas.is_leader())
      d.finish(plan.argmax, 0.0f, sampling::kArgmaxWeight, sampling::kArgmaxWeight, 1, 0);
  }
  if (greedy && !wants_plain(a)) return;
  __syncthreads();

  if (by_count && ctas.histogram_sum() > static_cast<u64>(p.top_k)) {
    bool fits = false;
    const Cut cut = select_first(row, ctas, plan.pivot, static_cast<u64>(p.top_k), fits);
    if (threadIdx.x == 0) plan.cut = cut;
    __syncthreads();
    if (fits) return draw_top_k(d);
  }
  Sums sums;
  const bool summed = !greedy && p.top_p < 1.0f && cut_top_p(d, sums);
  const auto kept_weight = [&](int id, float y) -> u64 {
    const u64 w = plan.weight_within(order_key(y), id, y);
    return w >= plan.least ? w : 0;
  };
  if (!summed)
    for_each_token(
        row, ctas,
        [&](int id, float y) {
          const u64 w = kept_weight(id, y);
          sums.segment += w;
          sums.num_kept += w != 0;
          sums.all += d.plain_weight(y);
        },
        [&](int s) { sums.end_segment(scratch, s); });
  draw_from_row(d, sums, kept_weight);
}

const void* kernel_of(const SampleArgs& a) {
  return with_row_type(a, [](auto type, auto sparse) {
    return reinterpret_cast<const void*>(sample_kernel<typename decltype(type)::type, decltype(sparse)::value>);
  });
}

// Shared memory beside the kernel's own: marks and counts, and the part's logits where they fit. Blocks that share rows have a
// multiprocessor each and may take 99 KiB of it; others leave room for a second one. Where a multiprocessor has no more than 100 KiB
// (compute capabilities 8.6, 8.9 and 12.x), all do, so that launches need not wait until kernels of other streams have left.
struct DynamicBytes {
  std::size_t sparse, cache;
};
constexpr std::size_t kStaticBytes = sizeof(CtaScratch) + sizeof(Plan<float>) + 64;
constexpr std::size_t kRoom = 48 * 1024 - kStaticBytes, kSharedRowRoom = 99 * 1024 - kStaticBytes;

std::size_t room_of(const RowShape& shape) {
  if (shape.ctas_per_row == 1) return kRoom;
  int device = 0, of_multiprocessor = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&of_multiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
        "cudaDeviceGetAttribute");
  return of_multiprocessor > 100 * 1024 ? kSharedRowRoom : kRoom;
}

DynamicBytes dynamic_bytes(const SampleArgs& a, const RowShape& shape) {
  DynamicBytes bytes{sparse_bytes(a), 0};
  const std::size_t logits =
      static_cast<std::size_t>(shape.segments) * static_cast<std::size_t>(shape.segment) * sizeof(float);
  if (bytes.sparse + logits <= room_of(shape)) bytes.cache = logits;
  return bytes;
}

}  // namespace

void launch_draw(const SampleArgs& a, const RowShape& shape, const SampleScratch& scratch, cudaStream_t stream) {
  SampleArgs args = a;
  RowShape cut = shape;
  SampleScratch s = scratch;
  bool aligned = rows_aligned(a), cached = false;
  const auto bytes = [&] {
    const DynamicBytes dynamic = dynamic_bytes(a, cut);
    cached = dynamic.cache > 0;
    return dynamic.sparse + dynamic.cache;
  };
  const void* kernel = kernel_of(a);
  if (cut.ctas_per_row > 1)  // always the same, as threads may be at it at once
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kSharedRowRoom)),
          "cudaFuncSetAttribute");
  void* arguments[] = {&args, &cut, &aligned, &cached, &s.row_workspaces, &s.lists, &s.records};
  launch_cta_group(a, kernel, cut, bytes, arguments, scratch, "launching sample_kernel", stream);
}

}  // namespace warploom::cuda
