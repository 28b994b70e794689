// What a row's draws must look like, from docs/sampling.md alone: no code of the samplers is used.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "warploom/sampling.h"

namespace warploom::sampler_check {

struct Distribution {
  std::vector<std::uint64_t> weight;  // [vocab_size] in units of 2^-40 of the argmax's; 0: filtered out
  std::uint64_t total = 0;

  double probability(std::size_t token) const {
    return static_cast<double>(static_cast<long double>(weight[token]) / static_cast<long double>(total));
  }
};

/// Sections 2 to 4 of the contract: logits without NaN and +inf, one of them above -inf; temperature > 0; no penalties.
Distribution exact_distribution(std::span<const float> logits, const SamplingParams& params);

/// A partition of the kept tokens.
struct Cells {
  static constexpr std::int32_t kFilteredOut = -1;
  std::vector<std::int32_t> of_token;  // [vocab_size] the cell, or kFilteredOut
  std::vector<double> probability;     // [cells]
};

/// Each token that `draws` draws are expected to hit `least` times has a cell of its own; the rarer ones share cells, the
/// rarest together, so that each cell expects as much.
Cells pooled_cells(const Distribution& distribution, std::int64_t draws, double least = 10.0);

}  // namespace warploom::sampler_check
