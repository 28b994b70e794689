#include "cpu/matmul.h"

#include <algorithm>

#include "core/divide.h"
#include "cpu/isa.h"
#include "cpu/token_shares.h"

namespace warploom::cpu {

namespace {

// Up to this many tokens every thread quantises all inputs for itself, which is cheaper than waiting for each other.
constexpr std::int64_t kOwnTokens = 2;

// Multiply-adds that take about a microsecond. Smaller pieces are not worth handing to another thread.
constexpr std::int64_t kMinWork = 1 << 15;
// Inputs that are quantised in about a microsecond.
constexpr std::int64_t kMinQuantised = 2048;

// Tokens whose inputs stay in a core's caches, and whose results in its translations of addresses, while panel after panel is multiplied
// with them.
constexpr std::int64_t kTokensAtOnce = 64;
static_assert(kTokensAtOnce % kTokenGroup == 0);

std::int64_t panels_of(const PackedWeight& weight) {
  std::int64_t panels = 0;
  for (const PanelSegment& segment : weight.segments()) panels += segment.panel_count();
  return panels;
}

}  // namespace

Matmul::Matmul(const Kernels& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), own_(static_cast<std::size_t>(pool.threads())), shares_(own_.size()) {}

void Matmul::reserve(Scratch& scratch, std::size_t blocks) {
  if (scratch.blocks.size() < blocks) scratch.blocks.resize(blocks);
}

void Matmul::quantise(const MatmulArgs& args, std::int64_t first, std::int64_t count, std::int64_t begin, std::int64_t end,
                      ActivationBlock* blocks) const {
  const std::int64_t cols = args.weight->cols(), row = cols / kQuantBlockInputs;
  const float* x = static_cast<const float*>(args.x) + first * cols + begin * kQuantBlockInputs;
  for (std::int64_t t = 0; t < count; t += kTokenGroup)
    kernels_.quantise_group(x + t * cols, cols, static_cast<int>(std::min<std::int64_t>(kTokenGroup, count - t)),
                            (end - begin) * kQuantBlockInputs, blocks + t / kTokenGroup * row + begin);
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
                         const std::int64_t group = begin / row, first = group * row, token = group * kTokenGroup;
                         next = std::min(end, first + row);
                         quantise(args, token, std::min<std::int64_t>(kTokenGroup, args.tokens - token), begin - first,
                                  next - first, shared_.blocks.data() + first);
                       }
                     });
}

void Matmul::multiply(const MatmulArgs& args, std::int64_t begin, std::int64_t end, const ActivationBlock* inputs,
                      std::int64_t inputs_from, std::int64_t from_token, std::int64_t tokens) {
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  if (inputs) inputs += (from_token - inputs_from) / kTokenGroup * (weight.cols() / kQuantBlockInputs);
  std::int64_t first = 0;  // panel of the segment
  for (const PanelSegment& segment : weight.segments()) {
    const std::int64_t from = std::max(begin, first), to = std::min(end, first + segment.panel_count());
    if (from < to) {
      const std::int64_t row = (from - first) * kPanelRows, out_row = segment.first_row + row;
      const PanelProduct product{
          .format = segment.format,
          .panels = segment.panels.get() + static_cast<std::size_t>(from - first) * segment.panel_bytes,
          .panel_bytes = segment.panel_bytes,
          .rows = std::min(segment.rows, (to - first) * kPanelRows) - row,
          .cols = segment.cols,
          .tokens = tokens,
          .inputs = inputs,
          .x = static_cast<const float*>(args.x) + from_token * weight.cols(),
          .bias = args.bias ? args.bias + out_row : nullptr,
          .out = args.out + from_token * weight.rows() + out_row,
          .out_stride = weight.rows(),
          .plan = plan_of_products(segment.format, tokens),
      };
      segment.format.quantised ? kernels_.multiply_quantised(product) : kernels_.multiply_float(product);
    }
    first += segment.panel_count();
  }
}

void Matmul::run(const MatmulArgs& args) {
  if (args.tokens == 0) return;
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  const std::int64_t own = args.tokens / pool_.threads();
  const auto reads_all = [&](const PanelSegment& part) { return reads_all_weights(part.format, weight.bytes(), own); };
  const bool by_tokens =
      shares_tokens(pool_, args.tokens) && std::all_of(weight.segments().begin(), weight.segments().end(), reads_all);
  by_tokens ? run_tokens(args) : run_panels(args);
}

