#include "cpu/matmul.h"

#include <algorithm>

#include "core/divide.h"

namespace warploom::cpu {

namespace {

// Up to this many tokens every thread quantises all inputs for itself, which is cheaper than waiting for each other.
constexpr std::int64_t kOwnTokens = 2;

// Multiply-adds that take about a microsecond. Smaller pieces are not worth handing to another thread.
constexpr std::int64_t kMinWork = 1 << 15;
// Inputs that are quantised in about a microsecond.
constexpr std::int64_t kMinQuantised = 2048;

}  // namespace

Matmul::Matmul(const Kernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), own_(static_cast<std::size_t>(pool.threads())) {}

void Matmul::quantise(Scratch& scratch, const MatmulArgs& args, std::int64_t group, std::int64_t begin, std::int64_t end) {
  const std::int64_t cols = args.weight->cols(), first = group * kTokenGroup;
  const int tokens = static_cast<int>(std::min<std::int64_t>(kTokenGroup, args.tokens - first));
  const float* x = static_cast<const float*>(args.x) + first * cols + begin * kQuantBlockInputs;
  ActivationBlock* blocks = scratch.blocks.data() + group * (cols / kQuantBlockInputs) + begin;
  for (int t = 0; t < tokens; ++t) kernels_.quantise_row(x + t * cols, (end - begin) * kQuantBlockInputs, blocks, t);
}

// Threads share a row by its blocks. Those of a group's tokens lie in the same cache lines: shared by tokens, they would wait
// for each other.
void Matmul::quantise_shared(const MatmulArgs& args, std::int64_t groups) {
  const std::int64_t row = args.weight->cols() / kQuantBlockInputs, count = groups * row;
  const std::int64_t tokens = std::min<std::int64_t>(kTokenGroup, args.tokens);
  const std::int64_t smallest = ceil_div(kMinQuantised, tokens * kQuantBlockInputs);
  pool_.parallel_for(count, std::max(smallest, ceil_div(count, pool_.threads())), smallest,
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t next; begin < end; begin = next) {
                         const std::int64_t group = begin / row, first = group * row;
                         next = std::min(end, first + row);
                         quantise(shared_, args, group, begin - first, next - first);
                       }
                     });
}

void Matmul::run(const MatmulArgs& args) {
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  ++call_;
  if (args.tokens == 0) return;
  const bool own = args.tokens <= kOwnTokens;
  if (weight.quantised()) {
    const std::int64_t groups = ceil_div(args.tokens, kTokenGroup);
    const auto blocks = static_cast<std::size_t>(groups * (weight.cols() / kQuantBlockInputs));
    const auto reserve = [blocks](Scratch& scratch) {
      if (scratch.blocks.size() < blocks) scratch.blocks.resize(blocks);
    };
    if (own) {
      for (Scratch& scratch : own_) reserve(scratch);
    } else {
      reserve(shared_);
      quantise_shared(args, groups);
    }
  }

  std::int64_t panels = 0;
  for (const PanelSegment& segment : weight.segments()) panels += segment.panel_count();
  const std::int64_t panel_work = kPanelRows * weight.cols() * args.tokens;
  const std::int64_t smallest = std::max<std::int64_t>(1, kMinWork / panel_work);
  const std::int64_t head = std::max(smallest, pool_.head_of(panels)),
                     grain = std::max(smallest, panels / pool_.threads() / 32);
  pool_.parallel_for(panels, head, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    const ActivationBlock* inputs = shared_.blocks.data();
    if (weight.quantised() && own) {
      Scratch& scratch = own_[static_cast<std::size_t>(thread)];
      if (scratch.call != call_) {
        quantise(scratch, args, 0, 0, weight.cols() / kQuantBlockInputs);
        scratch.call = call_;
      }
      inputs = scratch.blocks.data();
    }
    std::int64_t first = 0;  // panel of the segment
    for (const PanelSegment& segment : weight.segments()) {
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
