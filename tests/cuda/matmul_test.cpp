// Products and rows of weights on the device, against exact ones of what the file's blocks mean.
#include <span>

#include "cuda/matmul_fixture.h"

#include "emulator/emulator.h"
#include "support/same_bits.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using test::CudaMatmul;
using test::ExactWeight;
using test::RandomWeight;

struct Shape {
  std::int64_t rows, cols;
};
// Ragged in rows and in inputs, as far as blocks allow; the last has as many warps as there can be.
std::vector<Shape> shapes_of(WeightType type) {
  if (traits(type).block == 1) return {{1, 1}, {17, 65}, {50, 200}, {3, 2083}};
  if (traits(type).block == 32) return {{1, 32}, {17, 96}, {50, 288}, {3, 2080}};
  return {{17, 256}, {50, 512}, {3, 2304}};
}

std::vector<float> random_bias(std::mt19937& rng, std::int64_t rows) {
  std::normal_distribution<float> normal;
  std::vector<float> bias(static_cast<std::size_t>(rows));
  for (float& b : bias) b = normal(rng);
  return bias;
}

void expect_exact(const std::vector<float>& got, const std::vector<WeightView>& parts, const std::vector<std::uint16_t>& x,
                  const std::vector<float>& bias, DType type) {
  const ExactWeight weight(parts, type);
  const auto cols = static_cast<std::size_t>(parts[0].cols), rows = weight.value.size() / cols;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t token = i / rows, row = i % rows;
    const test::Near want = test::exact_product(weight, row, &x[token * cols], cols, type, bias.empty() ? 0.0f : bias[row]);
    ASSERT_NEAR(got[i], want.value, want.bound) << "token " << token << ", row " << row;
  }
}

struct Mode {
  const char* name;
  bool dense, deterministic;
};
constexpr Mode kModes[] = {
    {"packed", false, false}, {"dense", true, false}, {"deterministic", false, true}, {"both", true, true}};

class CudaMatmulTypes : public CudaMatmul, public testing::WithParamInterface<WeightType> {};
INSTANTIATE_TEST_SUITE_P(Types, CudaMatmulTypes, testing::ValuesIn(test::kAllWeightTypes),
                         [](const auto& info) { return std::string(traits(info.param).name); });

TEST_P(CudaMatmulTypes, EqualsTheExactProduct) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const Mode& mode : kModes) {
      cuda::Matmul matmul({type, mode.dense, mode.deterministic}, stream.get());
      for (const Shape& shape : shapes_of(GetParam())) {
        const RandomWeight weight(rng, GetParam(), shape.rows, shape.cols);
        const auto prepared = matmul.load_weight({&weight.view, 1});
        ASSERT_EQ(prepared->rows(), shape.rows);
        ASSERT_EQ(prepared->cols(), shape.cols);
        for (const std::int64_t tokens : {1, 2, 7, 8, 9, 33, 64, 65, 261}) {
          if (tokens > 9 && shape.cols > 2000) continue;
          SCOPED_TRACE(testing::Message() << mode.name << (type == DType::f16 ? ", f16, " : ", bf16, ") << shape.rows << "x"
                                          << shape.cols << ", tokens " << tokens);
          const auto x = test::random_inputs(rng, static_cast<std::size_t>(tokens * shape.cols), type);
          const std::vector<float> bias = tokens % 2 ? random_bias(rng, shape.rows) : std::vector<float>();
          const std::size_t shift = tokens == 7 || tokens == 261 ? 1 : 0;
          expect_exact(run(matmul, *prepared, x, bias, shift), {weight.view}, x, bias, type);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// A token's sums are added in one order, whatever else is there.
TEST_P(CudaMatmulTypes, ATokenAloneHasTheSameBitsAsAmongOthers) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const bool dense : {false, true}) {
      cuda::Matmul matmul({type, dense, true}, stream.get());
      const std::int64_t rows = 20, cols = GetParam() == WeightType::f32 ? 75 : 768;
      const RandomWeight weight(rng, GetParam(), rows, cols);
      const auto prepared = matmul.load_weight({&weight.view, 1});
      const auto x = test::random_inputs(rng, static_cast<std::size_t>(130 * cols), type);
      const std::vector<float> all = run(matmul, *prepared, x, {});
      for (const std::int64_t tokens : {1, 2, 5, 8, 9, 16, 17, 31, 64, 65, 129}) {
        const std::int64_t first = 130 - tokens;
        const std::vector<float> some = run(matmul, *prepared, {x.begin() + first * cols, x.end()}, {});
        ASSERT_TRUE(test::same_bits(some, std::span(all).subspan(static_cast<std::size_t>(first * rows)))) << tokens;
      }
    }
  }
}

