#include "cli/text_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"
#include "warploom/error.h"

namespace warploom::cli {
namespace {

using test::TemporaryFile;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(TextInput, FilesAreReadByteForByte) {
  std::string bytes = "\r\n\n tail ";
  for (int i = 0; i < 200000; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(read_all(TemporaryFile(bytes).path()), bytes);
  EXPECT_EQ(read_all(TemporaryFile("").path()), "");
}

TEST(TextInput, LinesLoseTheirEndsAndEmptyOnes) {
  EXPECT_THAT(read_lines(TemporaryFile("one\n\n two \r\n\r\nthree").path()), ElementsAre("one", " two ", "three"));
  EXPECT_THAT(read_lines(TemporaryFile("\n\n").path()), IsEmpty());
}

TEST(TextInput, WhatCannotBeReadIsAnError) {
  EXPECT_THROW(read_all("no such file"), InvalidArgument);
  EXPECT_THROW(read_all(WARPLOOM_SOURCE_DIR), InvalidArgument);
}

}  // namespace
}  // namespace warploom::cli
