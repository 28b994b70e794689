#include "warploom/version.h"

#include <string>

#include <gtest/gtest.h>

namespace warploom {
namespace {

TEST(Version, IsThatOfTheHeaders) {
  const Version v = version();
  EXPECT_EQ(v.major, WARPLOOM_VERSION_MAJOR);
  EXPECT_EQ(v.minor, WARPLOOM_VERSION_MINOR);
  EXPECT_EQ(v.patch, WARPLOOM_VERSION_PATCH);
  EXPECT_EQ(v.text, std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch));
}

}  // namespace
}  // namespace warploom
