#include "fixture.h"
#include "weights.h"

#include "checkpoint/quants.h"
#include "warploom/error.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(Matmul, read);
using test::Activations;
using test::Guarded;
using test::RandomWeight;

std::vector<float> dequantised(const WeightView& view) {
  std::vector<float> all(static_cast<std::size_t>(view.rows * view.cols));
  for (std::int64_t r = 0; r < view.rows; ++r)
    dequantize_row(view, r,
                   std::span(all).subspan(static_cast<std::size_t>(r * view.cols), static_cast<std::size_t>(view.cols)));
  return all;
}

struct Product {
  std::vector<double> exact;      // with x as given
  std::vector<double> magnitude;  // sum of |w x|
};
Product product(const std::vector<float>& w, const std::vector<float>& x, std::int64_t rows, std::int64_t cols,
                std::int64_t tokens) {
  Product p;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double sum = 0, size = 0;
      for (std::int64_t k = 0; k < cols; ++k) {
        const double term =
            static_cast<double>(w[static_cast<std::size_t>(r * cols + k)]) * x[static_cast<std::size_t>(t * cols + k)];
        sum += term;
        size += std::abs(term);
      }
      p.exact.push_back(sum);
      p.magnitude.push_back(size);
    }
  }
  return p;
}

// The error of products that take 16-bit inputs: each x is rounded, and so are each weight and, before it, its group's scale and
// minimum. None of these exceeds twice the row's largest weight.
std::vector<double> rounding_bounds(const Backend& backend, const std::vector<float>& w, const std::vector<float>& x,
                                    std::int64_t rows, std::int64_t cols, std::int64_t tokens) {
  std::vector<double> bounds(static_cast<std::size_t>(rows * tokens), 0.0);
  if (backend.activation_type() == DType::f32) return bounds;
  const double step = test::rounding(backend.activation_type());
  for (std::int64_t r = 0; r < rows; ++r) {
    double largest = 0;
    for (std::int64_t k = 0; k < cols; ++k)
      largest = std::max(largest, std::abs(static_cast<double>(w[static_cast<std::size_t>(r * cols + k)])));
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t k = 0; k < cols; ++k)
        bounds[static_cast<std::size_t>(t * rows + r)] +=
            6 * step * largest * std::abs(static_cast<double>(x[static_cast<std::size_t>(t * cols + k)]));
  }
  return bounds;
}

bool is_float(WeightType type) { return type == WeightType::f32 || type == WeightType::f16 || type == WeightType::bf16; }

// Quantised weights see inputs rounded to 8 bits per group of 32: with inputs that 8 bits hold exactly, nothing but float
// rounding is left.
TEST_P(Matmul, EqualsTheOracleOnInputsThatEightBitsHold) {
  for (const WeightType type : test::kAllWeightTypes) {
    const std::int64_t cols = traits(type).block == 256 ? 512 : 352;
    for (const std::int64_t rows : {1, 15, 16, 17, 50}) {
      for (const std::int64_t tokens : {1, 2, 3, 5, 8, 13, 20}) {
        const RandomWeight weight(rng, type, rows, cols);
        std::vector<float> x(static_cast<std::size_t>(tokens * cols));
        for (std::size_t i = 0; i < x.size(); ++i)
          x[i] = i % 32 == 0 ? 127.0f / 64 : static_cast<float>(static_cast<int>(rng() % 255) - 127) / 64;
        const Product want = product(dequantised(weight.view), x, rows, cols, tokens);
        const std::vector<double> rounded = rounding_bounds(*backend, dequantised(weight.view), x, rows, cols, tokens);
        const auto prepared = backend->load_weight({&weight.view, 1});
        Activations in(*backend, x, 3);
        Guarded out(*backend, static_cast<std::size_t>(rows * tokens), 1);
        backend->matmul({prepared.get(), in.data(), nullptr, tokens, out.data()});
        const std::vector<float> got = out.read();
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], want.exact[i], 1e-5 * want.magnitude[i] + rounded[i])
              << traits(type).name << " " << rows << "x" << cols << " tokens " << tokens << " at " << i;
      }
    }
  }
}

