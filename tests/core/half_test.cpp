#include "core/half.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

namespace warploom {
namespace {

TEST(Half, EveryBinary16SurvivesTheRoundTrip) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const float f = half_to_float(static_cast<std::uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(f)))) << h;
    } else {
      EXPECT_EQ(float_to_half(f), h);
    }
  }
}

// _Float16 is the compiler's own arithmetic: an oracle that shares no code with ours.
TEST(Half, NarrowingRoundsAsTheCompilerDoes) {
  for (std::uint64_t bits = 0; bits < 0x100000000; bits += 997) {
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (std::isnan(f)) continue;
    const auto narrow = static_cast<_Float16>(f);
    std::uint16_t want;
    std::memcpy(&want, &narrow, sizeof want);
    ASSERT_EQ(float_to_half(f), want) << std::hexfloat << f;
  }
}

TEST(Half, Bfloat16RoundsToNearestEven) {
  EXPECT_EQ(float_to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie, even below
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // tie, even above
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x7f7fffffu)), 0x7f80);  // the largest float becomes infinity
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace warploom
