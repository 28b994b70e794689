#include "cpu/matmul.h"

#include <algorithm>

namespace warploom::cpu {

namespace {

// Up to so many tokens every thread quantises all inputs for itself: cheaper than waiting for one another.
constexpr std::int64_t kOwnTokens = 2;

// Multiply-adds that take a few microseconds: less is not worth handing to another thread.
constexpr std::int64_t kLeastWork = 1 << 17;

}  // namespace

Matmul::Matmul(const Kernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), own_(static_cast<std::size_t>(pool.threads())) {}

void Matmul::quantise(Scratch& scratch, const MatmulArgs& args, std::int64_t begin, std::int64_t end) {
  const std::int64_t cols = args.weight->cols();
  for (std::int64_t t = begin; t < end; ++t)
    kernels_.quantise_row(static_cast<const float*>(args.x) + t * cols, cols,
                          scratch.records.data() + t / kTokenGroup * (cols / kRecordInputs),
                          static_cast<int>(t % kTokenGroup));
}

void Matmul::run(const MatmulArgs& args) {
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  ++call_;
  if (args.tokens == 0) return;
  const bool own = args.tokens <= kOwnTokens;
  if (weight.quantised()) {
    const std::int64_t groups = (args.tokens + kTokenGroup - 1) / kTokenGroup;
    const auto records = static_cast<std::size_t>(groups * (weight.cols() / kRecordInputs));
    const auto make_room = [records](Scratch& scratch) {
      if (scratch.records.size() < records) scratch.records.resize(records);
    };
    if (own) {
      for (Scratch& scratch : own_) make_room(scratch);
    } else {
      make_room(shared_);
      pool_.parallel_for(args.tokens, 4,
                         [&](std::int64_t begin, std::int64_t end, int) { quantise(shared_, args, begin, end); });
    }
  }

  std::int64_t panels = 0;
  for (const PackedSegment& segment : weight.segments()) panels += segment.panel_count();
  // A few chunks a thread: neighbours on a shared machine make threads uneven.
  const std::int64_t fair = panels / (pool_.threads() * (args.tokens > 16 ? 16 : 4));
  const std::int64_t panel_work = kPanelRows * weight.cols() * args.tokens;
  const std::int64_t grain = std::max({std::int64_t{1}, fair, kLeastWork / panel_work});
  pool_.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    const InputRecord* inputs = shared_.records.data();
    if (weight.quantised() && own) {
      Scratch& scratch = own_[static_cast<std::size_t>(thread)];
      if (scratch.made_for != call_) {
        quantise(scratch, args, 0, args.tokens);
        scratch.made_for = call_;
      }
      inputs = scratch.records.data();
    }
    std::int64_t first = 0;  // of the segment's panels
    for (const PackedSegment& segment : weight.segments()) {
      const std::int64_t from = std::max(begin, first), to = std::min(end, first + segment.panel_count());
      for (std::int64_t p = from; p < to; ++p) {
        const std::int64_t row = (p - first) * kPanelRows;
        const std::byte* panel = segment.panels.get() + static_cast<std::size_t>(p - first) * segment.panel_bytes;
        const int lanes = static_cast<int>(std::min<std::int64_t>(kPanelRows, segment.rows - row));
        const float* bias = args.bias ? args.bias + segment.first_row + row : nullptr;
        float* out = args.out + segment.first_row + row;
        if (segment.format.quantised) {
          kernels_.panel_quantised(segment.format, panel, segment.cols, inputs, args.tokens, bias, lanes, out,
                                   weight.rows());
        } else {
          kernels_.panel_float(segment.format, panel, segment.cols, static_cast<const float*>(args.x), weight.cols(),
                               args.tokens, bias, lanes, out, weight.rows());
        }
      }
      first += segment.panel_count();
    }
  });
}

}  // namespace warploom::cpu
