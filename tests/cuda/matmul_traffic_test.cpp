// What products read and how many instructions they take, by the emulator's counters.
#include "cuda/matmul_fixture.h"

#include <numeric>

#include "emulator/emulator.h"

namespace warploom {
namespace {

using test::RandomWeight;

class CudaMatmulTraffic : public test::CudaMatmul {
 protected:
  void SetUp() override {
    if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
  }
  WarploomCounters count(cuda::Matmul& matmul, const Weight& weight, std::int64_t tokens) {
    const auto x = test::random_inputs(rng, static_cast<std::size_t>(tokens * weight.cols()), DType::f16);
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
    run(matmul, weight, x, {});
    WarploomCounters counters{};
    warploom_emulator_counters("kernel", &counters);
    warploom_emulator_count(0);
    return counters;
  }
};

double instructions(const WarploomCounters& c) {
  return static_cast<double>(
      std::accumulate(std::begin(c.lane_instructions), std::end(c.lane_instructions), std::uint64_t{0}));
}

// The inputs are read once for each 16 rows of the weight, 4 sectors for each token and 64 inputs; the rest is weights.
TEST_F(CudaMatmulTraffic, WeightsAreReadOnceFor64Tokens) {
  const std::int64_t rows = 192, cols = 1024;
  cuda::Matmul matmul({}, stream.get());
  for (const WeightType type : test::kAllWeightTypes) {
    const RandomWeight weight(rng, type, rows, cols);
    const auto prepared = matmul.load_weight({&weight.view, 1});
    for (const std::int64_t tokens : {1, 5, 8, 16, 29, 64}) {
      SCOPED_TRACE(testing::Message() << traits(type).name << ", tokens " << tokens);
      const WarploomCounters c = count(matmul, *prepared, tokens);
      EXPECT_EQ(c.launches, 1u);
      const auto inputs = static_cast<std::uint64_t>(rows / 16 * (cols / 64) * tokens * 4);
      EXPECT_LE(static_cast<double>(32 * (c.sectors_read - inputs)), 1.001 * static_cast<double>(prepared->bytes()));
      EXPECT_LE(static_cast<double>(32 * c.distinct_sectors_read),
                1.001 * static_cast<double>(prepared->bytes()) + 2.0 * static_cast<double>(tokens * cols));
      EXPECT_EQ(c.shared_conflicts, 0u);
      EXPECT_EQ(c.lane_instructions[kWarploomLocal], 0u);
    }
  }
}

TEST_F(CudaMatmulTraffic, FourBitsStayFourBits) {
  cuda::Matmul matmul({}, stream.get());
  const double weights = 64 * 4096;
  for (const auto& [type, bits] : {std::pair{WeightType::q4_0, 4.5},
                                   {WeightType::q4_1, 5.0},
                                   {WeightType::q4_k, 5.0},
                                   {WeightType::q8_0, 8.5},
                                   {WeightType::q6_k, 9.0}}) {
    const RandomWeight weight(rng, type, 64, 4096);
    const auto prepared = matmul.load_weight({&weight.view, 1});
    EXPECT_EQ(static_cast<double>(prepared->bytes()) * 8, bits * weights) << traits(type).name;
    for (const std::int64_t tokens : {1, 8})
      EXPECT_LE(instructions(count(matmul, *prepared, tokens)), 3.0 * weights) << traits(type).name;
  }
}

TEST_F(CudaMatmulTraffic, PartsOfSeveralTypesAreOneLaunch) {
  cuda::Matmul matmul({}, stream.get());
  const RandomWeight q(rng, WeightType::q4_k, 64, 256), k(rng, WeightType::q4_k, 32, 256), v(rng, WeightType::q6_k, 32, 256);
  const std::vector<WeightView> parts = {q.view, k.view, v.view};
  EXPECT_EQ(count(matmul, *matmul.load_weight(parts), 7).launches, 1u);
}

}  // namespace
}  // namespace warploom
