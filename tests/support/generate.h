// Generation as most tests need it: one set of options for several prompts, and every completion in one list.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "warploom/generator.h"

namespace warploom::test {

struct Options : Request, EngineOptions, Callbacks {};

struct Result : Completion {
  std::vector<TokenId> prompt_token_ids;
  std::int64_t cached_tokens = 0;
};

inline std::vector<Request> requests_for(std::span<const std::vector<TokenId>> prompts, const Options& options) {
  std::vector<Request> requests;
  for (const auto& prompt : prompts) {
    requests.push_back(options);
    requests.back().prompt = prompt;
  }
  return requests;
}

/// Request after request, each with its n completions.
inline std::vector<Result> flat(std::vector<RequestOutput> outputs) {
  std::vector<Result> results;
  for (RequestOutput& output : outputs)
    for (Completion& completion : output.completions)
      results.push_back({std::move(completion), output.prompt_token_ids, output.cached_tokens});
  return results;
}

inline std::vector<Result> generate(const std::shared_ptr<const Model>& model, std::span<const std::vector<TokenId>> prompts,
                                    const Options& options) {
  return flat(warploom::generate(model, requests_for(prompts, options), options, options));
}

/// With the generator's own engine options.
inline std::vector<Result> generate(Generator& generator, std::span<const std::vector<TokenId>> prompts,
                                    const Options& options) {
  return flat(generator.generate(requests_for(prompts, options), options));
}

inline std::vector<std::vector<TokenId>> ragged_prompts(std::size_t count, std::uint32_t seed = 3) {
  std::mt19937 rng(seed);
  std::vector<std::vector<TokenId>> prompts(count);
  for (auto& prompt : prompts)
    for (std::uint32_t n = 1 + rng() % 90; n > 0; --n) prompt.push_back(static_cast<TokenId>(rng() % 260));
  return prompts;
}

inline Options sampled(std::int64_t max_tokens) {
  Options options;
  options.max_tokens = max_tokens;
  options.sampling = {.temperature = 1.0f, .top_k = 40, .top_p = 0.95f, .seed = 17};
  options.ignore_eos = true;
  options.logprobs = true;
  return options;
}

/// What must be equal of two completions that ought not to differ.
inline void expect_same(const Completion& a, const Completion& b, const std::string& what) {
  EXPECT_EQ(a.token_ids, b.token_ids) << what;
  EXPECT_EQ(a.text, b.text) << what;
  EXPECT_EQ(a.logprobs, b.logprobs) << what;  // bit for bit: they come straight from the logits
  EXPECT_EQ(a.finish_reason, b.finish_reason) << what;
}

}  // namespace warploom::test
