// Draws one token a row: penalties, bias, mask, top-k, top-p, min-p and the draw, in one launch.
//
// Shapes:   logits [rows, vocab] of f32, f16 or bf16, rows row_stride apart; parameters and outputs [rows].
// Layout:   a row is cut into parts (blocks), those into segments (warps); a lane reads 4 neighbouring logits at once.
// Bytes:    rows * vocab * element from DRAM. One block a row reads the row again from L2 for each further pass: 1 for a
//           temperature or top-k of a short list, 2 for top-p, up to 5 where thousands of tokens tie at the border. Where
//           parts share a row, a part keeps its logits in shared memory, and the parts exchange under 2.5 kB a row.
// Launch:   512 threads. One block a row where rows are many, up to 128 where they are few; those are launched
//           cooperatively and meet at barriers in device memory.
// Limits:   vocab in [1, 2^22].
// Capture:  yes: a fill of the exchanges where parts share rows, and one kernel.
// Numerics: docs/sampling.md. All sums are of 64-bit integers; no result depends on the launch.
// Source:   radix selection: Alabi et al., "Fast k-selection algorithms for graphics processing units", JEA 2012; Philox:
//           Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// History:  first every level of a selection was a pass over the row, and parts added up whole histograms. Lists of what is
//           left at the border took a pass from top-k and two from top-p; parts that exchange 64 coarse bins, then 32 fine
//           ones, write under 1% of a row's bytes; entries up to 256 are ordered by counting, as 16 passes of a block's
//           sort bound a single row (modelled, A100, top-k 50 of one row: 21 us, now 10).
#include <algorithm>
#include <cmath>

#include "cuda/runtime/check.h"
#include "cuda/sampling/row.cuh"
#include "cuda/sampling/sample_args.h"
#include "cuda/sampling/select.cuh"
#include "warploom/cuda/sampling.h"

namespace warploom::cuda {
namespace {

using namespace device;

constexpr std::int64_t kLeastPart = 1536;  // logits a block must have to be worth a barrier
static_assert(kMaxParts == kMaxSampleParts);
constexpr std::int64_t kManyRows = 64;  // from here on a row is one block's

struct Outcome {
  TokenId token = -1, argmax = -1;
  SampleStatus status = SampleStatus::ok;
  std::int64_t survivors = 0;
  u64 total = 0;
  double logprob = 0.0, filtered_logprob = 0.0;
};

__device__ void write(const SampleArgs& a, std::int64_t r, const Outcome& o) {
  a.token[r] = o.token;
  a.status[r] = o.status;
  if (a.argmax) a.argmax[r] = o.argmax;
  if (a.survivors) a.survivors[r] = o.survivors;
  if (a.total_weight) a.total_weight[r] = o.total;
  if (a.logprob) a.logprob[r] = o.logprob;
  if (a.filtered_logprob) a.filtered_logprob[r] = o.filtered_logprob;
}

__device__ void refuse(const SampleArgs& a, const Team& team, SampleStatus status) {
  if (team.leads() && threadIdx.x == 0) write(a, team.row(), {.status = status});
}

__device__ u64 pack(u32 key, int id) { return static_cast<u64>(key) << 32 | ~static_cast<u32>(id); }
__device__ u32 key_of(u64 packed) { return static_cast<u32>(packed >> 32); }
__device__ int id_of(u64 packed) { return static_cast<int>(~static_cast<u32>(packed)); }

// Bins of equal width over the octaves in which the row's weights lie, ascending with the logit.
struct Octaves {
  float max, scale, per_octave;

  // least: the lowest logit that is not masked.
  __device__ void set(float max_logit, float least, float exponent_scale) {
    max = max_logit;
    scale = exponent_scale;
    const float range = fminf(__fmul_rn(__fadd_rn(max, -least), scale), 42.0f);  // below, weights are 0
    per_octave = (kBins - 1) / fmaxf(range, 1e-6f);
  }
  __device__ u64 weight(float y) const { return sampling::weight(y, max, scale); }
  __device__ int bin(float y) const {
    const float t = __fmul_rn(__fadd_rn(y, -max), scale);
    return kBins - 1 - static_cast<int>(fminf(-t * per_octave, kBins - 1.0f));
  }
  // No more tokens than this lie in a bin of that mass.
  __device__ float most_tokens(const Bin& bin) const {
    const float octaves_down = static_cast<float>(kBins - bin.bin) / per_octave;
    return static_cast<float>(bin.inside) / fmaxf(exp2f(40.0f - octaves_down) * 0.999f, 1.0f);
  }
};

// What is known of a row so far. In shared memory, to spare registers.
struct Plan {
  RowParams params;
  Octaves octaves;
  TokenId argmax;
  u64 least;  // weight of a survivor
  u64 need;   // of the bin in which top-p ends
  Cut cut;