// The bytes of a block that hold codes alone: with all bits set or none, sums of products reach their limits.
struct CodeBytes {
  WeightType type;
  std::ptrdiff_t first, last;
};
constexpr CodeBytes kCodeBytes[] = {{WeightType::q4_0, 2, 18},   {WeightType::q4_1, 4, 20}, {WeightType::q5_0, 2, 22},
                                    {WeightType::q5_1, 4, 24},   {WeightType::q8_0, 2, 34}, {WeightType::q4_k, 16, 144},
                                    {WeightType::q5_k, 16, 176}, {WeightType::q6_k, 0, 192}};

TEST_P(Matmul, SumsOfTheLargestProductsAreExact) {
  for (const CodeBytes& codes : kCodeBytes) {
    const std::int64_t cols = traits(codes.type).block == 256 ? 512 : 96, rows = 17;
    for (const int fill : {0x00, 0xff, 0x80, 0x7f}) {
      RandomWeight weight(rng, codes.type, rows, cols);
      const auto block = static_cast<std::ptrdiff_t>(traits(codes.type).block_bytes);
      for (auto at = weight.bytes.begin(); at != weight.bytes.end(); at += block)
        std::fill(at + codes.first, at + codes.last, static_cast<std::byte>(fill));
      for (const float sign : {-1.0f, 1.0f}) {
        const std::int64_t tokens = 9;
        const std::vector<float> x(static_cast<std::size_t>(tokens * cols), sign * 127.0f / 64);
        const std::vector<float> w = dequantised(weight.view);
        const Product want = product(w, x, rows, cols, tokens);
        const std::vector<double> rounded = rounding_bounds(*backend, w, x, rows, cols, tokens);
        const auto prepared = backend->load_weight({&weight.view, 1});
        Activations in(*backend, x);
        Guarded out(*backend, static_cast<std::size_t>(rows * tokens));
        backend->matmul({prepared.get(), in.data(), nullptr, tokens, out.data()});
        const std::vector<float> got = out.read();
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(got[i], want.exact[i], 1e-5 * want.magnitude[i] + rounded[i])
              << traits(codes.type).name << " " << fill << " at " << i;
      }
    }
  }
}

// The bound: each input is off by at most half a step of its group, amax / 254.
TEST_P(Matmul, StaysWithinHalfAStepOfTheInputs) {
  for (const WeightType type : test::kAllWeightTypes) {
    const std::int64_t cols = 512, rows = 33, tokens = 4;
    const RandomWeight weight(rng, type, rows, cols);
    const std::vector<float> w = dequantised(weight.view);
    const std::vector<float> x = test::random_floats(rng, static_cast<std::size_t>(tokens * cols));
    const Product want = product(w, x, rows, cols, tokens);
    const std::vector<double> rounded = rounding_bounds(*backend, w, x, rows, cols, tokens);
    const auto prepared = backend->load_weight({&weight.view, 1});
    const std::vector<float> bias = test::random_floats(rng, rows);
    Activations in(*backend, x);
    Guarded out(*backend, static_cast<std::size_t>(rows * tokens)), add(*backend, bias);
    backend->matmul({prepared.get(), in.data(), add.data(), tokens, out.data()});
    const std::vector<float> got = out.read();
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t r = 0; r < rows; ++r) {
        double bound = 1e-5 * want.magnitude[static_cast<std::size_t>(t * rows + r)] + 1e-6 +
                       rounded[static_cast<std::size_t>(t * rows + r)];
        if (!is_float(type)) {
          for (std::int64_t g = 0; g < cols / 32; ++g) {
            double top = 0, weights = 0;
            for (std::int64_t k = g * 32; k < g * 32 + 32; ++k) {
              top = std::max(top, std::abs(static_cast<double>(x[static_cast<std::size_t>(t * cols + k)])));
              weights += std::abs(static_cast<double>(w[static_cast<std::size_t>(r * cols + k)]));
            }
            bound += weights * top / 253;
          }
        }
        const auto i = static_cast<std::size_t>(t * rows + r);
        ASSERT_NEAR(got[i], want.exact[i] + bias[static_cast<std::size_t>(r)], bound) << traits(type).name;
      }
    }
  }
}

