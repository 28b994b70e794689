#include "tools/sampler_check/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace warploom::sampler_check {

namespace {

constexpr double kOne = 0x1p40;  // the argmax's weight

// Section 3, in the contract's own words. This file is compiled without contraction.
std::uint64_t contract_weight(float x, float max, float scale) {
  const float difference = x - max;
  const float t = difference * scale;
  if (!(t >= -64.0f)) return 0;
  const float n = std::rint(t), f = t - n;
  float q = 0x1.417ca6p-13f;
  for (const float c : {0x1.5f0946p-10f, 0x1.3b2dd0p-7f, 0x1.c6af7ap-5f, 0x1.ebfbdcp-3f, 0x1.62e430p-1f, 1.0f})
    q = std::fma(q, f, c);
  // Dropping the bits below 1 is rounding down, and a double holds q's 24 bits at any exponent.
  return static_cast<std::uint64_t>(std::floor(std::ldexp(static_cast<double>(q), 40 + static_cast<int>(n))));
}

}  // namespace

Distribution exact_distribution(std::span<const float> logits, const SamplingParams& params) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t i) { return std::isinf(logits[i]); });
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });

  const auto scale = static_cast<float>(1.4426950408889634 / static_cast<double>(params.temperature));
  Distribution d{std::vector<std::uint64_t>(logits.size(), 0), 0};
  for (const std::size_t i : order) d.weight[i] = contract_weight(logits[i], logits[order[0]], scale);

  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(params.top_k)));
  if (params.top_p < 1.0f) {
    unsigned __int128 all = 0, sum = 0;
    for (const std::size_t i : order) all += d.weight[i];
    const auto share =
        static_cast<unsigned __int128>(std::max(1LL, std::llrint(static_cast<double>(params.top_p) * 0x1p32)));
    const unsigned __int128 threshold = (share * all + 0xffffffffu) >> 32;
    std::size_t kept = 0;
    while (kept < order.size() && (kept == 0 || sum < threshold)) sum += d.weight[order[kept++]];
    order.resize(kept);
  }
  const double least = std::ceil(static_cast<double>(params.min_p) * kOne);
  std::erase_if(order, [&](std::size_t i) { return static_cast<double>(d.weight[i]) < least; });

  std::vector<std::uint64_t> kept(logits.size(), 0);
  for (const std::size_t i : order) d.total += kept[i] = d.weight[i];
  d.weight = std::move(kept);
  return d;
}

Cells pooled_cells(const Distribution& distribution, std::int64_t draws, double least) {
  std::vector<std::size_t> rising;
  for (std::size_t i = 0; i < distribution.weight.size(); ++i)
    if (distribution.weight[i] > 0) rising.push_back(i);
  std::stable_sort(rising.begin(), rising.end(),
                   [&](std::size_t a, std::size_t b) { return distribution.weight[a] < distribution.weight[b]; });

  Cells cells;
  cells.of_token.assign(distribution.weight.size(), Cells::kFilteredOut);
  bool full = true;
  for (const std::size_t i : rising) {
    if (full) cells.probability.push_back(0.0);
    cells.of_token[i] = static_cast<std::int32_t>(cells.probability.size()) - 1;
    cells.probability.back() += distribution.probability(i);
    full = cells.probability.back() * static_cast<double>(draws) >= least;
  }
  if (!full && cells.probability.size() > 1) {
    const auto last = static_cast<std::int32_t>(cells.probability.size()) - 1;
    std::replace(cells.of_token.begin(), cells.of_token.end(), last, last - 1);
    cells.probability[static_cast<std::size_t>(last) - 1] += cells.probability.back();
    cells.probability.pop_back();
  }
  return cells;
}

}  // namespace warploom::sampler_check
