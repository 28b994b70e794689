// Draws one token a row: penalties, bias, mask, top-k, top-p, min-p and the draw, in one launch.
//
// Shapes:   logits [rows, vocab] of f32, f16 or bf16, rows row_stride apart; parameters and outputs [rows].
// Layout:   a row is cut into parts (blocks), those into segments (warps); a lane reads 4 neighbouring logits at once.
// Bytes:    rows * vocab * element, once for the maximum, once for the weights; top-k and top-p read the row again for each
//           digit of the order key that they must look at, 1 to 3 of them, from the L2 cache.
// Launch:   512 threads. One block a row where rows are many, up to 128 where they are few; those are launched cooperatively
// and
//           meet at barriers in device memory.
// Limits:   vocab in [1, 2^22].
// Capture:  yes: a fill of the workspace where parts share rows, and one kernel.
// Numerics: docs/sampling.md. All sums are of 64-bit integers; no result depends on the launch.
// Source:   radix selection: Alabi et al., "Fast k-selection algorithms for graphics processing units", JEA 2012; Philox:
// Salmon
//           et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// History:  first version: every level of a selection is a pass over the row.
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

__device__ void refuse(const SampleArgs& a, std::int64_t r, const Team& team, SampleStatus status) {
  if (team.part() == 0 && threadIdx.x == 0) write(a, r, {.status = status});
}

template <typename T, bool kSparse>
__global__ void __launch_bounds__(kThreads, 2) sample_kernel(SampleArgs a, RowShape shape, bool aligned, RowState* states) {
  __shared__ TeamScratch scratch;
  extern __shared__ u32 marks[];
  const std::int64_t r = blockIdx.x / shape.parts;
  Team team(shape, shape.parts > 1 ? states + r : nullptr, static_cast<int>(blockIdx.x % shape.parts), scratch);
  const RowParams p(a, r);
  Row<T, kSparse> row(a, r, p, aligned, marks);
  if (!p.valid() || row.mark()) return refuse(a, r, team, SampleStatus::invalid_parameters);

  // The maximum, and how many candidates each first digit has.
  const bool by_count = p.temperature > 0.0f && p.top_k > 0 && p.top_k < a.vocab;
  if (by_count) team.clear_histogram();
  u64 best = 0;
  bool bad = false;
  for_each_token(
      row, team,
      [&](int id, float raw, float y) {
        bad |= !(raw < INFINITY) || !(y < INFINITY);
        const u32 key = order_key(y);
        const u64 packed = static_cast<u64>(key) << 32 | ~static_cast<u32>(id);
        best = packed > best ? packed : best;
        if (by_count && key > kMaskedKey) atomicAdd(&scratch.histogram[key >> digit_shift(0)], u64{1});
      },
      [](int) {});
  team.publish_best(best, bad);
  if (by_count) team.publish_histogram(0);
  team.barrier();
  best = team.read_best(bad);
  if (by_count) team.read_histogram(0);
  if (bad) return refuse(a, r, team, SampleStatus::invalid_logits);
  if (best >> 32 <= kMaskedKey) return refuse(a, r, team, SampleStatus::all_masked);
  Outcome out;
  out.argmax = static_cast<TokenId>(~static_cast<u32>(best));
  const float max = logit_of(static_cast<u32>(best >> 32));

  const bool greedy = p.temperature == 0.0f;
  const float scale = sampling::exponent_scale(greedy ? 1.0f : p.temperature);
  Cut cut;
  if (by_count && team.histogram_sum() > static_cast<u64>(p.top_k))
    cut = select(row, team, static_cast<u64>(p.top_k), 0, 0, [](int, float, u32 key) -> u64 { return key > kMaskedKey; });
  if (!greedy && p.top_p < 1.0f) {
    const Cut first = cut;
    const auto mass = [=](int id, float y, u32 key) -> u64 {
      return first.keeps(key, static_cast<u32>(id)) ? sampling::weight(y, max, scale) : 0;
    };
    count_digits(row, team, 0, 0, 3, mass);
    cut = select(row, team, sampling::top_p_threshold(p.top_p, team.histogram_sum()), 3, 1, mass);
  }

  // The survivors' weights, segment by segment, and on request all weights at temperature 1.
  const u64 least = greedy ? sampling::kArgmaxWeight : sampling::min_p_weight(p.min_p);
  const auto survivor = [=](int id, float y) -> u64 {
    if (greedy) return id == out.argmax ? sampling::kArgmaxWeight : 0;
    const u64 w = cut.keeps(order_key(y), static_cast<u32>(id)) ? sampling::weight(y, max, scale) : 0;
    return w >= least ? w : 0;
  };
  const float plain = sampling::exponent_scale(1.0f);
  u64 sum = 0, survivors = 0, all = 0;
  for_each_token(
      row, team,
      [&](int id, float, float y) {
        const u64 w = survivor(id, y);
        sum += w;
        survivors += w != 0;
        if (a.logprob) all += sampling::weight(y, max, plain);
      },
      [&](int s) {
        const u64 segment = warp_sum(sum);
        if (threadIdx.x % 32 == 0) scratch.segment_sums[s] = segment;
        sum = 0;
      });
  __syncthreads();
  const u64 mine = threadIdx.x < shape.segments ? scratch.segment_sums[threadIdx.x] : 0;
  const Team::Prefix prefix = team.prefix(2, mine);
  out.total = prefix.total;
  out.survivors = static_cast<std::int64_t>(team.sum(0, survivors));
  if (a.logprob) all = team.sum(1, all);

  // The draw: the thread whose segment it falls into calls the first warp.
  const u64 r_draw = sampling::draw(sampling::random_bits(p.seed, p.position, p.stream), out.total);
  const u64 before = prefix.before_part + prefix.before_thread;
  const bool hit = before <= r_draw && r_draw < before + mine;
  if (hit) {
    scratch.message[0] = threadIdx.x;
    scratch.message[1] = r_draw - before;
  }
  if (!__syncthreads_or(hit) || threadIdx.x >= 32) return;
  int id = 0;
  float y = 0.0f;
  if (!walk(row, team, static_cast<int>(scratch.message[0]), scratch.message[1], survivor, id, y)) return;
  out.token = id;
  if (a.logprob) out.logprob = (static_cast<double>(y) - static_cast<double>(max)) - log(static_cast<double>(all) * 0x1p-40);
  if (a.filtered_logprob) out.filtered_logprob = log(static_cast<double>(survivor(id, y)) / static_cast<double>(out.total));
  write(a, r, out);
}

