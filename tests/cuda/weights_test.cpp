// Every weight that a row can hold is the same number on the device as on the host: one that differs changes tokens so
// rarely that no sample of rows sees it.
#include "cuda/weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "core/sampling_math.h"
#include "cuda/device_sampling.h"

namespace warploom {
namespace {

// All exponents from `from` down to `to`, both negative or -0, in steps of `stride` representable numbers.
void compare(float from, float to, std::uint32_t stride) {
  constexpr std::uint32_t kBatch = 1 << 22;
  const test::DeviceArray<std::uint64_t> weights(std::vector<std::uint64_t>(kBatch, 0));
  const test::DeviceArray<float> relative(std::vector<float>(kBatch, 0.0f));
  const std::uint64_t last = std::bit_cast<std::uint32_t>(to);
  for (std::uint64_t first = std::bit_cast<std::uint32_t>(from); first <= last; first += std::uint64_t{kBatch} * stride) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(kBatch, (last - first) / stride + 1));
    test::weights_on_device(static_cast<std::uint32_t>(first), stride, count, weights.data(), relative.data());
    const auto got = weights.host();
    const auto got_relative = relative.host();
    std::vector<std::uint64_t> want(got);
    std::vector<float> want_relative(got_relative);
    for (std::uint32_t i = 0; i < count; ++i) {
      const float t = std::bit_cast<float>(static_cast<std::uint32_t>(first) + i * stride);
      want[i] = sampling::weight(t, 0.0f, 1.0f);
      want_relative[i] = sampling::relative_probability(t, 0.0f, 1.0f);
    }
    if (std::memcmp(got.data(), want.data(), count * sizeof(got[0])) == 0 &&
        std::memcmp(got_relative.data(), want_relative.data(), count * sizeof(float)) == 0)
      continue;
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(got[i], want[i]) << "t = " << std::bit_cast<float>(static_cast<std::uint32_t>(first) + i * stride);
      ASSERT_EQ(got_relative[i], want_relative[i])
          << "t = " << std::bit_cast<float>(static_cast<std::uint32_t>(first) + i * stride);
    }
  }
}

// 260 million of them: from where a weight is 2^40 by rounding to where it is 0.
TEST(DeviceWeights, AllThatChangeEqualTheHosts) { compare(-0x1p-25f, -64.0f, 1); }
TEST(DeviceWeights, TheOthersToo) {
  compare(-0.0f, -0x1p-25f, 4099);
  compare(-64.0f, -INFINITY, 67);  // relative probabilities go on to 2^-126
}
// All 2^31, in minutes on the emulator and a second on a GPU: --gtest_also_run_disabled_tests.
TEST(DeviceWeights, DISABLED_All) { compare(-0.0f, -INFINITY, 1); }

}  // namespace
}  // namespace warploom
