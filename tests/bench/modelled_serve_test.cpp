// Serving in modelled time: latencies follow exactly from what the steps are said to take.
#include "bench/modelled_serve.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/emulator.h"
#include "warploom/synthetic.h"

namespace warploom::bench {
namespace {

const std::shared_ptr<const Model>& tiny_model() {
  static const auto model = synthetic_model({"llama", 600, 512, 2, 64, 2, 1, 32, 64, true}, "Q8_0");
  return model;
}

ServeOptions options() {
  ServeOptions options;
  options.engine.kv_cache_tokens = 4096;
  options.engine.max_num_batched_tokens = 32;
  options.limits = {1e6, 1e6};
  return options;
}

DeviceWork quarter_second() { return {0.25, 10, 1000}; }

TEST(ModelledServe, TimesAreThoseOfTheSteps) {
  // The first: a step for its prompt, three more for the rest. The second, long after its end: two steps for its prompt.
  const std::vector<Arrival> arrivals = {{0, {{1, 20}}, 4}, {10, {{2, 50}}, 2}};
  const ServingResult result = serve_modelled(tiny_model(), arrivals, 1, options(), quarter_second, {});
  EXPECT_EQ(result.good, 2);
  EXPECT_EQ(result.output_tokens, 6);
  EXPECT_DOUBLE_EQ(result.ttft.max, 0.5);
  EXPECT_DOUBLE_EQ(result.ttft.mean, 0.375);
  EXPECT_DOUBLE_EQ(result.itl.p50, 0.25);
  EXPECT_DOUBLE_EQ(result.end_to_end.max, 1.0);
  EXPECT_DOUBLE_EQ(result.seconds, 10.75);
  ASSERT_TRUE(result.modelled);
  EXPECT_EQ(result.modelled->steps, 7);
  EXPECT_EQ(result.modelled->kernels, 70);
  EXPECT_EQ(result.modelled->bytes_moved, 7000);
  EXPECT_EQ(result.modelled->step_seconds.p99, 0.25);
}

TEST(ModelledServe, WhatArrivesInAStepJoinsTheNext) {
  const std::vector<Arrival> arrivals = {{0, {{1, 8}}, 4}, {0.3, {{2, 8}}, 2}};
  const ServingResult result = serve_modelled(tiny_model(), arrivals, 1, options(), quarter_second, {});
  EXPECT_DOUBLE_EQ(result.ttft.max, 0.75 - 0.3);
  EXPECT_DOUBLE_EQ(result.seconds, 1.0);
  EXPECT_EQ(result.modelled->steps, 4);
}

TEST(ModelledServe, RequestsThatTheCacheCannotHoldFail) {
  ServeOptions small = options();
  small.engine.kv_cache_tokens = 64;
  const std::vector<Arrival> arrivals = {{0, {{1, 30}}, 10}, {0, {{2, 50}}, 100}};
  const double at_once = std::numeric_limits<double>::infinity();
  const ServingResult result = serve_modelled(tiny_model(), arrivals, at_once, small, quarter_second, {});
  EXPECT_EQ(result.good, 1);
  EXPECT_EQ(result.failures, (std::map<std::string, std::int64_t>{{"context_full", 1}}));
}

TEST(ModelledServe, TheCacheHasRoomForAllRequestsUpToAGibibyte) {
  ModelShape shape = tiny_model()->shape();
  EngineOptions options;
  // Blocks of 16, and a spare one each.
  EXPECT_EQ(useful_cache_tokens(std::vector<Arrival>{{0, {{1, 12}}, 4}}, shape, options), 32);
  EXPECT_EQ(useful_cache_tokens(std::vector<Arrival>{{0, {{1, 12}}, 5}, {9, {{2, 1}}, 1}}, shape, options), 48 + 32);
  options.block_size = 8;
  EXPECT_EQ(useful_cache_tokens(std::vector<Arrival>{{0, {{1, 12}}, 5}}, shape, options), 32);
  // 2 layers, a head of 8192: 64 KiB a token in f16, so 16,384 of them in a gibibyte.
  shape.head_dim = 8192;
  ASSERT_EQ(shape.kv_bytes_per_token(DType::f16), 65536);
  const std::vector<Arrival> many(1000, {0, {{1, 99}}, 1});
  EXPECT_EQ(useful_cache_tokens(many, shape, options), 16384);
  EXPECT_EQ(useful_cache_tokens(std::vector<Arrival>{{0, {{1, 20000}}, 8}}, shape, options), 20016);
}

TEST(EmulatedWork, IsAbsentIfNoEmulatorWasLoaded) { EXPECT_FALSE(emulated_work("h100")); }

}  // namespace
}  // namespace warploom::bench
