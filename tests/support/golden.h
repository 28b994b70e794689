// Requests of every kind whose tokens and log-probabilities are on record (tests/data/golden_generations.json): what they give
// changes only with the sampling contract and with how products round.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/generate.h"
#include "support/tiny_model.h"

namespace warploom::test {

/// The seed for which request_seed(seed, prompt) is `wanted`.
inline std::uint64_t seed_that_gives(std::uint64_t wanted, const std::vector<TokenId>& prompt) {
  const auto unshift = [](std::uint64_t z, int bits) { return z ^ (z >> bits) ^ (z >> 2 * bits); };
  for (auto token = prompt.rbegin(); token != prompt.rend(); ++token) {
    std::uint64_t z = unshift(wanted, 31) * 0x319642B2D24D8EC3u;  // inverses of the multipliers, modulo 2^64
    z = unshift(unshift(z, 27) * 0x96DE1B173F119089u, 30);
    wanted = z - (static_cast<std::uint64_t>(*token) + 1) * 0x9E3779B97F4A7C15u;
  }
  return wanted;
}

/// 40 requests for tiny_model(): every strategy, penalties, biases, stop strings, several completions; prompts of 1 to 120 tokens,
/// half of which share one of two beginnings. They generate over 2,000 tokens.
inline std::vector<Request> golden_requests() {
  std::mt19937 rng(2026);
  const auto tokens = [&](std::size_t count) {
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(rng() % 260);
    return ids;
  };
  const std::vector<TokenId> beginnings[] = {tokens(50), tokens(33)};
  std::vector<Request> requests(40);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    std::vector<TokenId> prompt;
    if (i % 2 == 0) prompt = beginnings[i / 2 % 2];
    const std::vector<TokenId> rest = tokens(1 + rng() % 70);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    request.prompt = prompt;
    request.max_tokens = 40 + static_cast<std::int64_t>(i % 3) * 10;
    request.ignore_eos = i % 5 != 0;
    request.logprobs = true;
    request.n = i % 10 == 3 ? 3 : i % 10 == 6 ? 2 : 1;
    SamplingParams& sampling = request.sampling;
    sampling.seed = 1000 + i;
    switch (i % 8) {
      case 0: sampling.temperature = 0.0f; break;
      case 1: sampling.temperature = 0.7f; break;
      case 2: sampling.top_k = 50; break;
      case 3: sampling.top_p = 0.9f; break;
      case 4: sampling = {.temperature = 1.3f, .top_k = 40, .top_p = 0.95f, .seed = 1000 + i}; break;
      case 5: sampling.min_p = 0.02f; break;
      case 6:
        sampling.repetition_penalty = 1.2f;
        sampling.frequency_penalty = 0.3f;
        break;
      default:
        sampling.presence_penalty = 0.5f;
        request.logit_bias = {{7, -INFINITY}, {static_cast<TokenId>(i), 2.5f}, {120, -1.0f}};
        break;
    }
    // Recorded when requests drew from the seed itself, and when all penalties counted the prompt.
    sampling.seed = seed_that_gives(sampling.seed, prompt);
    request.penalize_prompt = true;
    if (i % 9 == 4) request.stop = {"th", "e "};
    if (i % 11 == 5) request.stop_token_ids = {65, 101};
  }
  return requests;
}

/// FNV-1a over ids, log-probabilities (their bits), text and the reason of the end.
inline void hash_into(std::uint64_t& hash, const Completion& completion) {
  const auto add = [&hash](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) hash = (hash ^ (value >> 8 * i & 0xff)) * 0x100000001b3u;
  };
  for (const TokenId id : completion.token_ids) add(static_cast<std::uint64_t>(id));
  for (const double logprob : completion.logprobs) add(std::bit_cast<std::uint64_t>(logprob));
  for (const char c : completion.text) add(static_cast<unsigned char>(c));
  for (const char* c = name(completion.finish_reason); *c; ++c) add(static_cast<unsigned char>(*c));
}

/// Of all completions of one request, in their order, as hexadecimal digits.
inline std::string golden_hash(const RequestOutput& output) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const Completion& completion : output.completions) hash_into(hash, completion);
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// What is on record for "cpu" or "cuda", a hash a request.
inline std::vector<std::string> golden_record(const std::string& device) {
  std::ifstream file(std::string(WARPLOOM_TEST_DATA) + "/golden_generations.json");
  return nlohmann::json::parse(file).at(device).get<std::vector<std::string>>();
}

}  // namespace warploom::test
