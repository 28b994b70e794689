#include "backend/weights.h"
#include "fixture.h"
#include "warploom/error.h"

namespace warploom {
namespace {

WARPLOOM_OP_TEST(GatedMatmul, read);
using test::Activations;
using test::Guarded;
using test::RandomWeight;

struct Case {
  WeightType gate, up;
  std::int64_t intermediate_size, cols;
  std::vector<std::int64_t> tokens;
};

bool cuda_in_its_own_order() {
  return test::OpTest::GetParam().kind == DeviceKind::cuda && !test::OpTest::GetParam().cuda.deterministic;
}

// Gate and up of the same type and of others, of numbers of rows that tiles hold and others, up to the numbers of tokens at which other
// kernels take over.
TEST_P(GatedMatmul, IsTheProductAndThenTheGate) {
  using enum WeightType;
  for (const Case& c : {Case{q4_0, q4_0, 88, 544, {1, 3, 8, 9, 33, 70}},
                        {q6_k, q6_k, 24, 512, {1, 8, 17}},
                        {q4_1, q4_1, 8, 32, {1, 9}},
                        {f16, f16, 40, 75, {2, 20}},
                        {bf16, bf16, 16, 64, {260}},
                        {q8_0, q8_0, 48, 96, {257}},
                        {q5_0, q8_0, 32, 96, {1, 12}},
                        {q4_0, q4_0, 33, 64, {1, 12}}})
    for (const bool with_bias : {false, true}) {
      const RandomWeight gate(rng, c.gate, c.intermediate_size, c.cols), up(rng, c.up, c.intermediate_size, c.cols);
      const WeightView both[] = {gate.view, up.view};
      const auto stacked = backend->load_weight(both), gated = backend->load_gated_weight(gate.view, up.view);
      EXPECT_EQ(gated->rows(), 2 * c.intermediate_size);
      EXPECT_EQ(gated->cols(), c.cols);
      Guarded bias(*backend, test::random_floats(rng, static_cast<std::size_t>(2 * c.intermediate_size), 0.5f));
      for (const std::int64_t tokens : c.tokens) {
        SCOPED_TRACE(testing::Message() << traits(c.gate).name << " and " << traits(c.up).name << ", " << c.intermediate_size
                                        << " x " << c.cols << ", " << tokens << " tokens, bias " << with_bias);
        const auto results = static_cast<std::size_t>(tokens * c.intermediate_size);
        const float* add = with_bias ? bias.data() : nullptr;
        Activations x(*backend, test::random_floats(rng, static_cast<std::size_t>(tokens * c.cols)));
        Guarded gate_up(*backend, 2 * results), other(*backend, 2 * results);
        Activations want(*backend, results), got(*backend, results);
        backend->matmul({stacked.get(), x.data(), add, tokens, gate_up.data()});
        backend->swiglu({gate_up.data(), tokens, c.intermediate_size, want.data()});
        backend->gated_matmul({gated.get(), x.data(), add, tokens, other.data(), got.data()});
        other.read();  // nothing was written beside it
        if (with_bias && tokens > 256 && cuda_in_its_own_order()) {
          // cuBLASLt adds the bias itself, in an order of its own; then both are rounded to 8 or 11 bits.
          const std::vector<float> expected = want.read();
          test::expect_near_all(got.read(), {expected.begin(), expected.end()}, 1.0 / 128, 1e-6);
        } else {
          ASSERT_TRUE(test::same_bits(got.read(), want.read()));
        }
      }
    }
}

TEST_P(GatedMatmul, RefusesMatricesOfOtherShapes) {
  const RandomWeight gate(rng, WeightType::q4_0, 16, 64), fewer(rng, WeightType::q4_0, 8, 64),
      wider(rng, WeightType::q4_0, 16, 96);
  EXPECT_THROW(backend->load_gated_weight(gate.view, wider.view), InvalidArgument);
  if (backend->activation_type() != DType::f32) {  // on the CPU they are stacked
    EXPECT_THROW(backend->load_gated_weight(gate.view, fewer.view), InvalidArgument);
  }
}

}  // namespace
}  // namespace warploom