  __device__ u64 weight_within(u32 key, int id, float y) const {
    return cut.keeps(key, static_cast<u32>(id)) ? octaves.weight(y) : 0;
  }
};

// One row's draw, as the steps of the kernel share it.
template <class R>
struct Draw {
  const SampleArgs& a;
  const R& row;
  Team& team;
  Plan& plan;

  __device__ u64 plain_weight(float y) const {
    return a.logprob ? sampling::weight(y, plan.octaves.max, sampling::exponent_scale(1.0f)) : 0;
  }
  __device__ u64 at(u64 total) const {
    const RowParams& p = plan.params;
    return sampling::draw(sampling::random_bits(p.seed, p.position, p.stream), total);
  }

  // total: the sum of the survivors' weights; all: of every plain weight.
  __device__ void finish(int id, float y, u64 weight, u64 total, std::int64_t survivors, u64 all) const {
    Outcome out{.token = id, .argmax = plan.argmax, .survivors = survivors, .total = total};
    if (a.logprob)
      out.logprob =
          (static_cast<double>(y) - static_cast<double>(plan.octaves.max)) - log(static_cast<double>(all) * 0x1p-40);
    if (a.filtered_logprob) out.filtered_logprob = log(static_cast<double>(weight) / static_cast<double>(total));
    write(a, team.row(), out);
  }
};

// The rest of a row of which at most kListRoom tokens can survive, `entries` descending: all in one block.
template <class R>
__device__ void draw_from_list(const Draw<R>& d, u64 all, u64 (&entries)[kListed]) {
  TeamScratch& scratch = d.team.scratch();
  const RowParams& p = d.plan.params;
  u64 weights[kListed], sum = 0, before, total;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    const bool first_k = entries[j] != 0 && kListed * threadIdx.x + j < p.top_k;
    weights[j] = first_k ? d.plan.octaves.weight(logit_of(key_of(entries[j]))) : 0;
    sum += weights[j];
  }
  BlockScan(scratch.scan).ExclusiveSum(sum, before, total);
  __syncthreads();
  const u64 threshold = p.top_p < 1.0f ? sampling::top_p_threshold(p.top_p, total) : total;
  // Now by id, complemented to ascend, beside the weight: 22 and 41 bits.
  constexpr u64 kWeightBits = (u64{1} << 41) - 1;
  constexpr int kLastId = (1 << 22) - 1;
  int survivors = 0;
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    const bool keeps = before < threshold && weights[j] >= d.plan.least;  // the first ones in order, so their places stay
    before += weights[j];
    survivors += __syncthreads_count(keeps);
    scratch.list[kListed * threadIdx.x + j] = static_cast<u64>(kLastId - id_of(entries[j])) << 41 | weights[j];
  }
  d.team.sort_list(static_cast<u32>(survivors), entries);
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
      d.finish(id, d.row.at(id), weights[j], total, survivors, all);
    }
    before += weights[j];
  }
}

// Top-k with few candidates, which the cut's key leaves.
template <class R>
__device__ void draw_top_k(const Draw<R>& d) {
  u64 entries[kListed], all = 0;
  d.team.begin_list();
  for_each_token(
      d.row, d.team,
      [&](int id, float y) {
        all += d.plain_weight(y);
        const u32 key = order_key(y);
        if (key >= d.plan.cut.key) d.team.append(pack(key, id));
      },
      [](int) {});
  d.team.end_list(entries);
  if (d.a.logprob) all = d.team.sum(1, all);
  if (d.team.leads()) draw_from_list(d, all, entries);
}

// Sums of a thread's tokens as a pass goes along.
struct Sums {
  u64 segment = 0, all = 0;
  u32 survivors = 0;

  __device__ void end_segment(TeamScratch& scratch, int s) {
    segment = warp_sum(segment);
    if (threadIdx.x % 32 == 0) scratch.segment_sums[s] = segment;
    segment = 0;
  }
};

