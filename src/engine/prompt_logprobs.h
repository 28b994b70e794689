// Log-probabilities of tokens that are given, not drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_runner.h"

namespace warploom {

/// Rows of logits that a step should have room for if prompts are scored.
inline constexpr std::int64_t kScoredAtOnce = 64;

/// Row first_row + i of the last step's logits gives entry i: the log-probability of tokens[i], by a softmax in binary64.
std::vector<double> prompt_logprobs(ModelRunner& runner, std::int64_t first_row, std::span<const TokenId> tokens);

}  // namespace warploom
