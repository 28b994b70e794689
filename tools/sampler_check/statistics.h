// Tail probabilities of chi-square and binomial variables, and what a test with them can find.
#pragma once

#include <cstdint>

namespace warploom::sampler_check {

/// P(X >= x) and P(X <= x) of chi-square with `degrees` > 0 degrees of freedom; x >= 0.
double chi_square_above(double x, double degrees);
double chi_square_below(double x, double degrees);

/// The x with P(X >= x) = p; p in (0, 1).
double chi_square_critical(double p, double degrees);

/// P(X >= x) of noncentral chi-square; noncentrality >= 0.
double noncentral_chi_square_above(double x, double degrees, double noncentrality);

/// The noncentrality at which P(X >= x) is `power`; 0 where it is so without any.
double detectable_noncentrality(double x, double degrees, double power);

/// P(X <= k) and P(X >= k) of the successes among n tries of probability p in [0, 1]; any k.
double binomial_below(std::int64_t k, std::int64_t n, double p);
double binomial_above(std::int64_t k, std::int64_t n, double p);

}  // namespace warploom::sampler_check
