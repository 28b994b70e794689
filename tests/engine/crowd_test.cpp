// Ten thousand requests in a cache where preemption never stops.
#include "support/crowd.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "support/sanitized.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

// Sanitizers take up to a hundred times as long: WARPLOOM_CROWD=10000 asks for all of them there, too.
std::uint32_t num_requests() {
  if (const char* asked = std::getenv("WARPLOOM_CROWD")) return static_cast<std::uint32_t>(std::atoi(asked));
  return test::kThreadSanitizer ? 600 : test::kAddressSanitizer ? 1000 : 10000;
}

TEST(Crowd, EveryRequestIsWhatItIsAlone) {
  const test::TemporaryModel file(test::tiny_model({.layers = 1, .heads = 2, .kv_heads = 1}));
  const auto model = Model::load(file.path());
  EngineOptions options;
  options.kv_cache_tokens = 16 * 14;  // two sequences at their longest
  options.max_num_seqs = 24;
  options.max_num_batched_tokens = 64;
  options.max_queued_requests = 100;
  options.check_blocks = true;
  options.priority_window = 16;
  Engine engine(model, options);
  test::Crowd crowd({.max_prompt = 60, .max_tokens = 24}, 1, num_requests(), 16);
  crowd.run(engine);
  engine.drain();

  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.num_requests_waiting, 0);
  EXPECT_EQ(stats.num_requests_running, 0);
  EXPECT_EQ(stats.num_sequences_running, 0);
  EXPECT_EQ(stats.kv_cache_usage, 0.0);
  EXPECT_GT(stats.preemptions, num_requests() / 10);
  EXPECT_GT(stats.cached_prompt_tokens, num_requests() / 10);
  EXPECT_GT(crowd.refused(), 0);

  Generator alone(model, {.kv_cache_tokens = 4096, .enable_prefix_caching = false});
  auto reasons = crowd.compare_with(alone);
  for (const FinishReason reason : {FinishReason::stop_token, FinishReason::stop_string, FinishReason::length,
                                    FinishReason::cancelled, FinishReason::deadline})
    EXPECT_GT(reasons[reason], 0) << name(reason);
}

}  // namespace
}  // namespace warploom
