// What the ops of a layer move, as the emulator counts it, at the shapes of models of 0.1 and 8 billion parameters.
#include <random>

#include <gtest/gtest.h>

#include "backend/fixture.h"
#include "backend/weights.h"
#include "cuda_model/fixture.h"
#include "emulator/emulator.h"

namespace warploom {
namespace {

struct Moved {
  double read = 0, written = 0;  // distinct bytes, in sectors of 32
  double asked = 0;              // with what hits in L2
  std::uint64_t launches = 0;
};
template <typename Run>
Moved moved_by(Backend& backend, const char* kernel, const Run& run) {
  backend.synchronise();
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  run();
  backend.synchronise();
  warploom_emulator_count(0);
  WarploomCounters c = {};
  EXPECT_EQ(warploom_emulator_counters(kernel, &c), 1) << kernel;
  EXPECT_EQ(c.lane_instructions[kWarploomLocal], 0u) << kernel;
  return {32.0 * static_cast<double>(c.distinct_sectors_read), 32.0 * static_cast<double>(c.distinct_sectors_written),
          32.0 * static_cast<double>(c.sectors_read + c.sectors_written), c.launches};
}

class CudaTraffic : public testing::Test {
 protected:
  void SetUp() override {
    if (warploom_emulator_count == nullptr) GTEST_SKIP() << "only the emulator counts";
    backend = test::cuda_backend();
  }
  std::unique_ptr<Backend> backend;
  std::mt19937 rng{7};
};

TEST_F(CudaTraffic, NormMovesItsRowsOnce) {
  for (const auto& [tokens, dim] :
       std::initializer_list<std::pair<std::int64_t, std::int64_t>>{{1, 576}, {16, 576}, {64, 4096}}) {
    const auto count = static_cast<std::size_t>(tokens * dim);
    const std::vector<float> x = test::random_floats(rng, count);
    test::Guarded residual(*backend, x), delta(*backend, x),
        weight(*backend, std::vector<float>(static_cast<std::size_t>(dim), 1.0f));
    test::Activations out(*backend, count);
    const RmsNormArgs args{residual.data(), delta.data(), weight.data(), tokens, dim, 1e-5f, out.data()};
    const Moved moved = moved_by(*backend, "rms_norm_kernel", [&] { backend->rms_norm(args); });
    EXPECT_LE(moved.read + moved.written, 1.02 * static_cast<double>(bytes_moved(args, backend->activation_type())))
        << tokens << " x " << dim;
  }
}

TEST_F(CudaTraffic, SwigluMovesItsRowsOnce) {
  for (const auto& [tokens, ffn] :
       std::initializer_list<std::pair<std::int64_t, std::int64_t>>{{1, 1536}, {16, 1536}, {64, 14336}}) {
    test::Guarded in(*backend, test::random_floats(rng, static_cast<std::size_t>(2 * tokens * ffn)));
    test::Activations out(*backend, static_cast<std::size_t>(tokens * ffn));
    const SwigluArgs args{in.data(), tokens, ffn, out.data()};
    const Moved moved = moved_by(*backend, "swiglu_kernel", [&] { backend->swiglu(args); });
    EXPECT_LE(moved.read + moved.written, 1.02 * static_cast<double>(bytes_moved(args, backend->activation_type())));
    EXPECT_LE(moved.asked, 1.02 * static_cast<double>(bytes_moved(args, backend->activation_type())));
  }
}

// A decode step's product is its weight: 4 bits stay 4 bits.
TEST_F(CudaTraffic, ProductsReadPackedWeightsOnce) {
  for (const WeightType type : {WeightType::q4_1, WeightType::q4_k, WeightType::q8_0})
    for (const std::int64_t tokens : {1, 16, 64}) {
      const std::int64_t rows = 1536, cols = 2048;
      const test::RandomWeight random(rng, type, rows, cols);
      const auto weight = backend->load_weight({&random.view, 1});
      test::Activations x(*backend, std::vector<float>(static_cast<std::size_t>(tokens * cols), 0.5f));
      test::Guarded out(*backend, static_cast<std::size_t>(tokens * rows));
      const MatmulArgs args{weight.get(), x.data(), nullptr, tokens, out.data()};
      const Moved moved = moved_by(*backend, "packed_matmul_kernel", [&] { backend->matmul(args); });
      const double inputs = static_cast<double>(tokens * cols * bytes_of(backend->activation_type()));
      // With many tokens blocks may split the inputs, and exchange sums of up to four spans.
      const double sums = tokens > 8 ? 4.0 * static_cast<double>(4 * tokens * rows) : 0.0;
      EXPECT_LE(moved.read, 1.05 * static_cast<double>(weight->bytes()) + inputs + sums)
          << traits(type).name << ", tokens " << tokens;
      EXPECT_LE(static_cast<double>(weight->bytes()), 1.12 * static_cast<double>(random.view.bytes())) << traits(type).name;
    }
}

// Gate and up stay where they are added up: what is written is results of 16 bits, and what blocks exchange.
TEST_F(CudaTraffic, GatedProductsWriteResultsAlone) {
  const std::int64_t ffn = 1536, cols = 2048;
  const test::RandomWeight gate(rng, WeightType::q4_k, ffn, cols), up(rng, WeightType::q4_k, ffn, cols);
  const auto weight = backend->load_gated_weight(gate.view, up.view);
  EXPECT_LE(static_cast<double>(weight->bytes()), 1.12 * static_cast<double>(gate.view.bytes() + up.view.bytes()));
  for (const std::int64_t tokens : {1, 8, 16, 64}) {
    test::Activations x(*backend, std::vector<float>(static_cast<std::size_t>(tokens * cols), 0.5f));
    test::Guarded gate_up(*backend, static_cast<std::size_t>(2 * tokens * ffn));
    test::Activations out(*backend, static_cast<std::size_t>(tokens * ffn));
    const GatedMatmulArgs args{weight.get(), x.data(), nullptr, tokens, gate_up.data(), out.data()};
    const Moved moved = moved_by(*backend, "", [&] { backend->gated_matmul(args); });
    const double sums = tokens > 8 ? 4.0 * static_cast<double>(4 * tokens * 2 * ffn) : 0.0;
    const auto once = static_cast<double>(bytes_moved(args, backend->activation_type()));
    EXPECT_EQ(moved.launches, 1u) << tokens;
    EXPECT_LE(moved.read + moved.written, 1.05 * once + 2 * sums) << tokens;
    EXPECT_LE(moved.written, static_cast<double>(tokens * ffn * bytes_of(backend->activation_type())) + sums) << tokens;
  }
}

}  // namespace
}  // namespace warploom
