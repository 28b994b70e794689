// One test: counts of draws against what they should be, with a verdict and what the test would have found.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace warploom::sampler_check {

/// How sure a verdict is.
struct Rigour {
  double level = 1e-5;  // the chance that a test fails right draws; two-sided: a fit that is too good fails as well
  double power = 0.99;  // the chance with which the stated effects are found
};

struct TestResult {
  std::string name;
  std::int64_t draws = 0;
  std::int64_t cells = 0;
  double chi_square = 0.0;  // NaN where the test is of a single count
  double p_value = 1.0;     // two-sided
  /// The smallest relative change that is found with Rigour::power. Of chi-square: the root mean square, over the draws, of
  /// how far the cells' probabilities are off. Of a count: how much it falls short (infinite where even none at all would
  /// not be found), and how much it exceeds.
  double effect_less = 0.0, effect_more = 0.0;
  bool ok = false;
  std::string detail;  // what else there is to say
};

/// Pearson's chi-square of `seen` against the cells' probabilities, which sum to 1. [cells], 1 or more. `outside` counts
/// draws of what must not be drawn at all: one fails the test.
TestResult test_fit(std::string name, std::span<const std::int64_t> seen, std::int64_t outside,
                    std::span<const double> probability, const Rigour& rigour);

/// The exact binomial test of `seen` among `draws`, each of probability p in (0, 1).
TestResult test_count(std::string name, std::int64_t seen, std::int64_t draws, double p, const Rigour& rigour);

}  // namespace warploom::sampler_check
