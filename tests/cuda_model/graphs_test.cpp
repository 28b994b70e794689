// A captured step is replayed only for steps whose ops are equal in every argument: each argument varies here in turn, after the step
// was captured, and the results must be those of a fresh launch.
#include <atomic>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "backend/fixture.h"
#include "backend/weights.h"
#include "cuda_model/fixture.h"
#include "emulator/emulator.h"

namespace warploom {
namespace {

class CudaGraphs : public testing::Test {
 protected:
  CudaGraphs()
      : backend(test::cuda_backend()), in(backend->create_staging_buffer(256)), out(backend->create_staging_buffer(256)) {}

  /// Runs `forward` as a decode step.
  void step(const std::function<void()>& forward) {
    backend->run_step(*in, 256, *out, 256, true, forward);
    backend->synchronise();
  }

  /// Captures and replays `usual`, then runs `varied`: what both leave in `result` must be what they leave when launched outside a step.
  template <typename Args>
  void expect_no_stale_replay(const Args& usual, const Args& varied, const std::function<void(const Args&)>& op,
                              test::Guarded& result, const std::vector<float>& before, const std::string& what) {
    const auto outside = [&](const Args& args) {
      result.write(before);
      op(args);
      backend->synchronise();
      return result.read();
    };
    const auto inside = [&](const Args& args) {
      result.write(before);
      step([&] { op(args); });
      return result.read();
    };
    const std::vector<float> want = outside(usual), want_varied = outside(varied);
    ASSERT_NE(want, want_varied) << what << " changes nothing, so this test shows nothing";
    for (int i = 0; i < 4; ++i) EXPECT_EQ(inside(usual), want) << what << ", run " << i;
    EXPECT_EQ(inside(varied), want_varied) << what;
    EXPECT_EQ(inside(usual), want) << what << ", afterwards";
  }

