#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(CompareCommand, MeasuresEveryStrategy) {
  const auto got = test::run_warploom({"compare", "Once upon a time", "--model", test::model_path(), "-n", "8"});
  ASSERT_EQ(got.status, 0) << got.err;
  std::istringstream lines(got.out);
  std::string line;
  std::getline(lines, line);
  for (const char* column : {"same?", "dist-1", "dist-2", "rep-4", "log-prob", "tokens/s", "text"})
    EXPECT_THAT(line, HasSubstr(column));
  for (const char* name : {"greedy", "temperature 0.7", "top-k 50", "top-p 0.9", "top-k 50 + top-p 0.9", "temperature 0.2",
                           "temperature 0.5", "temperature 1.0", "temperature 1.5", "temperature 2.0"}) {
    std::getline(lines, line);
    EXPECT_THAT(line, StartsWith(name));
    std::istringstream numbers(line.substr(22));
    std::string same;
    double distinct1 = -1, distinct2 = -1, repeated4 = -1, logprob = 1, speed = -1;
    ASSERT_TRUE(numbers >> same >> distinct1 >> distinct2 >> repeated4 >> logprob >> speed) << line;
    EXPECT_EQ(same, "yes");
    for (const double share : {distinct1, distinct2}) EXPECT_TRUE(share > 0 && share <= 1) << line;
    EXPECT_TRUE(repeated4 >= 0 && repeated4 < 1) << line;
    EXPECT_LE(logprob, 0) << line;
    EXPECT_GT(speed, 0) << line;
  }
}

}  // namespace
}  // namespace warploom
