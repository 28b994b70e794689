// Checks that a sampler draws what docs/sampling.md says: right frequencies, independent draws, the far tail too.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tools/sampler_check/fit.h"
#include "warploom/sampling.h"

namespace warploom::sampler_check {

/// Draws one token a row; every row reads the same logits [vocab_size]. rows and tokens are [n]; rows have no history and no
/// bias, penalties are off. A row that gets no token gets -1.
using Sampler =
    std::function<void(std::span<const float> logits, std::span<const SamplingInput> rows, std::span<TokenId> tokens)>;

/// What is drawn. 0 draws leave a kind of test out.
struct Plan {
  std::int64_t draws = 1'000'000;  // of each strategy, over a row of 1,000 tokens
  std::int64_t pairs = 1'000'000;  // of each test of independence
  std::int64_t tail_draws = 100'000;
  std::int64_t tail_vocab = 262'144;  // one token above all others
  float tail_gap = 20.5f;             // by so many nats
  std::uint64_t seed = 2024;          // fixed, so that a right sampler gets the same verdict every time
  double level = 1e-4;                // the chance that any of the tests fails right draws
  double power = 0.99;
};

/// The default with `draws` in place of a million, the tail's draws in proportion.
Plan plan_for(std::int64_t draws);

struct SamplerCheck {
  Plan plan;
  double test_level = 0;  // Bonferroni: the plan's level over the number of tests
  std::vector<TestResult> tests;

  bool ok() const;
};

/// Called while a test runs with the share that is done, in (0, 1].
using Progress = std::function<void(const std::string& test, double share)>;

/// Runs every test of the plan. Throws what the sampler throws.
SamplerCheck check_sampler(const Sampler& sampler, const Plan& plan, const Progress& progress = {});

/// The row of 1,000 tokens: near normal(0, 2.5), in steps of 1/4 so that logits tie, every 97th token masked.
std::vector<float> strategy_logits();

struct Strategy {
  std::string name;
  SamplingParams params;
};
std::vector<Strategy> strategies();

}  // namespace warploom::sampler_check