void Matmul::run_panels(const MatmulArgs& args) {
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  ++call_;
  const bool own = args.tokens <= kOwnTokens;
  if (weight.quantised()) {
    const std::int64_t groups = ceil_div(args.tokens, kTokenGroup);
    const auto blocks = static_cast<std::size_t>(groups * (weight.cols() / kQuantBlockInputs));
    if (own) {
      for (Scratch& scratch : own_) reserve(scratch, blocks);
    } else {
      reserve(shared_, blocks);
      quantise_shared(args, groups);
    }
  }

  const std::int64_t panels = panels_of(weight);
  const std::int64_t panel_work = kPanelRows * weight.cols() * args.tokens;
  const std::int64_t smallest = std::max<std::int64_t>(1, kMinWork / panel_work);
  // Even, since kernels may take panels in pairs.
  const std::int64_t head = align_up(std::max(smallest, pool_.head_of(panels)), 2),
                     grain = align_up(std::max(smallest, panels / pool_.threads() / 32), 2);
  pool_.parallel_for(panels, head, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    const ActivationBlock* inputs = shared_.blocks.data();
    if (weight.quantised() && own) {
      Scratch& scratch = own_[static_cast<std::size_t>(thread)];
      if (scratch.call != call_) {
        quantise(args, 0, args.tokens, 0, weight.cols() / kQuantBlockInputs, scratch.blocks.data());
        scratch.call = call_;
      }
      inputs = scratch.blocks.data();
    }
    for (std::int64_t token = 0; token < args.tokens; token += kTokensAtOnce)
      multiply(args, begin, end, inputs, 0, token, std::min(kTokensAtOnce, args.tokens - token));
  });
}

const ActivationBlock* Matmul::share_inputs(const MatmulArgs& args, int number, std::int64_t first, std::int64_t count) {
  Share& share = shares_[static_cast<std::size_t>(number)];
  ActivationBlock* blocks = own_[static_cast<std::size_t>(number)].blocks.data();
  // Whoever comes first quantises them, which is the share's own thread unless another ran ahead.
  if (Inputs expected = Inputs::as_given; share.inputs.compare_exchange_strong(expected, Inputs::in_work)) {
    quantise(args, first, count, 0, args.weight->cols() / kQuantBlockInputs, blocks);
    share.inputs.store(Inputs::quantised);
    share.inputs.notify_all();
  } else {
    share.inputs.wait(Inputs::in_work);
  }
  return blocks;
}

void Matmul::run_tokens(const MatmulArgs& args) {
  const auto& weight = static_cast<const PackedWeight&>(*args.weight);
  if (weight.quantised()) {
    const std::int64_t groups = ceil_div(ceil_div<std::int64_t>(args.tokens, pool_.threads()), kTokenGroup);
    const auto blocks = static_cast<std::size_t>(groups * (weight.cols() / kQuantBlockInputs));
    for (Scratch& scratch : own_) reserve(scratch, blocks);
    for (Share& share : shares_) share.inputs.store(Inputs::as_given, std::memory_order_relaxed);
  }
  // In pieces of two panels times some tokens, all panels before the next tokens.
  const std::int64_t panels = panels_of(weight), pairs = ceil_div<std::int64_t>(panels, 2),
                     most = ceil_div<std::int64_t>(args.tokens, pool_.threads()), parts = ceil_div(most, kTokensAtOnce),
                     at_once = align_up<std::int64_t>(ceil_div(most, parts), kTokenGroup), pieces = pairs * parts;
  const std::int64_t head = std::max<std::int64_t>(1, pieces * 7 / 8), grain = std::max<std::int64_t>(1, pieces / 128);
  pool_.parallel_for_shares(pieces * pool_.threads(), head, grain, [&](std::int64_t begin, std::int64_t end, int) {
    const int number = static_cast<int>(begin / pieces);
    const std::int64_t first = pool_.share_begin(args.tokens, number),
                       count = pool_.share_begin(args.tokens, number + 1) - first;
    const ActivationBlock* inputs = weight.quantised() ? share_inputs(args, number, first, count) : nullptr;
    for (std::int64_t from = begin - number * pieces, to = end - number * pieces, next; from < to; from = next) {
      const std::int64_t part = from / pairs, part_begin = part * pairs, token = part * at_once;
      next = std::min(to, part_begin + pairs);
      if (token >= count) break;  // the share has fewer tokens than others
      multiply(args, 2 * (from - part_begin), std::min(panels, 2 * (next - part_begin)), inputs, first, first + token,
               std::min(at_once, count - token));
    }
  });
}

}  // namespace warploom::cpu
