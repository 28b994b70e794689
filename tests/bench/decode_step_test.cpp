// A decode step of a whole model, timed alone.
#include "bench/decode_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "warploom/error.h"
#include "warploom/synthetic.h"

namespace warploom::bench {
namespace {

std::shared_ptr<const Model> tiny_model(std::int64_t context) {
  return synthetic_model({"llama", 600, context, 2, 64, 2, 1, 32, 64, true}, "Q8_0");
}

TEST(DecodeStep, IsTimedOnceEverySequenceDecodes) {
  const auto model = tiny_model(8192);
  const GpuMeasurement m = measure_step(model, 1000, 5, 4, {});  // the prompts take more than one step
  EXPECT_EQ(m.test, "step 5 after 1000");
  EXPECT_EQ(m.clock, GpuClock::host);
  EXPECT_EQ(m.runs.size(), 4u);
  EXPECT_THAT(m.runs, testing::Each(testing::Gt(0.0)));
  // Keys and values of 2 layers with one head of 32 in f16: 256 bytes a token.
  EXPECT_DOUBLE_EQ(m.bytes, static_cast<double>(model->weight_bytes()) + 5 * 1000 * 256.0);
}

TEST(DecodeStep, TakesWhatTheDeviceIsSaidToTake) {
  double seconds = 0;
  const GpuMeasurement m = measure_step(tiny_model(8192), 20, 3, 2, [&] { return DeviceWork{seconds += 1e-6, 1, 1}; });
  // Asked before and after each step: that of the prompts, three more to warm up, two timed.
  EXPECT_EQ(m.clock, GpuClock::model);
  EXPECT_THAT(m.runs, testing::ElementsAre(testing::DoubleNear(10, 1e-6), testing::DoubleNear(12, 1e-6)));
}

TEST(DecodeStep, ThatDoesNotFitTheContextIsRefused) {
  EXPECT_THROW(measure_step(tiny_model(64), 60, 1, 4, {}), InvalidArgument);
}

}  // namespace
}  // namespace warploom::bench
