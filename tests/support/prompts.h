// Prompts and options for tests on random models.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "warploom/generator.h"

namespace warploom::test {

inline std::vector<std::vector<TokenId>> ragged_prompts(std::size_t count, std::uint32_t seed = 3) {
  std::mt19937 rng(seed);
  std::vector<std::vector<TokenId>> prompts(count);
  for (auto& prompt : prompts)
    for (std::uint32_t n = 1 + rng() % 90; n > 0; --n) prompt.push_back(static_cast<TokenId>(rng() % 260));
  return prompts;
}

inline GenerateOptions sampled(std::int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling = {.temperature = 1.0f, .top_k = 40, .top_p = 0.95f, .seed = 17};
  options.ignore_eos = true;
  options.logprobs = true;
  return options;
}

}  // namespace warploom::test
