// warploom-check-sampler with the device's sampler. Smaller than there: the emulator draws thousands of rows a second.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/sampler_check/devices.h"
#include "tools/sampler_check/report.h"

namespace warploom {
namespace {

TEST(DeviceSample, DrawsFollowTheirDistributions) {
  ASSERT_FALSE(sampler_check::cuda_missing());
  sampler_check::Plan plan;
  plan.draws = 3000;
  plan.pairs = 1500;
  // A crowd that takes 3% of the draws.
  plan.tail_draws = 1500;
  plan.tail_vocab = 2048;
  plan.tail_gap = 11.1f;
  const sampler_check::SamplerCheck result = sampler_check::check_sampler(sampler_check::cuda_device().sampler, plan);
  EXPECT_TRUE(result.ok()) << sampler_check::as_table(result, "table");
  // The very tokens that the CPU draws.
  const sampler_check::SamplerCheck on_cpu = sampler_check::check_sampler(sampler_check::cpu_device(1).sampler, plan);
  EXPECT_EQ(sampler_check::as_json(result).dump(2), sampler_check::as_json(on_cpu).dump(2));
}

}  // namespace
}  // namespace warploom