using Kernel = void (*)(SampleArgs, RowShape, bool, RowState*);

bool sparse(const SampleArgs& a) { return a.history || a.bias || a.allowed; }

Kernel kernel_of(const SampleArgs& a) {
  switch (a.type) {
    case LogitType::f32: return sparse(a) ? sample_kernel<float, true> : sample_kernel<float, false>;
    case LogitType::f16: return sparse(a) ? sample_kernel<__half, true> : sample_kernel<__half, false>;
    case LogitType::bf16: return sparse(a) ? sample_kernel<__nv_bfloat16, true> : sample_kernel<__nv_bfloat16, false>;
  }
  return nullptr;
}

std::size_t marks_bytes(const SampleArgs& a) { return sparse(a) ? kMarkBits / 8 : 0; }

// All parts of all rows must run at once: so many that they do.
RowShape shape_of(const SampleArgs& a) {
  std::int64_t parts = a.parts;
  if (parts == 0) parts = a.rows >= kManyRows ? 1 : std::clamp<std::int64_t>(a.vocab / kLeastPart, 1, kMaxParts);
  if (parts > 1) {
    int device = 0, processors = 0, blocks = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reinterpret_cast<const void*>(kernel_of(a)), kThreads,
                                                        marks_bytes(a)),
          "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    parts = std::clamp<std::int64_t>(std::int64_t{processors} * blocks / a.rows, 1, parts);
  }
  const auto up = [](std::int64_t n, std::int64_t by) { return (n + by - 1) / by; };
  RowShape shape;
  shape.segment = static_cast<int>(up(up(up(a.vocab, parts), kMaxSegments), kStep)) * kStep;
  const std::int64_t segments = up(a.vocab, shape.segment);
  shape.segments = static_cast<int>(up(segments, parts));
  shape.parts = static_cast<int>(up(segments, shape.segments));
  return shape;
}

std::size_t workspace_of(const SampleArgs& a, const RowShape& shape) {
  return shape.parts > 1 ? static_cast<std::size_t>(a.rows) * sizeof(RowState) : 0;
}

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
  auto* states = static_cast<RowState*>(workspace);
  SampleArgs copy = args;
  void* arguments[] = {&copy, &shape, &aligned, &states};
  const auto* kernel = reinterpret_cast<const void*>(kernel_of(args));
  const dim3 grid(static_cast<unsigned>(args.rows * shape.parts));
  if (shape.parts > 1) {
    check(cudaMemsetAsync(workspace, 0, need, stream), "clearing the workspace of sampling");
    check(cudaLaunchCooperativeKernel(kernel, grid, dim3(kThreads), arguments, marks_bytes(args), stream),
          "launching sample_kernel");
  } else {
    check(cudaLaunchKernel(kernel, grid, dim3(kThreads), arguments, marks_bytes(args), stream), "launching sample_kernel");
  }
}

}  // namespace warploom::cuda
