#include "engine/stop_matcher.h"

#include <random>

#include <gtest/gtest.h>

namespace warploom {
namespace {

// However the text is cut into pieces, what is shown is the text before the first stop string, and never a part of one.
TEST(StopMatcher, EveryWayOfCuttingGivesTheSame) {
  const std::vector<std::string> stops = {"END", "##", "abab"};
  for (const std::string text : {"one END two", "no stop at all", "EN EN END", "#", "a##b", "ababab", "xaba", "EEND", ""}) {
    std::size_t first = std::string::npos;
    for (const std::string& stop : stops) first = std::min(first, text.find(stop));
    const std::string want = text.substr(0, first);
    for (std::uint32_t cuts = 0; cuts < (1u << std::max<std::size_t>(text.size(), 1)) && cuts < 4096; ++cuts) {
      StopMatcher matcher(stops);
      std::string shown, piece;
      for (std::size_t i = 0; i < text.size(); ++i) {
        piece += text[i];
        if (!(cuts >> i & 1)) continue;
        shown += matcher.push(piece);
        piece.clear();
        ASSERT_EQ(shown, want.substr(0, shown.size())) << text;
      }
      shown += matcher.push(piece);
      shown += matcher.finish();
      ASSERT_EQ(shown, want) << text << " cut " << cuts;
      ASSERT_EQ(matcher.matched(), first != std::string::npos);
    }
  }
}

TEST(StopMatcher, HoldsBackNoMoreThanNeeded) {
  const std::vector<std::string> stops = {"stop"};
  StopMatcher matcher(stops);
  EXPECT_EQ(matcher.push("a st"), "a ");
  EXPECT_EQ(matcher.push("range"), "strange");
}

}  // namespace
}  // namespace warploom