// How the work is cut into blocks follows the device; sums do not.
TEST_P(CudaMatmulTypes, TheNumberOfMultiprocessorsChangesNothing) {
  if (warploom_emulator_partition == nullptr) GTEST_SKIP() << "only the emulator has any number of them";
  for (const DType type : {DType::f16, DType::bf16}) {
    const std::int64_t rows = 150, cols = 2304;
    const RandomWeight weight(rng, GetParam(), rows, cols);
    const auto x = test::random_inputs(rng, static_cast<std::size_t>(40 * cols), type);
    std::vector<float> expected;
    for (const int processors : {1, 2, 0}) {
      warploom_emulator_partition(processors);
      cuda::Matmul matmul({type, false, false}, stream.get());
      warploom_emulator_partition(0);
      const auto prepared = matmul.load_weight({&weight.view, 1});
      for (const std::int64_t tokens : {8, 16, 40}) {
        const std::vector<float> got = run(matmul, *prepared, {x.begin(), x.begin() + tokens * cols}, {});
        if (tokens == 8 && expected.empty()) expected = got;
        ASSERT_TRUE(test::same_bits(std::span(got).first(expected.size()), expected))
            << processors << " multiprocessors, " << tokens << " tokens";
      }
    }
  }
}

TEST_P(CudaMatmulTypes, EmbedsWhatTheFileSays) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const bool dense : {false, true}) {
      cuda::Matmul matmul({type, dense, false}, stream.get());
      for (const Shape& shape : shapes_of(GetParam())) {
        const RandomWeight first(rng, GetParam(), shape.rows, shape.cols), second(rng, GetParam(), 5, shape.cols);
        const std::vector<WeightView> parts = {first.view, second.view};
        const auto table = matmul.load_weight(parts);
        const ExactWeight exact(parts, type);
        std::vector<TokenId> ids;
        for (int i = 0; i < 9; ++i) ids.push_back(static_cast<TokenId>(rng() % static_cast<unsigned>(table->rows())));
        ids.push_back(static_cast<TokenId>(table->rows() - 1));
        const auto cols = static_cast<std::size_t>(shape.cols);
        const test::CudaArray<TokenId> device_ids(ids);
        const test::CudaArray<float> out(ids.size() * cols);
        matmul.embed({table.get(), device_ids.data(), static_cast<std::int64_t>(ids.size()), out.data()});
        const std::vector<float> got = out.read();
        for (std::size_t i = 0; i < got.size(); ++i) {
          const std::size_t at = static_cast<std::size_t>(ids[i / cols]) * cols + i % cols;
          // Scales of these blocks are kept as they are: the very value.
          const bool kept = !dense && traits(GetParam()).block == 32;
          ASSERT_NEAR(got[i], exact.value[at], kept ? 0.0f : exact.slack[at]) << i;
        }
      }
    }
  }
}

// Whatever bytes a damaged file holds, a product is a number, an infinity or NaN, and no kernel fails.
TEST_P(CudaMatmulTypes, AnyBytesAreAWeight) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const Mode& mode : kModes) {
      cuda::Matmul matmul({type, mode.dense, mode.deterministic}, stream.get());
      RandomWeight weight(rng, GetParam(), 16, 256);
      for (std::byte& b : weight.bytes) b = static_cast<std::byte>(rng());
      std::fill(weight.bytes.begin(), weight.bytes.begin() + static_cast<std::ptrdiff_t>(weight.view.row_bytes()),
                std::byte{0xff});
      const auto prepared = matmul.load_weight({&weight.view, 1});
      for (const std::int64_t tokens : {3, 70, 257}) {
        const auto got = run(matmul, *prepared, test::random_inputs(rng, static_cast<std::size_t>(tokens * 256), type), {});
        for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t) ASSERT_TRUE(std::isnan(got[16 * t])) << mode.name;
      }
    }
  }
}

