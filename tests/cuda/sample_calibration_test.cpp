// warploom-bench --calibrate with the device's sampler. Smaller than there: the emulator draws thousands of rows a second.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "bench/calibrate/devices.h"
#include "bench/calibrate/report.h"

namespace warploom {
namespace {

TEST(DeviceSample, DrawsFollowTheirDistributions) {
  ASSERT_FALSE(calibrate::cuda_missing());
  calibrate::Plan plan;
  plan.draws = 3000;
  plan.pairs = 1500;
  // A crowd that takes 3% of the draws.
  plan.tail_draws = 1500;
  plan.tail_vocab = 2048;
  plan.tail_gap = 11.1f;
  const calibrate::Calibration result = calibrate::calibrate(calibrate::cuda_device().sampler, plan);
  EXPECT_TRUE(result.ok()) << calibrate::as_table(result, "table");
  // The very tokens that the CPU draws.
  const calibrate::Calibration on_cpu = calibrate::calibrate(calibrate::cpu_device(1).sampler, plan);
  EXPECT_EQ(calibrate::as_json(result).dump(2), calibrate::as_json(on_cpu).dump(2));
}

}  // namespace
}  // namespace warploom
