// An engine under a workload: everything that was asked for comes back and is counted.
#include "bench/serve.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/synthetic.h"

namespace warploom::bench {
namespace {

const std::shared_ptr<const Model>& tiny_model() {
  static const auto model = synthetic_model({"llama", 600, 512, 2, 64, 2, 1, 32, 64, true}, "Q8_0");
  return model;
}

std::vector<Arrival> workload(std::int64_t prefix_tokens = 0) {
  WorkloadOptions options;
  options.requests = 30;
  options.prompt = {LengthDistribution::Kind::uniform, 5, 60};
  options.output = {LengthDistribution::Kind::uniform, 1, 40};
  options.prefix_tokens = prefix_tokens;
  std::vector<Arrival> arrivals = make_workload(options);
  speed_up(arrivals, 100);
  return arrivals;
}

ServeOptions patient() {
  ServeOptions options;
  options.engine.kv_cache_tokens = 4096;
  options.limits = {1e6, 1e6};
  return options;
}

TEST(Serve, EveryTokenComesBack) {
  const std::vector<Arrival> arrivals = workload();
  std::int64_t outputs = 0, prompts = 0;
  for (const Arrival& arrival : arrivals) outputs += arrival.output_tokens, prompts += arrival.prompt_tokens();
  const ServingResult result = serve(tiny_model(), arrivals, 100, patient(), {});
  EXPECT_EQ(result.requests, 30);
  EXPECT_EQ(result.good, 30);
  EXPECT_THAT(result.failures, testing::IsEmpty());
  EXPECT_EQ(result.output_tokens, outputs);
  EXPECT_EQ(result.prompt_tokens, prompts);
  EXPECT_EQ(result.cached_prompt_tokens, 0);
  EXPECT_EQ(result.preemptions, 0);
  EXPECT_GE(result.seconds, arrivals.back().seconds);
  EXPECT_GT(result.ttft.p50, 0);
  EXPECT_GE(result.end_to_end.p50, result.ttft.p50);
  EXPECT_GT(result.itl.mean, 0);
}

TEST(Serve, TheWarmUpIsNotCountedAndLeavesNothingInTheCache) {
  ServeOptions options = patient();
  options.warm_up = 40;  // more than there are requests
  const std::vector<Arrival> arrivals = workload(160);
  std::int64_t outputs = 0;
  for (const Arrival& arrival : arrivals) outputs += arrival.output_tokens;
  const ServingResult warm = serve(tiny_model(), arrivals, 100, options, {}),
                      cold = serve(tiny_model(), arrivals, 100, patient(), {});
  EXPECT_EQ(warm.requests, 30);
  EXPECT_EQ(warm.output_tokens, outputs);
  EXPECT_LE(warm.cached_prompt_tokens, 29 * 160);  // the first of those that share the prefix computes it
  EXPECT_GT(cold.cached_prompt_tokens, 20 * 160);
}

TEST(Serve, LimitsDecideWhatIsGood) {
  ServeOptions options = patient();
  options.limits.ttft = 1e-9;
  EXPECT_EQ(serve(tiny_model(), workload(), 100, options, {}).good, 0);
}

TEST(Serve, SharedPrefixesAreFoundInTheCacheUnlessItIsOff) {
  ServeOptions options = patient();
  EXPECT_GT(serve(tiny_model(), workload(160), 100, options, {}).cached_prompt_tokens, 20 * 160);
  options.engine.enable_prefix_caching = false;
  EXPECT_EQ(serve(tiny_model(), workload(160), 100, options, {}).cached_prompt_tokens, 0);
}

TEST(Serve, ASmallCachePreemptsAndStillAnswersAll) {
  ServeOptions options = patient();
  options.engine.kv_cache_tokens = 160;
  std::vector<Arrival> arrivals = workload();
  speed_up(arrivals, std::numeric_limits<double>::infinity());
  const ServingResult result = serve(tiny_model(), arrivals, std::numeric_limits<double>::infinity(), options, {});
  EXPECT_GT(result.preemptions, 0);
  EXPECT_EQ(result.good, 30);
}

TEST(Serve, RequestsThatTheCacheCannotHoldFail) {
  ServeOptions options = patient();
  options.engine.kv_cache_tokens = 64;
  const std::vector<Arrival> arrivals = {{0, {{1, 30}}, 10}, {0, {{2, 50}}, 100}};
  const ServingResult result = serve(tiny_model(), arrivals, 1, options, {});
  EXPECT_EQ(result.good, 1);
  EXPECT_EQ(result.failures, (std::map<std::string, std::int64_t>{{"context_full", 1}}));
}

TEST(Serve, SaysHowFarItIs) {
  std::vector<Arrival> arrivals = {{0, {{1, 5}}, 2}, {1.2, {{2, 5}}, 2}};
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  const auto progress = [&](const ServeProgress& p) {
    if (!p.warming_up) seen.emplace_back(p.submitted, p.finished);
  };
  (void)serve(tiny_model(), arrivals, 1, patient(), progress);
  EXPECT_THAT(seen, testing::Contains(std::pair<std::int64_t, std::int64_t>{1, 1}));
}

}  // namespace
}  // namespace warploom::bench
