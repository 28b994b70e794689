// Against published tables, and against values computed to 40 digits from the definitions (incomplete gamma function,
// Poisson mixture, sum of binomial terms).
#include "tools/sampler_check/statistics.h"

#include <cmath>

#include <gtest/gtest.h>

namespace warploom::sampler_check {
namespace {

// The values that are below 1 have 11 digits right, and nothing near 1 is off by more than a rounding.
void expect_close(double got, double want) { EXPECT_NEAR(got, want, 1e-11 * want); }

TEST(Statistics, ChiSquareTables) {
  // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4: upper critical values, to three decimals.
  const struct {
    double p, degrees, x;
  } rows[] = {{0.05, 1, 3.841},    {0.01, 1, 6.635},   {0.001, 1, 10.828}, {0.10, 10, 15.987},   {0.05, 10, 18.307},
              {0.001, 10, 29.588}, {0.05, 50, 67.505}, {0.01, 50, 76.154}, {0.10, 100, 118.498}, {0.001, 100, 149.449}};
  for (const auto& row : rows) EXPECT_NEAR(chi_square_critical(row.p, row.degrees), row.x, 0.0006) << row.degrees;
}

TEST(Statistics, ChiSquareTails) {
  const struct {
    double x, degrees, above, below;
  } rows[] = {
      {0.5, 1, 0.47950012218695346, 0.52049987781304654},       {18.307, 10, 0.05000058909139812, 0.94999941090860188},
      {1200, 1023, 9.8706059561673697e-5, 0.99990129394043833}, {800, 1023, 0.9999999501040502, 4.9895949804365328e-8},
      {1023, 1023, 0.49412008986727303, 0.50587991013272697},   {2000, 999, 2.9249231493051963e-69, 1.0},
      {40, 3, 1.0655090334255861e-8, 0.99999998934490967}};
  for (const auto& row : rows) {
    expect_close(chi_square_above(row.x, row.degrees), row.above);
    expect_close(chi_square_below(row.x, row.degrees), row.below);
  }
  EXPECT_EQ(chi_square_above(0, 5), 1.0);
  EXPECT_EQ(chi_square_below(0, 5), 0.0);
}

TEST(Statistics, NoncentralChiSquare) {
  expect_close(noncentral_chi_square_above(3.841458820694124, 1, 7.849), 0.800006969445477);
  expect_close(noncentral_chi_square_above(18.307, 10, 20.532), 0.900001378391624);
  expect_close(noncentral_chi_square_above(1224.5, 1023, 300), 0.960642669151596);
  expect_close(noncentral_chi_square_above(100, 50, 0.01), 3.47350312722558e-5);
  expect_close(noncentral_chi_square_above(400, 200, 500), 0.999999999999169);
  expect_close(noncentral_chi_square_above(12, 7, 0), chi_square_above(12, 7));
  // Of one degree of freedom: two normal tails.
  const auto normal_above = [](double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); };
  expect_close(noncentral_chi_square_above(9, 1, 4), normal_above(1) + normal_above(5));
}

TEST(Statistics, DetectableNoncentrality) {
  // The usual tables of a test at 0.05 (Cohen 1988, ch. 12): power 0.80 and 0.90 with 1 and 10 degrees of freedom.
  const struct {
    double degrees, power, lambda;
  } rows[] = {{1, 0.80, 7.849}, {1, 0.90, 10.507}, {10, 0.80, 16.241}, {10, 0.90, 20.532}};
  for (const auto& row : rows)
    EXPECT_NEAR(detectable_noncentrality(chi_square_critical(0.05, row.degrees), row.degrees, row.power), row.lambda, 0.001);
  for (const double degrees : {1.0, 35.0, 1023.0}) {
    const double x = chi_square_critical(1e-5, degrees);
    expect_close(noncentral_chi_square_above(x, degrees, detectable_noncentrality(x, degrees, 0.99)), 0.99);
  }
  EXPECT_EQ(detectable_noncentrality(0.001, 10, 0.99), 0.0);
}

TEST(Statistics, BinomialTails) {
  const struct {
    std::int64_t k, n;
    double p, below, above;
  } rows[] = {{0, 100000, 0.000327, 6.2552979651463591e-15, 1.0},
              {10, 100000, 0.000327, 3.4212683577519469e-6, 0.99999899523516144},
              {33, 100000, 0.000327, 0.5668946281653081, 0.50229357745018241},
              {70, 100000, 0.000327, 0.99999999545323373, 9.9872515126770671e-9},
              {2, 10, 0.3, 0.38278278640000003, 0.85069165409999998},
              {480, 1000, 0.5, 0.10872414660207047, 0.90261683576911726}};
  for (const auto& row : rows) {
    // The terms come from differences of numbers near 1e6.
    EXPECT_NEAR(binomial_below(row.k, row.n, row.p), row.below, 1e-9 * row.below);
    EXPECT_NEAR(binomial_above(row.k, row.n, row.p), row.above, 1e-9 * row.above);
    EXPECT_NEAR(binomial_above(row.n - row.k, row.n, 1 - row.p), row.below, 1e-9 * row.below);
  }
  // By hand: 1 + 10 + 45 of 1024.
  expect_close(binomial_below(2, 10, 0.5), 56.0 / 1024);
  expect_close(binomial_above(8, 10, 0.5), 56.0 / 1024);
  EXPECT_EQ(binomial_below(-1, 10, 0.5), 0.0);
  EXPECT_EQ(binomial_below(10, 10, 0.5), 1.0);
  EXPECT_EQ(binomial_above(0, 10, 0.5), 1.0);
  EXPECT_EQ(binomial_above(11, 10, 0.5), 0.0);
  EXPECT_EQ(binomial_below(3, 10, 0.0), 1.0);
  EXPECT_EQ(binomial_below(3, 10, 1.0), 0.0);
}

}  // namespace
}  // namespace warploom::sampler_check
