#include "cli/printable.h"

#include <gtest/gtest.h>

namespace warploom::cli {
namespace {

TEST(Printable, ControlCharactersBecomeSpaces) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("a\nb\r\tc\x1b[2J\x7f" + std::string(1, '\0')), "a b  c [2J  ");
  EXPECT_EQ(printable("\xc2\x80\xc2\x9b\xc2\x9f"), "   ");
  EXPECT_EQ(printable("\xc2\xa0 naïve 北京 🙂 ~"), "\xc2\xa0 naïve 北京 🙂 ~");
  EXPECT_EQ(printable("\xc2"), "\xc2");
}

TEST(Printable, IsCutBetweenCharacters) {
  const std::string text = "aé北🙂z";  // 1, 2, 3, 4 and 1 bytes
  const std::string want[] = {"...",     "a...",    "a...",    "aé...",   "aé...",        "aé...",
                              "aé北...", "aé北...", "aé北...", "aé北...", "aé北🙂..."};
  for (std::size_t limit = 0; limit < text.size(); ++limit) EXPECT_EQ(printable(text, limit), want[limit]) << limit;
  EXPECT_EQ(printable(text, text.size()), text);
  EXPECT_EQ(printable(text, 1, " and more"), "a and more");
}

}  // namespace
}  // namespace warploom::cli