TEST_F(CudaMatmul, StacksPartsOfDifferentTypes) {
  const std::int64_t cols = 256;
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const Mode& mode : kModes) {
      cuda::Matmul matmul({type, mode.dense, mode.deterministic}, stream.get());
      std::vector<RandomWeight> weights;
      std::int64_t rows = 33;
      for (const WeightType part :
           {WeightType::q4_k, WeightType::q6_k, WeightType::q4_0, WeightType::f16, WeightType::q8_0, WeightType::q5_1})
        weights.emplace_back(rng, part, rows = rows % 37 + 5, cols);
      std::vector<WeightView> parts;
      for (const RandomWeight& weight : weights) parts.push_back(weight.view);
      const auto prepared = matmul.load_weight(parts);
      const std::vector<float> bias = random_bias(rng, prepared->rows());
      for (const std::int64_t tokens : {3, 70, 257}) {
        SCOPED_TRACE(testing::Message() << mode.name << ", tokens " << tokens);
        const auto x = test::random_inputs(rng, static_cast<std::size_t>(tokens * cols), type);
        expect_exact(run(matmul, *prepared, x, bias), parts, x, bias, type);
      }
    }
  }
}

TEST_F(CudaMatmul, NanAndInfinityTouchNoOtherToken) {
  for (const Mode& mode : kModes) {
    cuda::Matmul matmul({DType::f16, mode.dense, mode.deterministic}, stream.get());
    const RandomWeight weight(rng, WeightType::q4_1, 20, 96);
    const auto prepared = matmul.load_weight({&weight.view, 1});
    auto x = test::random_inputs(rng, 3 * 96, DType::f16);
    const auto clean = run(matmul, *prepared, x, {});
    x[96 + 5] = 0x7e00;
    x[2 * 96 + 90] = 0x7c00;
    const auto got = run(matmul, *prepared, x, {});
    for (std::size_t i = 0; i < 20; ++i) ASSERT_EQ(got[i], clean[i]);
    for (std::size_t i = 20; i < 60; ++i) ASSERT_FALSE(std::isfinite(got[i]));
  }
}

// f16 holds no weight beyond 65504: it becomes that, an infinity stays one.
TEST_F(CudaMatmul, WeightsBeyondHalfPrecisionSaturate) {
  const std::vector<float> values = {1e6f, -1e6f, INFINITY, 65519.0f};
  const WeightView view{WeightType::f32, 4, 1, reinterpret_cast<const std::byte*>(values.data()), "large"};
  for (const Mode& mode : kModes) {
    cuda::Matmul matmul({DType::f16, mode.dense, mode.deterministic}, stream.get());
    EXPECT_EQ(run(matmul, *matmul.load_weight({&view, 1}), {0x3c00}, {}),
              (std::vector<float>{65504, -65504, INFINITY, 65504}));
  }
}

// The maximum of a launch is 65,535 groups of 8 tokens.
TEST_F(CudaMatmul, TakesMoreTokensThanAGridHolds) {
  cuda::Matmul matmul({DType::f16, false, true}, stream.get());
  const float two = 2.0f;
  const WeightView view{WeightType::f32, 1, 1, reinterpret_cast<const std::byte*>(&two), "two"};
  const auto x = test::random_inputs(rng, (1 << 20) + 5, DType::f16);
  const std::vector<float> got = run(matmul, *matmul.load_weight({&view, 1}), x, {3.0f});
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(got[i], 2 * half_to_float(x[i]) + 3) << i;
}

TEST_F(CudaMatmul, NoTokensNoWork) {
  cuda::Matmul matmul({}, stream.get());
  const RandomWeight weight(rng, WeightType::q8_0, 4, 64);
  const auto prepared = matmul.load_weight({&weight.view, 1});
  EXPECT_TRUE(run(matmul, *prepared, {}, {}).empty());
  matmul.embed({prepared.get(), nullptr, 0, nullptr});
}

TEST_F(CudaMatmul, RefusesPartsThatDoNotFit) {
  cuda::Matmul matmul({}, stream.get());
  const RandomWeight a(rng, WeightType::q8_0, 4, 64), b(rng, WeightType::q8_0, 4, 32);
  const std::vector<WeightView> views = {a.view, b.view};
  EXPECT_THROW(matmul.load_weight(views), InvalidArgument);
  EXPECT_THROW(matmul.load_weight({}), InvalidArgument);
  WeightView wide = a.view;
  wide.cols = std::int64_t{1} << 21;
  EXPECT_THROW(matmul.load_weight({&wide, 1}), InvalidArgument);
  WeightView tall = a.view;
  tall.rows = std::int64_t{1} << 40;
  EXPECT_THROW(matmul.load_weight({&tall, 1}), InvalidArgument);
  EXPECT_THROW(cuda::Matmul({DType::f32, false, false}, stream.get()), InvalidArgument);
}

}  // namespace
}  // namespace warploom
