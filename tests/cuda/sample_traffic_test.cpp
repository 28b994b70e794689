// How often logits cross from DRAM and from the L2 cache, and what else moves.
#include "cuda/sample_traffic.h"

#include <gtest/gtest.h>

namespace warploom {
namespace {

class SampleTraffic : public testing::TestWithParam<std::int64_t> {};

TEST_P(SampleTraffic, LogitsCrossFromDramOnce) {
  for (const test::TrafficCase& c : test::traffic_cases(GetParam())) {
    if (c.rows > 64 && (c.peaked || c.strategy == "top-k 50")) continue;  // one block a row, as at 64: the dearest ones
    SCOPED_TRACE(testing::Message() << c.strategy << (c.peaked ? ", peaked, " : ", flat, ")
                                    << (c.type == DType::f32 ? "f32" : "bf16"));
    const auto traffic = test::measure_traffic(c);
    if (!traffic) GTEST_SKIP() << "only the emulator counts";
    EXPECT_EQ(traffic->counters.launches, 1u);
    EXPECT_LE(traffic->read(), 1.02);
    EXPECT_LE(traffic->asked(), c.strategy == "temperature" ? 2.2 : 3.5);
    EXPECT_LE(traffic->written(), 0.01);
    EXPECT_EQ(traffic->counters.lane_instructions[kWarploomLocal], 0u);
    if (c.rows == 1) {
      EXPECT_GE(traffic->counters.blocks, 64u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, SampleTraffic, testing::Values(1, 8, 64, 256), testing::PrintToStringParamName());

}  // namespace
}  // namespace warploom