// What each part gives alone: bit for bit, unless cuBLASLt chooses how to add.
TEST_P(Matmul, StacksPartsOfDifferentTypes) {
  const std::size_t cols = 256;
  const RandomWeight a(rng, WeightType::q4_1, 17, cols), b(rng, WeightType::q6_k, 5, cols),
      c(rng, WeightType::f16, 40, cols);
  const std::vector<WeightView> views = {a.view, b.view, c.view};
  const auto stacked = backend->load_weight(views);
  ASSERT_EQ(stacked->rows(), 62);
  const DeviceOptions& device = GetParam();
  const bool exact =
      device.kind == DeviceKind::cpu || device.cuda.weights == CudaWeights::packed || device.cuda.deterministic;
  for (const std::size_t tokens : {1, 3, 20}) {
    for (const bool biased : {false, true}) {
      const std::vector<float> bias = test::random_floats(rng, 62);
      Activations in(*backend, test::random_floats(rng, tokens * cols));
      Guarded all(*backend, tokens * 62), add(*backend, bias);
      backend->matmul(
          {stacked.get(), in.data(), biased ? add.data() : nullptr, static_cast<std::int64_t>(tokens), all.data()});
      const std::vector<float> got = all.read();
      std::size_t first = 0;
      for (const WeightView& view : views) {
        const auto rows = static_cast<std::size_t>(view.rows);
        const auto single = backend->load_weight({&view, 1});
        Guarded out(*backend, tokens * rows), part(*backend, {bias.begin() + static_cast<std::ptrdiff_t>(first),
                                                              bias.begin() + static_cast<std::ptrdiff_t>(first + rows)});
        backend->matmul(
            {single.get(), in.data(), biased ? part.data() : nullptr, static_cast<std::int64_t>(tokens), out.data()});
        const std::vector<float> want = out.read();
        for (std::size_t t = 0; t < tokens; ++t)
          for (std::size_t r = 0; r < rows; ++r)
            ASSERT_NEAR(got[t * 62 + first + r], want[t * rows + r], exact ? 0.0 : 1e-4)
                << "token " << t << ", row " << first + r;
        first += rows;
      }
    }
  }
}

TEST_P(Matmul, NanAndInfinityComeThroughAndTouchNoOtherToken) {
  const RandomWeight weight(rng, WeightType::q4_1, 20, 64);
  const auto prepared = backend->load_weight({&weight.view, 1});
  std::vector<float> x = test::random_floats(rng, 3 * 64);
  Activations clean_in(*backend, x);
  Guarded clean(*backend, 60);
  backend->matmul({prepared.get(), clean_in.data(), nullptr, 3, clean.data()});
  x[64 + 5] = std::nanf("");
  x[128 + 40] = INFINITY;
  Activations in(*backend, x);
  Guarded out(*backend, 60);
  backend->matmul({prepared.get(), in.data(), nullptr, 3, out.data()});
  const std::vector<float> got = out.read(), want = clean.read();
  for (std::size_t i = 0; i < 20; ++i) ASSERT_EQ(got[i], want[i]);
  for (std::size_t i = 20; i < 60; ++i) ASSERT_FALSE(std::isfinite(got[i]));
}

TEST_P(Matmul, RefusesPartsThatDoNotFit) {
  const RandomWeight a(rng, WeightType::q8_0, 4, 64), b(rng, WeightType::q8_0, 4, 32);
  const std::vector<WeightView> views = {a.view, b.view};
  EXPECT_THROW(backend->load_weight(views), InvalidArgument);
  EXPECT_THROW(backend->load_weight({}), InvalidArgument);
}

}  // namespace
}  // namespace warploom
