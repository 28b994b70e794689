#include "fixture.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Swiglu, unread);
using test::Activations;
using test::Guarded;

TEST_P(Swiglu, EqualsTheOracle) {
  for (const std::int64_t ffn : {1, 15, 16, 33, 1536}) {
    for (const std::int64_t tokens : {1, 3, 8}) {
      std::vector<float> x = test::random_floats(rng, static_cast<std::size_t>(2 * tokens * ffn), 4.0f);
      x[0] = -200.0f;  // far tails: the sigmoid is 0 or 1
      if (ffn > 1) x[1] = 200.0f;
      Guarded in(*backend, x, 1);
      Activations out(*backend, static_cast<std::size_t>(tokens * ffn), 3);
      backend->swiglu({in.data(), tokens, ffn, out.data()});
      std::vector<double> want;
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t i = 0; i < ffn; ++i) {
          const double gate = x[static_cast<std::size_t>(2 * t * ffn + i)],
                       up = x[static_cast<std::size_t>((2 * t + 1) * ffn + i)];
          want.push_back(gate / (1.0 + std::exp(-gate)) * up);
        }
      }
      // f16 has nothing below 2^-25 (half the distance between its subnormal numbers).
      const bool half = backend->activation_type() == DType::f16;
      test::expect_near_all(out.read(), want, 1e-6 + test::rounding(backend->activation_type()), half ? 0x1p-25 : 1e-30);
    }
  }
}

TEST_P(Swiglu, NanComesThrough) {
  Guarded in(*backend, {std::nanf(""), 1.0f, 1.0f, 2.0f});
  Activations out(*backend, 2);
  backend->swiglu({in.data(), 1, 2, out.data()});
  const std::vector<float> got = out.read();
  EXPECT_TRUE(std::isnan(got[0]));
  EXPECT_FALSE(std::isnan(got[1]));
}

}  // namespace
}  // namespace warploom