// Top-p whose last bin is short: one more pass lists that bin and sums what is above it. Leaves the cut and the sums.
template <class R>
__device__ void cut_in_list(const Draw<R>& d, int bin, Sums& sums) {
  Team& team = d.team;
  TeamScratch& scratch = team.scratch();
  Plan& plan = d.plan;
  u64 entries[kListed], weights[kListed], listed = 0, before;
  team.begin_list();
  for_each_token(
      d.row, team,
      [&](int id, float y) {
        sums.all += d.plain_weight(y);
        const u32 key = order_key(y);
        const u64 w = plan.weight_within(key, id, y);
        if (w == 0) return;
        const int at = plan.octaves.bin(y);
        if (at == bin) team.append(pack(key, id));
        if (at <= bin || w < plan.least) return;
        sums.segment += w;
        ++sums.survivors;
      },
      [&](int s) { sums.end_segment(scratch, s); });
  team.end_list(entries);
  // Of the bin the first in order, until the threshold is reached.
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    weights[j] = entries[j] != 0 ? plan.octaves.weight(logit_of(key_of(entries[j]))) : 0;
    listed += weights[j];
  }
  BlockScan(scratch.scan).ExclusiveSum(listed, before);
  const RowShape& shape = team.shape();
#pragma unroll
  for (int j = 0; j < kListed; ++j) {
    if (before < plan.need && weights[j] != 0) {
      if (before + weights[j] >= plan.need) plan.cut = {key_of(entries[j]), static_cast<u32>(id_of(entries[j]))};
      const int offset = id_of(entries[j]) - team.first();
      if (weights[j] >= plan.least && offset >= 0 && offset < shape.segments * shape.segment) {
        atomicAdd(&scratch.segment_sums[offset / shape.segment], weights[j]);
        ++sums.survivors;
      }
    }
    before += weights[j];
  }
  __syncthreads();
}

// Sets the cut of top-p. True where the survivors are summed up already.
template <class R>
__device__ bool cut_top_p(const Draw<R>& d, Sums& sums) {
  Team& team = d.team;
  Plan& plan = d.plan;
  make_histogram(d.row, team, [&](int id, float y, u64& m) {
    m = plan.weight_within(order_key(y), id, y);
    return m != 0 ? plan.octaves.bin(y) : -1;
  });
  const u64 threshold = sampling::top_p_threshold(plan.params.top_p, team.histogram_sum());
  const Bin bin = team.find_bin(threshold);
  if (plan.octaves.most_tokens(bin) <= static_cast<float>(team.list_limit())) {
    if (threadIdx.x == 0) plan.need = threshold - bin.above;
    cut_in_list(d, static_cast<int>(bin.bin), sums);
    return true;
  }
  const auto mass = [&](int id, float y, u32 key) { return plan.weight_within(key, id, y); };
  count_digits(d.row, team, 0, 0, mass);
  const Cut cut = select<false>(d.row, team, threshold, 1, mass);
  if (threadIdx.x == 0) plan.cut = cut;
  __syncthreads();
  return false;
}

// The draw among all survivors, whose sums stand in segment_sums: the thread into whose segment it falls calls the first
// warp.
template <class R, class Survivor>
__device__ void draw_from_row(const Draw<R>& d, const Sums& sums, Survivor survivor) {
  Team& team = d.team;
  TeamScratch& scratch = team.scratch();
  __syncthreads();
  const u64 mine = threadIdx.x < team.shape().segments ? scratch.segment_sums[threadIdx.x] : 0;
  const u64 survivors = team.sum(0, sums.survivors);
  const u64 all = d.a.logprob ? team.sum(1, sums.all) : 0;
  const Team::Prefix prefix = team.prefix(mine);
  const u64 at = d.at(prefix.total);
  const u64 before = prefix.before_part + prefix.before_thread;
  const bool hit = before <= at && at < before + mine;
  if (hit) {
    scratch.message[0] = threadIdx.x;
    scratch.message[1] = at - before;
  }
  if (!__syncthreads_or(hit) || threadIdx.x >= 32) return;
  int id = 0;
  float y = 0.0f;
  if (walk(d.row, team, static_cast<int>(scratch.message[0]), scratch.message[1], survivor, id, y))
    d.finish(id, y, survivor(id, y), prefix.total, static_cast<std::int64_t>(survivors), all);
}

