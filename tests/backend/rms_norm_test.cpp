#include "fixture.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(RmsNorm);
using test::Activations;
using test::Guarded;

TEST_P(RmsNorm, EqualsTheOracle) {
  for (const std::int64_t dim : {1, 7, 16, 17, 100, 576}) {
    for (const std::int64_t tokens : {1, 5, 9}) {
      const auto count = static_cast<std::size_t>(tokens * dim);
      const std::vector<float> x = test::random_floats(rng, count, 3.0f), delta = test::random_floats(rng, count);
      const std::vector<float> weight = test::random_floats(rng, static_cast<std::size_t>(dim));
      Guarded residual(*backend, x, 1), add(*backend, delta), w(*backend, weight, 2);
      Activations out(*backend, count, 5);
      backend->rms_norm({residual.data(), add.data(), w.data(), nullptr, tokens, dim, 1e-5f, out.data()});
      std::vector<double> want, sum;
      for (std::int64_t t = 0; t < tokens; ++t) {
        double squares = 0;
        for (std::int64_t i = 0; i < dim; ++i) {
          const auto at = static_cast<std::size_t>(t * dim + i);
          sum.push_back(static_cast<double>(x[at]) + delta[at]);
          squares += sum.back() * sum.back();
        }
        for (std::int64_t i = 0; i < dim; ++i)
          want.push_back(sum[static_cast<std::size_t>(t * dim + i)] / std::sqrt(squares / static_cast<double>(dim) + 1e-5) *
                         weight[static_cast<std::size_t>(i)]);
      }
      test::expect_near_all(out.read(), want, 2e-6 + test::rounding(backend->activation_type()), 1e-6);
      test::expect_near_all(residual.read(), sum, 1e-7, 1e-9);
    }
  }
}

TEST_P(RmsNorm, PicksRows) {
  const std::int64_t dim = 40;
  const std::vector<float> x = test::random_floats(rng, 6 * dim), delta = test::random_floats(rng, 6 * dim);
  const std::vector<float> weight = test::random_floats(rng, dim);
  Guarded all_residual(*backend, x), residual(*backend, x), add(*backend, delta), w(*backend, weight);
  Activations all(*backend, 6 * dim), out(*backend, 2 * dim);
  backend->rms_norm({all_residual.data(), add.data(), w.data(), nullptr, 6, dim, 1e-6f, all.data()});
  const auto rows = test::upload<std::int32_t>(*backend, {4, 1});
  backend->rms_norm(
      {residual.data(), add.data(), w.data(), static_cast<const std::int32_t*>(rows->data()), 2, dim, 1e-6f, out.data()});
  const std::vector<float> every = all.read(), picked = out.read();
  for (std::size_t i = 0; i < dim; ++i) {
    EXPECT_EQ(picked[i], every[4 * dim + i]);
    EXPECT_EQ(picked[dim + i], every[dim + i]);
  }
}

}  // namespace
}  // namespace warploom
