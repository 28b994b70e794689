// Requests that differ in everything that a request can say, drawn from a seed, and what must be equal of two runs of one of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "warploom/request.h"

namespace warploom::test {

struct RandomRequests {
  std::int64_t max_prompt = 60;  // tokens
  std::int64_t max_tokens = 24;
  TokenId num_text_tokens = 260;  // of the vocabulary, from 0 on
  bool callbacks = true;          // constraints and logits processors
};

/// Forbids a tenth of the tokens, others after each history.
inline void forbid_some(const CompletionContext& context, TokenEdit& edit) {
  const auto salt = static_cast<std::uint32_t>(context.output.size() * 7 + context.prompt.size() + context.index);
  const std::span<std::uint32_t> allowed = edit.allowed();
  for (std::int64_t t = 0; t < edit.vocab_size(); ++t)
    if ((static_cast<std::uint32_t>(t) * 2654435761u + salt) % 10 == 0)
      allowed[static_cast<std::size_t>(t / 32)] &= ~(std::uint32_t{1} << t % 32);
  edit.add_bias(static_cast<TokenId>(salt % 100), 1.5f);
}

/// Turns logits around a value that the history gives.
inline void bend(const CompletionContext& context, std::span<float> logits) {
  const float pivot = context.output.empty() ? 0.5f : static_cast<float>(context.output.back() % 5) * 0.25f;
  for (float& logit : logits) logit = pivot - 0.5f * std::abs(logit - pivot);
}

/// Request `index` of a series. Every seventh prompt or so begins like others.
inline Request random_request(const RandomRequests& of, std::uint32_t seed, std::uint32_t index) {
  std::mt19937 rng(seed * 1000003u + index);
  const auto one_in = [&](std::uint32_t n) { return rng() % n == 0; };
  const auto token = [&] { return static_cast<TokenId>(rng() % static_cast<std::uint32_t>(of.num_text_tokens)); };
  const auto some = [&](std::uint32_t count) {
    std::vector<TokenId> tokens(count);
    for (TokenId& t : tokens) t = token();
    return tokens;
  };
  Request request;
  std::vector<TokenId> prompt;
  if (one_in(2)) {
    std::mt19937 beginning(seed + rng() % 5);
    prompt.resize(static_cast<std::size_t>(of.max_prompt / 2));
    for (TokenId& t : prompt) t = static_cast<TokenId>(beginning() % static_cast<std::uint32_t>(of.num_text_tokens));
  }
  const std::vector<TokenId> rest = some(1 + rng() % static_cast<std::uint32_t>(of.max_prompt / 2));
  prompt.insert(prompt.end(), rest.begin(), rest.end());
  request.prompt = std::move(prompt);
  request.max_tokens = one_in(20) ? 0 : 1 + rng() % static_cast<std::uint32_t>(of.max_tokens);
  if (one_in(4)) request.min_tokens = rng() % (static_cast<std::uint32_t>(request.max_tokens) + 1);
  SamplingParams& sampling = request.sampling;
  sampling.seed = rng();
  sampling.temperature = one_in(4) ? 0.0f : 0.25f + static_cast<float>(rng() % 8) * 0.25f;
  if (one_in(3)) sampling.top_k = 1 + rng() % 60;
  if (one_in(3)) sampling.top_p = 0.5f + static_cast<float>(rng() % 50) * 0.01f;
  if (one_in(5)) sampling.min_p = static_cast<float>(rng() % 10) * 0.01f;
  if (one_in(5)) sampling.repetition_penalty = 1.0f + static_cast<float>(rng() % 5) * 0.1f;
  if (one_in(5)) sampling.frequency_penalty = static_cast<float>(rng() % 5) * 0.2f;
  if (one_in(5)) sampling.presence_penalty = static_cast<float>(rng() % 5) * 0.2f;
  request.penalize_prompt = one_in(3);
  if (one_in(4)) request.penalty_window = 1 + rng() % 40;
  if (one_in(4)) request.first_subsequence = rng() % 1000;
  if (one_in(6)) request.n = 2 + static_cast<int>(rng() % 3);
  if (one_in(10)) request.best_of = request.n + static_cast<int>(rng() % 3);
  for (std::uint32_t i = one_in(3) ? 1 + rng() % 3 : 0; i > 0; --i)
    request.stop.push_back(std::string(1 + rng() % 2, static_cast<char>('a' + rng() % 26)));
  request.include_stop = one_in(2);
  if (one_in(4)) request.stop_token_ids = some(1 + rng() % 10);
  request.ignore_eos = one_in(2);
  for (std::uint32_t i = one_in(4) ? rng() % 20 : 0; i > 0; --i)
    request.logit_bias.push_back({token(), static_cast<float>(rng() % 9) - 4.0f});
  if (one_in(8)) request.allowed_token_ids = some(40);
  if (one_in(6)) request.banned_token_ids = some(30);
  if (of.callbacks && one_in(8)) request.constraint = forbid_some;
  if (of.callbacks && one_in(8)) request.logits_processor = bend;
  request.logprobs = one_in(2);
  if (one_in(4)) request.top_logprobs = 1 + static_cast<int>(rng() % 20);
  if (one_in(3)) request.logprobs_mode = LogprobsMode::processed;
  request.prompt_logprobs = one_in(6);
  request.echo = one_in(8);
  request.priority = static_cast<int>(rng() % 5) - 2;
  return request;
}

inline bool is_same(const TokenLogprob& a, const TokenLogprob& b) { return a.token == b.token && a.logprob == b.logprob; }

/// Whether `part` is what a run of `whole`'s request had when it was ended from outside.
inline void expect_beginning(const Completion& part, const Completion& whole, const std::string& what) {
  ASSERT_LE(part.token_ids.size(), whole.token_ids.size()) << what;
  EXPECT_TRUE(std::equal(part.token_ids.begin(), part.token_ids.end(), whole.token_ids.begin())) << what;
  EXPECT_TRUE(std::equal(part.logprobs.begin(), part.logprobs.end(), whole.logprobs.begin())) << what;
}

inline void expect_equal(const Completion& a, const Completion& b, const std::string& what) {
  EXPECT_EQ(a.index, b.index) << what;
  EXPECT_EQ(a.token_ids, b.token_ids) << what;
  EXPECT_EQ(a.text, b.text) << what;
  EXPECT_EQ(a.stop_string, b.stop_string) << what;
  EXPECT_EQ(a.logprobs, b.logprobs) << what;  // bit for bit
  EXPECT_EQ(a.finish_reason, b.finish_reason) << what;
  EXPECT_TRUE(std::ranges::equal(a.top_logprobs, b.top_logprobs, [](const auto& x, const auto& y) {
    return std::ranges::equal(x, y, is_same);
  })) << what;
}

inline void expect_equal(const RequestOutput& a, const RequestOutput& b, const std::string& what) {
  EXPECT_EQ(a.prompt_token_ids, b.prompt_token_ids) << what;
  EXPECT_EQ(a.prompt_logprobs, b.prompt_logprobs) << what;
  EXPECT_EQ(a.error, b.error) << what;
  ASSERT_EQ(a.completions.size(), b.completions.size()) << what;
  for (std::size_t i = 0; i < a.completions.size(); ++i)
    expect_equal(a.completions[i], b.completions[i], what + ", completion " + std::to_string(i));
}

}  // namespace warploom::test