// The first pass: the row's extent, and where a top-k filters, how many tokens each first digit has.
template <class R>
__device__ Team::Extent scan_row(const R& row, Team& team, bool by_count) {
  if (by_count) team.clear_histogram();
  Team::Extent extent{0, 0xffffffffu, false};
  const bool invalid = for_each_token_first(row, team, [&](int id, float y) {
    const u32 key = order_key(y);
    extent.flag |= !(y < INFINITY);
    extent.best = pack(key, id) > extent.best ? pack(key, id) : extent.best;
    if (key <= kMaskedKey) return;
    extent.least = min(extent.least, key);
    if (by_count) atomicAdd(&team.scratch().histogram[key >> digit_shift(0)], u64{1});
  });
  extent.flag |= invalid;
  team.publish_extent(extent);
  if (by_count) team.publish_histogram();
  team.barrier();
  extent = team.read_extent();
  if (by_count) team.read_histogram();
  return extent;
}

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads, 2)
    sample_kernel(const __grid_constant__ SampleArgs a, const __grid_constant__ RowShape shape,
                  const __grid_constant__ bool aligned, const __grid_constant__ bool cached,
                  RowExchange* const __grid_constant__ exchanges, RowLists* const __grid_constant__ lists) {
  __shared__ TeamScratch scratch;
  __shared__ Plan plan;
  Team team(shape, exchanges, lists, scratch);
  const RowParams& p = plan.params;
  if (threadIdx.x == 0) plan.params.read(a, team.row());
  __syncthreads();
  const Row<T, kSparse> row(a, team.row(), p, aligned, cached, team.first());
  if (!p.valid() || row.mark()) return refuse(a, team, SampleStatus::invalid_parameters);

  const bool greedy = p.temperature == 0.0f;
  const bool by_count = !greedy && p.top_k > 0 && p.top_k < a.vocab;
  const Team::Extent extent = scan_row(row, team, by_count);
  if (extent.flag) return refuse(a, team, SampleStatus::invalid_logits);
  if (key_of(extent.best) <= kMaskedKey) return refuse(a, team, SampleStatus::all_masked);
  const Draw<Row<T, kSparse>> d{a, row, team, plan};
  if (threadIdx.x == 0) {
    plan.octaves.set(logit_of(key_of(extent.best)), logit_of(extent.least),
                     sampling::exponent_scale(greedy ? 1.0f : p.temperature));
    plan.argmax = id_of(extent.best);
    plan.least = greedy ? sampling::kArgmaxWeight : sampling::min_p_weight(p.min_p);
    plan.cut = greedy ? Cut{key_of(extent.best), static_cast<u32>(id_of(extent.best))} : kKeepsAll;
    if (greedy && !a.logprob && team.leads())
      d.finish(plan.argmax, 0.0f, sampling::kArgmaxWeight, sampling::kArgmaxWeight, 1, 0);
  }
  if (greedy && !a.logprob) return;
  __syncthreads();

  if (by_count && team.histogram_sum() > static_cast<u64>(p.top_k)) {
    bool fits = false;
    const Cut cut = select<true>(
        row, team, static_cast<u64>(p.top_k), 0, [](int, float, u32 key) -> u64 { return key > kMaskedKey; }, &fits);
    if (threadIdx.x == 0) plan.cut = cut;
    __syncthreads();
    if (fits) return draw_top_k(d);
  }
  Sums sums;
  const bool summed = !greedy && p.top_p < 1.0f && cut_top_p(d, sums);
  const auto survivor = [&](int id, float y) -> u64 {
    const u64 w = plan.weight_within(order_key(y), id, y);
    return w >= plan.least ? w : 0;
  };
  if (!summed)
    for_each_token(
        row, team,
        [&](int id, float y) {
          const u64 w = survivor(id, y);
          sums.segment += w;
          sums.survivors += w != 0;
          sums.all += d.plain_weight(y);
        },
        [&](int s) { sums.end_segment(scratch, s); });
  draw_from_row(d, sums, survivor);
}

using Kernel = void (*)(SampleArgs, RowShape, bool, bool, RowExchange*, RowLists*);

bool sparse(const SampleArgs& a) { return a.history || a.bias || a.allowed; }

Kernel kernel_of(const SampleArgs& a) {
  switch (a.type) {
    case LogitType::f32: return sparse(a) ? sample_kernel<float, true> : sample_kernel<float, false>;
    case LogitType::f16: return sparse(a) ? sample_kernel<__half, true> : sample_kernel<__half, false>;
    case LogitType::bf16: return sparse(a) ? sample_kernel<__nv_bfloat16, true> : sample_kernel<__nv_bfloat16, false>;
  }
  return nullptr;
}

