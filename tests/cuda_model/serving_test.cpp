// The Engine on the CUDA backend: a crowd in a cache that preempts all the time, and a device that fails while it serves.
#include <future>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "emulator/emulator.h"
#include "support/crowd.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

test::TinyModel tiny() { return {.layers = 1, .heads = 2, .kv_heads = 1}; }

std::shared_ptr<const Model> load(const test::TemporaryModel& file) {
  ModelOptions options;
  options.device = test::cuda_options();
  options.device.cuda.deterministic = true;
  return Model::load(file.path(), options);
}

TEST(CudaServing, EveryRequestIsWhatItIsAlone) {
  const test::TemporaryModel file(test::tiny_model(tiny()));
  const auto model = load(file);
  EngineOptions options;
  options.block_size = 8;
  options.kv_cache_tokens = 8 * 12;
  options.max_num_seqs = 16;
  options.max_num_batched_tokens = 48;
  options.check_blocks = true;
  options.priority_window = 16;
  test::Crowd crowd({.max_prompt = 24, .max_tokens = 8}, 3, 500, 8);
  {
    Engine engine(model, options);
    crowd.run(engine);
    engine.drain();
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.kv_cache_usage, 0.0);
    EXPECT_GT(stats.preemptions, 20u);
  }
  Generator alone(model, {.kv_cache_tokens = 1024, .enable_prefix_caching = false});
  auto reasons = crowd.compare_with(alone);
  EXPECT_GT(reasons[FinishReason::length], 100);
  EXPECT_GT(reasons[FinishReason::cancelled], 10);
}

TEST(CudaServing, AFailingDeviceEndsEveryRequestWithAReason) {
  if (warploom_emulator_inject == nullptr) GTEST_SKIP() << "only the emulator fails on purpose";
  const test::TemporaryModel file(test::tiny_model(tiny()));
  {
    const auto model = load(file);
    EngineOptions options;
    options.kv_cache_tokens = 1024;
    std::promise<void> planned;  // before the callback that waits for it, which ends with the engine
    Engine engine(model, options);
    std::vector<RequestHandle> handles;
    // The engine stands still at the first token until all requests are there and the failure is planned: the third launch of a graph
    // comes some ten steps later, and no request ends in fewer than 200.
    const OnToken on_token = [&planned, held = false](const TokenEvent&) mutable {
      if (!std::exchange(held, true)) planned.get_future().wait();
      return true;
    };
    for (std::uint32_t i = 0; i < 20; ++i) {
      Request request;
      request.prompt = std::vector<TokenId>{static_cast<TokenId>(i), 5, 6};
      request.max_tokens = 200;
      request.ignore_eos = true;
      handles.push_back(i == 0 ? engine.submit(request, on_token) : engine.submit(request));
    }
    warploom_emulator_inject("cudaGraphLaunch", 3, 719 /* cudaErrorLaunchFailure */);
    planned.set_value();
    for (const RequestHandle& handle : handles) {
      ASSERT_TRUE(handle.await_output(Seconds(120)));
      EXPECT_EQ(handle.output().completions[0].finish_reason, FinishReason::error);
      EXPECT_THAT(handle.output().error, testing::HasSubstr("cudaErrorLaunchFailure"));
    }
    Request late;
    late.prompt = "x";
    EXPECT_THROW(engine.submit(late), EngineStopped);
    EXPECT_TRUE(engine.drain(Seconds(10)));
  }
  warploom_emulator_inject("*", 0, 0);
  warploom_emulator_clear();
}

}  // namespace
}  // namespace warploom
