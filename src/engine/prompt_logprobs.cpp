#include "engine/prompt_logprobs.h"

#include <algorithm>
#include <cmath>

namespace warploom {

namespace {

double logprob(std::span<const float> logits, TokenId token) {
  const auto top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - top - std::log(sum);
}

}  // namespace

std::vector<double> prompt_logprobs(ModelRunner& runner, std::int64_t first_row, std::span<const TokenId> tokens) {
  const auto vocab_size = static_cast<std::size_t>(runner.vocab_size());
  std::vector<float> logits(tokens.size() * vocab_size);
  runner.download_logits(first_row, logits);
  std::vector<double> logprobs;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    logprobs.push_back(logprob(std::span(logits).subspan(i * vocab_size, vocab_size), tokens[i]));
  return logprobs;
}

}  // namespace warploom