// Shared memory beside the kernel's own: the marks, and the part's logits where they fit beside a second block.
struct DynamicBytes {
  std::size_t marks, cache;
};
constexpr std::size_t kDynamicRoom = 48 * 1024 - sizeof(TeamScratch) - sizeof(Plan) - 64;

DynamicBytes dynamic_bytes(const SampleArgs& a, const RowShape& shape) {
  DynamicBytes bytes{sparse(a) ? kMarkBits / 8 : 0, 0};
  const std::size_t logits =
      static_cast<std::size_t>(shape.segments) * static_cast<std::size_t>(shape.segment) * sizeof(float);
  if (bytes.marks + logits <= kDynamicRoom) bytes.cache = logits;
  return bytes;
}

std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

RowShape cut_row(std::int64_t vocab, std::int64_t parts) {
  RowShape shape;
  shape.segment = static_cast<int>(divide_up(divide_up(divide_up(vocab, parts), kMaxSegments), kStep)) * kStep;
  const std::int64_t segments = divide_up(vocab, shape.segment);
  shape.segments = static_cast<int>(divide_up(segments, parts));
  shape.parts = static_cast<int>(divide_up(segments, shape.segments));
  return shape;
}

// All parts of all rows must run at once: so many that they do.
RowShape shape_of(const SampleArgs& a) {
  std::int64_t parts = a.parts;
  if (parts == 0) parts = a.rows >= kManyRows ? 1 : std::clamp<std::int64_t>(a.vocab / kLeastPart, 1, kMaxParts);
  if (parts > 1) {
    int device = 0, processors = 0, blocks = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reinterpret_cast<const void*>(kernel_of(a)), kThreads,
                                                        kDynamicRoom),
          "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    parts = std::clamp<std::int64_t>(std::int64_t{processors} * blocks / a.rows, 1, parts);
  }
  return cut_row(a.vocab, parts);
}

// All rows' exchanges, then all rows' lists.
std::size_t exchange_bytes(const SampleArgs& a) { return static_cast<std::size_t>(a.rows) * sizeof(RowExchange); }

std::size_t workspace_of(const SampleArgs& a, const RowShape& shape) {
  return shape.parts > 1 ? static_cast<std::size_t>(a.rows) * (sizeof(RowExchange) + sizeof(RowLists)) : 0;
}
static_assert(sizeof(RowExchange) % alignof(RowLists) == 0);

}  // namespace

std::size_t sample_workspace_bytes(const SampleArgs& args) {
  check_args(args);
  return args.rows == 0 ? 0 : workspace_of(args, shape_of(args));
}

void sample(const SampleArgs& args, void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  check_args(args);
  if (args.rows == 0) return;
  RowShape shape = shape_of(args);
  const std::size_t need = workspace_of(args, shape);
  check_workspace(workspace, workspace_bytes, need);
  const std::size_t element = args.type == LogitType::f32 ? 4 : 2;
  bool aligned = reinterpret_cast<std::uintptr_t>(args.logits) % (4 * element) == 0 && args.row_stride % 4 == 0;
  auto* exchanges = static_cast<RowExchange*>(workspace);
  RowLists* lists = shape.parts > 1 ? reinterpret_cast<RowLists*>(exchanges + args.rows) : nullptr;
  SampleArgs copy = args;
  const DynamicBytes dynamic = dynamic_bytes(args, shape);
  bool cached = dynamic.cache > 0;
  void* arguments[] = {&copy, &shape, &aligned, &cached, &exchanges, &lists};
  const auto* kernel = reinterpret_cast<const void*>(kernel_of(args));
  const dim3 grid(static_cast<unsigned>(args.rows * shape.parts));
  const std::size_t bytes = dynamic.marks + dynamic.cache;
  if (shape.parts > 1) {
    check(cudaMemsetAsync(workspace, 0, exchange_bytes(args), stream), "clearing the workspace of sampling");
    check(cudaLaunchCooperativeKernel(kernel, grid, dim3(kThreads), arguments, bytes, stream), "launching sample_kernel");
  } else {
    check(cudaLaunchKernel(kernel, grid, dim3(kThreads), arguments, bytes, stream), "launching sample_kernel");
  }
}

}  // namespace warploom::cuda
