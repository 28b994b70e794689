// What products read and how many instructions they take, by the emulator's counters.
#include "cuda/matmul_fixture.h"

#include <numeric>

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/batch_workspace.h"
#include "cuda/backend/matmul/weight.h"
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

template <typename Bytes>
std::uint64_t sectors(Bytes bytes) {
  return static_cast<std::uint64_t>(bytes) / 32;
}

// A few tokens: the inputs are read once for each 16 rows of the weight, 4 sectors for each token and 64 inputs; the rest is
// weights.
TEST_F(CudaMatmulTraffic, AFewTokensReadWeightsOnce) {
  const std::int64_t rows = 192, cols = 1024;
  cuda::Matmul matmul({}, stream.get());
  for (const WeightType type : test::kAllWeightTypes) {
    const RandomWeight weight(rng, type, rows, cols);
    const auto prepared = matmul.load_weight({&weight.view, 1});
    for (const std::int64_t tokens : {1, 5, 8}) {
      SCOPED_TRACE(testing::Message() << traits(type).name << ", tokens " << tokens);
      const WarploomCounters c = count(matmul, *prepared, tokens);
      EXPECT_EQ(c.launches, 1u);
      EXPECT_LE(c.sectors_read, sectors(prepared->bytes()) + sectors(rows / 16 * tokens * cols * 2));
      EXPECT_LE(c.distinct_sectors_read, sectors(prepared->bytes()) + sectors(tokens * cols * 2));
      EXPECT_EQ(c.shared_conflicts, 0u);
      EXPECT_EQ(c.lane_instructions[kWarploomLocal], 0u);
    }
  }
}

// More tokens: each block of rows reads its inputs once, each group of tokens the weights; nothing twice from DRAM.
TEST_F(CudaMatmulTraffic, ManyTokensShareWeightsAndInputs) {
  const std::int64_t rows = 1024, cols = 1024;
  cuda::Matmul matmul({DType::f16, false, true}, stream.get());
  cuda::BatchWorkspace workspace(stream.get());
  for (const WeightType type : {WeightType::q4_0, WeightType::q6_k, WeightType::f16}) {
    const RandomWeight weight(rng, type, rows, cols);
    const auto prepared = matmul.load_weight({&weight.view, 1});
    const auto& view = static_cast<const cuda::DeviceWeight&>(*prepared).packed().at(0).view;
    for (const std::int64_t tokens : {9, 16, 29, 64, 65}) {
      SCOPED_TRACE(testing::Message() << traits(type).name << ", tokens " << tokens);
      const cuda::BatchPlan plan = plan_batch(view, static_cast<int>(tokens), workspace.workspace().room);
      const std::int64_t x = 2 * tokens * cols, out = 4 * tokens * rows, sums = cuda::exchanged_bytes(plan);
      // Each block of a unit counts itself twice.
      const std::uint64_t counts =
          sums > 0 ? static_cast<std::uint64_t>(plan.split.row_blocks * plan.token_groups * plan.splits) * 2 : 0;
      const WarploomCounters c = count(matmul, *prepared, tokens);
      EXPECT_EQ(c.launches, 1u);
      EXPECT_EQ(c.blocks, static_cast<std::uint64_t>(blocks_of(plan)));
      const auto weights = static_cast<std::int64_t>(prepared->bytes());
      // The block that merges looks at the count until it is complete, as often as the others make it wait: 1% is for that.
      const std::int64_t asked = weights * plan.token_groups + x * (plan.split.row_blocks + plan.whole.row_blocks) + sums;
      EXPECT_LE(static_cast<double>(c.sectors_read),
                (sums > 0 ? 1.01 : 1.0) * static_cast<double>(sectors(asked)) + static_cast<double>(counts));
      EXPECT_LE(c.distinct_sectors_read, sectors(weights + x + sums) + counts);
      EXPECT_LE(c.distinct_sectors_written, sectors(out + sums) + counts);
      EXPECT_EQ(c.shared_conflicts, 0u);
      EXPECT_EQ(c.lane_instructions[kWarploomLocal], 0u);
    }
  }
}

// Weights, inputs and the sums that blocks exchange, of a matrix of a model of 8 billion parameters, on whatever device this is.
TEST_F(CudaMatmulTraffic, ManyTokensReadLittleMoreThanTheWeights) {
  cuda::Matmul matmul({DType::f16, false, true}, stream.get());
  const RandomWeight weight(rng, WeightType::q4_0, 4096, 4096);
  const auto prepared = matmul.load_weight({&weight.view, 1});
  for (const std::int64_t tokens : {16, 32, 48, 64}) {
    const WarploomCounters c = count(matmul, *prepared, tokens);
    EXPECT_EQ(c.shared_conflicts, 0u) << tokens;
    EXPECT_LE(32.0 * static_cast<double>(c.distinct_sectors_read), 1.15 * static_cast<double>(prepared->bytes())) << tokens;
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
