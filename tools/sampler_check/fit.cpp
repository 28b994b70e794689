#include "tools/sampler_check/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "tools/sampler_check/statistics.h"

namespace warploom::sampler_check {

namespace {

// Where a monotone predicate on integers in [low, high] turns true; high + 1 where it never does.
template <typename Predicate>
std::int64_t first_true(std::int64_t low, std::int64_t high, const Predicate& predicate) {
  ++high;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (predicate(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

// Where a monotone predicate on [low, high] turns true; high where it does so nowhere before.
template <typename Predicate>
double first_true(double low, double high, const Predicate& predicate) {
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (predicate(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace

TestResult test_fit(std::string name, std::span<const std::int64_t> seen, std::int64_t outside,
                    std::span<const double> probability, const Rigour& rigour) {
  TestResult result;
  result.name = std::move(name);
  result.draws = std::accumulate(seen.begin(), seen.end(), outside);
  result.cells = static_cast<std::int64_t>(seen.size());
  result.ok = outside == 0;
  if (outside > 0) result.detail = fmt::format("{} draws of what is filtered out", outside);
  const auto draws = static_cast<double>(result.draws), degrees = static_cast<double>(result.cells - 1);
  if (degrees < 1.0) {
    result.effect_less = result.effect_more = std::numeric_limits<double>::infinity();
    return result;
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const double expected = draws * probability[i], off = static_cast<double>(seen[i]) - expected;
    result.chi_square += off * off / expected;
  }
  const double above = chi_square_above(result.chi_square, degrees), below = chi_square_below(result.chi_square, degrees);
  result.p_value = std::min(1.0, 2.0 * std::min(above, below));
  if (result.ok && result.p_value < rigour.level) {
    result.ok = false;
    result.detail = above < below ? "the frequencies differ" : "they fit better than chance allows";
  }
  // Cells that are off by d each make the noncentrality draws * d^2.
  const double critical = chi_square_critical(0.5 * rigour.level, degrees);
  result.effect_less = result.effect_more = std::sqrt(detectable_noncentrality(critical, degrees, rigour.power) / draws);
  return result;
}

TestResult test_count(std::string name, std::int64_t seen, std::int64_t draws, double p, const Rigour& rigour) {
  TestResult result;
  result.name = std::move(name);
  result.draws = draws;
  result.cells = 2;
  result.chi_square = std::numeric_limits<double>::quiet_NaN();
  result.p_value = std::min(1.0, 2.0 * std::min(binomial_below(seen, draws, p), binomial_above(seen, draws, p)));
  result.ok = result.p_value >= rigour.level;
  const double expected = static_cast<double>(draws) * p;
  result.detail = fmt::format("{} seen, {:.1f} expected", seen, expected);

  // Counts up to `few` and from `many` on fail.
  const double side = 0.5 * rigour.level;
  const auto middle = static_cast<std::int64_t>(expected);
  const std::int64_t few = first_true(0, middle, [&](std::int64_t k) { return binomial_below(k, draws, p) > side; }) - 1;
  const std::int64_t many = first_true(middle, draws, [&](std::int64_t k) { return binomial_above(k, draws, p) <= side; });
  result.effect_less = std::numeric_limits<double>::infinity();
  if (few >= 0)
    result.effect_less =
        first_true(0.0, 1.0, [&](double less) { return binomial_below(few, draws, p * (1.0 - less)) >= rigour.power; });
  result.effect_more = std::numeric_limits<double>::infinity();
  if (many <= draws)
    result.effect_more = first_true(
        0.0, 1.0 / p - 1.0, [&](double more) { return binomial_above(many, draws, p * (1.0 + more)) >= rigour.power; });
  return result;
}

}  // namespace warploom::sampler_check
