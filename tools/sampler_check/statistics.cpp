#include "tools/sampler_check/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace warploom::sampler_check {

namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// x^a e^-x / Gamma(a), in logarithms: each factor alone overflows.
double gamma_factor(double a, double x) { return std::exp(a * std::log(x) - x - std::lgamma(a)); }

// The regularised lower incomplete gamma function by its power series, which converges fast for x < a + 1.
double lower_by_series(double a, double x) {
  double term = 1.0 / a, sum = term;
  for (double n = a + 1.0; term > sum * kEpsilon; n += 1.0) {
    term *= x / n;
    sum += term;
  }
  return sum * gamma_factor(a, x);
}

// The upper one by its continued fraction, evaluated from the front (Lentz's method), for x >= a + 1.
double upper_by_fraction(double a, double x) {
  double b = x + 1.0 - a, c = std::numeric_limits<double>::infinity(), d = 1.0 / b, value = d;
  for (double n = 1.0;; n += 1.0) {
    const double numerator = -n * (n - a);
    b += 2.0;
    d = 1.0 / (numerator * d + b);
    c = b + numerator / c;
    const double step = c * d;
    value *= step;
    if (std::abs(step - 1.0) < 4.0 * kEpsilon) return value * gamma_factor(a, x);
  }
}

double gamma_upper(double a, double x) {
  if (x <= 0.0) return 1.0;
  return x < a + 1.0 ? 1.0 - lower_by_series(a, x) : upper_by_fraction(a, x);
}
double gamma_lower(double a, double x) {
  if (x <= 0.0) return 0.0;
  return x < a + 1.0 ? lower_by_series(a, x) : 1.0 - upper_by_fraction(a, x);
}

// Where a function that rises with x >= 0 passes `target`.
template <typename Function>
double solve_rising(const Function& function, double target) {
  double low = 0.0, high = 1.0;
  while (function(high) < target) low = high, high *= 2.0;
  for (int i = 0; i < 100 && high - low > 1e-13 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (function(middle) < target ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

// A chance and its complement, each with all of its digits.
struct Chance {
  double value, log;
};

// P(X <= k), 0 <= k < n, of n tries that succeed with `hit` and fail with `miss`; k at most n * hit.
double lower_tail(std::int64_t k, std::int64_t n, const Chance& hit, const Chance& miss) {
  const auto kd = static_cast<double>(k), nd = static_cast<double>(n);
  const double ways = std::lgamma(nd + 1.0) - std::lgamma(kd + 1.0) - std::lgamma(nd - kd + 1.0);
  double term = std::exp(ways + kd * hit.log + (nd - kd) * miss.log), sum = 0.0;
  for (std::int64_t i = k; i >= 0 && term > sum * kEpsilon; --i) {
    sum += term;
    term *= static_cast<double>(i) / static_cast<double>(n - i + 1) * (miss.value / hit.value);
  }
  return std::min(sum, 1.0);
}

}  // namespace

double chi_square_above(double x, double degrees) { return gamma_upper(0.5 * degrees, 0.5 * x); }
double chi_square_below(double x, double degrees) { return gamma_lower(0.5 * degrees, 0.5 * x); }

double chi_square_critical(double p, double degrees) {
  return solve_rising([&](double x) { return -chi_square_above(x, degrees); }, -p);
}

double noncentral_chi_square_above(double x, double degrees, double noncentrality) {
  // A Poisson mixture of central ones, with two more degrees of freedom each.
  const double mean = 0.5 * noncentrality;
  if (mean == 0.0) return chi_square_above(x, degrees);
  const double width = 12.0 * std::sqrt(mean) + 40.0;
  double sum = 0.0;
  for (double j = std::max(0.0, std::floor(mean - width)); j <= mean + width; j += 1.0)
    sum += std::exp(j * std::log(mean) - mean - std::lgamma(j + 1.0)) * chi_square_above(x, degrees + 2.0 * j);
  return std::min(sum, 1.0);
}

double detectable_noncentrality(double x, double degrees, double power) {
  if (chi_square_above(x, degrees) >= power) return 0.0;
  return solve_rising([&](double lambda) { return noncentral_chi_square_above(x, degrees, lambda); }, power);
}

double binomial_below(std::int64_t k, std::int64_t n, double p) {
  if (k < 0) return 0.0;
  if (k >= n || p <= 0.0) return 1.0;
  if (p >= 1.0) return 0.0;
  const Chance hit{p, std::log(p)}, miss{1.0 - p, std::log1p(-p)};
  if (static_cast<double>(k) <= static_cast<double>(n) * p) return lower_tail(k, n, hit, miss);
  return 1.0 - lower_tail(n - k - 1, n, miss, hit);
}

double binomial_above(std::int64_t k, std::int64_t n, double p) {
  if (k <= 0) return 1.0;
  if (k > n || p <= 0.0) return 0.0;
  if (p >= 1.0) return 1.0;
  const Chance hit{p, std::log(p)}, miss{1.0 - p, std::log1p(-p)};
  if (static_cast<double>(k) >= static_cast<double>(n) * p) return lower_tail(n - k, n, miss, hit);
  return 1.0 - lower_tail(k - 1, n, hit, miss);
}

}  // namespace warploom::sampler_check