  std::unique_ptr<Backend> backend;
  std::unique_ptr<StagingBuffer> in, out;
  std::mt19937 rng{5};
};

// Steps are recorded one after the other while another thread loads.
TEST_F(CudaGraphs, LoadingStaysOutOfRecordedSteps) {
  const std::vector<float> x = test::random_floats(rng, 64 * 64);
  test::Guarded residual(*backend, x), delta(*backend, x), scale(*backend, test::random_floats(rng, 64));
  test::Activations normed(*backend, 64 * 64);
  test::RandomWeight weight(rng, WeightType::q8_0, 16, 64);
  std::atomic<bool> done = false;
  std::string failure;
  std::thread loader([&] {
    try {
      while (!done) {
        backend->load_rope({.dims = 64}, nullptr);
        backend->load_weight({&weight.view, 1});
      }
    } catch (const std::exception& error) {
      failure = error.what();
    }
  });
  for (std::int64_t tokens = 1; tokens <= 64; ++tokens)
    for (int run = 0; run < 3; ++run)
      EXPECT_NO_THROW(step([&] {
        backend->rms_norm({residual.data(), delta.data(), scale.data(), tokens, 64, 1e-5f, normed.data()});
      })) << tokens;
  done = true;
  loader.join();
  EXPECT_EQ(failure, "");
}

TEST_F(CudaGraphs, AreKeyedByEveryArgumentOfAnOp) {
  constexpr std::int64_t kTokens = 3, kWidth = 64;
  const std::vector<float> x = test::random_floats(rng, kTokens * kWidth),
                           other = test::random_floats(rng, kTokens * kWidth);
  test::Guarded residual(*backend, x), delta(*backend, other), scale(*backend, test::random_floats(rng, kWidth));
  test::Activations normed(*backend, kTokens * kWidth);
  const auto norm = [&](const RmsNormArgs& args) { backend->rms_norm(args); };
  const RmsNormArgs usual{residual.data(), delta.data(), scale.data(), kTokens, kWidth, 1e-5f, normed.data()};
  RmsNormArgs varied = usual;
  varied.tokens = 1;
  expect_no_stale_replay<RmsNormArgs>(usual, varied, norm, residual, x, "tokens");
  varied = usual;
  varied.delta = nullptr;
  expect_no_stale_replay<RmsNormArgs>(usual, varied, norm, residual, x, "no delta");

  const test::RandomWeight random(rng, WeightType::q4_1, 32, kWidth), random2(rng, WeightType::q4_1, 32, kWidth);
  const auto weight = backend->load_weight({&random.view, 1}), weight2 = backend->load_weight({&random2.view, 1});
  test::Activations input(*backend, test::random_floats(rng, kTokens * kWidth));
  test::Guarded product(*backend, std::vector<float>(kTokens * 32)), bias(*backend, test::random_floats(rng, 32));
  const auto matmul = [&](const MatmulArgs& args) { backend->matmul(args); };
  const std::vector<float> zeros(kTokens * 32);
  const MatmulArgs plain{weight.get(), input.data(), nullptr, kTokens, product.data()};
  MatmulArgs changed = plain;
  changed.bias = bias.data();
  expect_no_stale_replay<MatmulArgs>(plain, changed, matmul, product, zeros, "bias");
  changed = plain;
  changed.weight = weight2.get();
  expect_no_stale_replay<MatmulArgs>(plain, changed, matmul, product, zeros, "weight");
  changed = plain;
  changed.tokens = 2;
  expect_no_stale_replay<MatmulArgs>(plain, changed, matmul, product, zeros, "tokens");

  const auto gated = backend->load_gated_weight(random.view, random2.view),
             gated2 = backend->load_gated_weight(random2.view, random.view);
  test::Guarded gate_up(*backend, kTokens * 64), bits(*backend, std::vector<float>(kTokens * 16));  // two results in a float
  const auto gated_matmul = [&](const GatedMatmulArgs& args) { backend->gated_matmul(args); };
  const std::vector<float> no_bits(kTokens * 16);
  const GatedMatmulArgs first{gated.get(), input.data(), nullptr, kTokens, gate_up.data(), bits.data()};
  GatedMatmulArgs second = first;
  second.weight = gated2.get();
  expect_no_stale_replay<GatedMatmulArgs>(first, second, gated_matmul, bits, no_bits, "gated weight");
  second = first;
  second.tokens = 2;
  expect_no_stale_replay<GatedMatmulArgs>(first, second, gated_matmul, bits, no_bits, "tokens of a gated product");
}

// As on a driver that captures no dependent launches.
TEST_F(CudaGraphs, AreRecordedWithoutDependentLaunchesWhereThoseAreRefused) {
  if (warploom_emulator_inject == nullptr) GTEST_SKIP() << "only the emulator fails on purpose";
  constexpr std::int64_t kWidth = 64;
  const std::vector<float> x = test::random_floats(rng, 2 * kWidth);
  test::Guarded gate_up(*backend, x);
  test::Activations gated(*backend, kWidth);
  const auto swiglu = [&] { backend->swiglu({gate_up.data(), 1, kWidth, gated.data()}); };
  const auto calls = [](const char* name) { return warploom_emulator_calls(name); };
  const std::uint64_t dependent_before = calls("cudaLaunchKernelExC");
  step(swiglu);
  if (calls("cudaLaunchKernelExC") == dependent_before)
    GTEST_SKIP() << "a GPU before compute capability 9.0 has none; see CudaGeneration.On_h100";
  const std::uint64_t plain = calls("cudaLaunchKernel"), replays = calls("cudaGraphLaunch");
  warploom_emulator_inject("cudaLaunchKernelExC", 1, 400);  // cudaErrorInvalidResourceHandle
  for (int i = 0; i < 4; ++i) step(swiglu);
  warploom_emulator_inject("*", 0, 0);
  EXPECT_EQ(calls("cudaLaunchKernel") - plain, 1u);
  EXPECT_EQ(calls("cudaGraphLaunch") - replays, 4u);
  const std::uint64_t dependent = calls("cudaLaunchKernelExC");
  backend->swiglu({gate_up.data(), 1, kWidth, gated.data()});  // outside of graphs they stay
  EXPECT_EQ(calls("cudaLaunchKernelExC") - dependent, 1u);
}

TEST_F(CudaGraphs, AreReplayedForEqualSteps) {
  if (warploom_emulator_calls == nullptr) GTEST_SKIP() << "only the emulator counts calls";
  constexpr std::int64_t kWidth = 64;
  test::Guarded gate_up(*backend, test::random_floats(rng, 2 * kWidth));
  test::Activations gated(*backend, kWidth);
  const auto swiglu = [&] { backend->swiglu({gate_up.data(), 1, kWidth, gated.data()}); };
  const std::uint64_t launches = warploom_emulator_calls("cudaGraphLaunch"),
                      captures = warploom_emulator_calls("cudaGraphInstantiate");
  for (int i = 0; i < 10; ++i) step(swiglu);
  EXPECT_EQ(warploom_emulator_calls("cudaGraphLaunch") - launches, 9u);
  EXPECT_EQ(warploom_emulator_calls("cudaGraphInstantiate") - captures, 1u);
}

}  // namespace
}  // namespace warploom
