#include "fixture.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(RmsNorm, unread);
using test::Activations;
using test::Guarded;

// What the op makes of row `row`: the residual, and the normalised row appended to `out`.
void normalise_exactly(std::vector<double>& residual, const std::vector<float>& delta, const std::vector<float>& weight,
                       double epsilon, std::size_t row, std::vector<double>& out) {
  const std::size_t dim = weight.size();
  double squares = 0;
  for (std::size_t i = row * dim; i < (row + 1) * dim; ++i) {
    if (!delta.empty()) residual[i] += static_cast<double>(delta[i]);
    squares += residual[i] * residual[i];
  }
  for (std::size_t i = 0; i < dim; ++i)
    out.push_back(residual[row * dim + i] / std::sqrt(squares / static_cast<double>(dim) + epsilon) *
                  static_cast<double>(weight[i]));
}

TEST_P(RmsNorm, EqualsTheOracle) {
  for (const std::size_t dim : {1, 7, 16, 17, 100, 576}) {
    for (const std::size_t tokens : {1, 5, 9}) {
      for (const bool with_delta : {true, false}) {
        const std::size_t count = tokens * dim;
        const std::vector<float> x = test::random_floats(rng, count, 3.0f), weight = test::random_floats(rng, dim);
        const std::vector<float> delta = with_delta ? test::random_floats(rng, count) : std::vector<float>();
        Guarded residual(*backend, x, 1), add(*backend, delta), w(*backend, weight, 2);
        Activations out(*backend, count, 5);
        backend->rms_norm({residual.data(), with_delta ? add.data() : nullptr, w.data(), static_cast<std::int64_t>(tokens),
                           static_cast<std::int64_t>(dim), 1e-5f, out.data()});
        std::vector<double> want, sum(x.begin(), x.end());
        for (std::size_t t = 0; t < tokens; ++t) normalise_exactly(sum, delta, weight, 1e-5, t, want);
        test::expect_near_all(out.read(), want, 2e-6 + test::rounding(backend->activation_type()), 1e-6);
        test::expect_near_all(residual.read(), sum, 1e-7, 1e-9);
      }
    }
  }
}

// Small rows, beside which epsilon is large, and rows of zeros.
TEST_P(RmsNorm, EpsilonBoundsTheScale) {
  const std::size_t dim = 33;
  std::vector<float> x = test::random_floats(rng, 2 * dim, 1e-3f);
  std::fill(x.begin() + dim, x.end(), 0.0f);
  const std::vector<float> weight = test::random_floats(rng, dim);
  for (const float epsilon : {1e-5f, 1e-6f, 0.5f}) {
    Guarded residual(*backend, x), w(*backend, weight);
    Activations out(*backend, 2 * dim);
    backend->rms_norm({residual.data(), nullptr, w.data(), 2, dim, epsilon, out.data()});
    std::vector<double> want, sum(x.begin(), x.end());
    for (std::size_t t = 0; t < 2; ++t) normalise_exactly(sum, {}, weight, static_cast<double>(epsilon), t, want);
    test::expect_near_all(out.read(), want, 2e-6 + test::rounding(backend->activation_type()), 1e-6);
  }
}

}  // namespace
}  // namespace warploom
