#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace warploom {
namespace {

using nlohmann::json;

test::Outcome worker(const std::string& input) {
  return test::run_program({WARPLOOM_BENCH, "worker", "--quiet", "-m", test::model_path()}, input);
}

std::vector<json> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<json> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST(BenchWorker, EachLineIsARunOfItsOwn) {
  const auto got = worker(R"({"prompts": [[504, 3575, 282], [504]], "new": 5, "room": 8}
{"prompts": [[504, 3575, 282]], "new": 5}
{"prompts": [[504]], "new": 1}
)");
  ASSERT_EQ(got.status, 0) << got.err;
  const std::vector<json> lines = lines_of(got.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["ready"], true);
  EXPECT_EQ(lines[0]["shape"]["vocab_size"], 49152);
  EXPECT_EQ(lines[0]["shape"]["num_kv_heads"], 3);
  ASSERT_EQ(lines[1]["tokens"].size(), 2u);
  EXPECT_EQ(lines[1]["tokens"][0].size(), 5u);
  EXPECT_EQ(lines[1]["tokens"][0], lines[2]["tokens"][0]);  // alone as in a batch
  EXPECT_EQ(lines[1]["tokens"][1][0], lines[3]["tokens"][0][0]);
  for (std::size_t i = 1; i <= 2; ++i) {
    EXPECT_GT(lines[i]["first_seconds"].get<double>(), 0.0);
    EXPECT_GT(lines[i]["rest_seconds"].get<double>(), 0.0);
    EXPECT_EQ(lines[i]["rest_tokens"], i == 1 ? 8 : 4);
  }
}

TEST(BenchWorker, ABadLineIsNamed) {
  for (const char* line :
       {"", "[]", "{", R"({"new": 1})", R"({"prompts": [], "new": 1})", R"({"prompts": [3], "new": 1})",
        R"({"prompts": [["a"]], "new": 1})", R"({"prompts": [[-1]], "new": 1})", R"({"prompts": [[4294967296]], "new": 1})",
        R"({"prompts": [[49152]], "new": 1})", R"({"prompts": [[]], "new": 1})", R"({"prompts": [[5]]})",
        R"({"prompts": [[5]], "new": -1})", R"({"prompts": [[5]], "new": 18446744073709551615})"}) {
    const auto got = worker("{\"prompts\": [[504]], \"new\": 1}\n" + std::string(line) + "\n");
    EXPECT_EQ(got.status, 1) << line;
    EXPECT_EQ(lines_of(got.out).size(), 2u) << line;
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom-bench: standard input:2: [^\n]+\n")) << line;
  }
}

}  // namespace
}  // namespace warploom
