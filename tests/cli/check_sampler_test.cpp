#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace warploom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

test::Outcome check_sampler(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {WARPLOOM_CHECK_SAMPLER, "--quiet"});
  return test::run_program(arguments);
}

TEST(CheckSampler, GivesAVerdict) {
  for (const char* format : {"table", "markdown"}) {
    const auto got = check_sampler({"--device", "cpu", "--draws", "10000", "--format", format});
    ASSERT_EQ(got.status, 0) << got.out << got.err;
    for (const char* part :
         {"cpu: ", "chi-square", "temperature 0.7", "top-k 50 + top-p 0.9", "neighbouring seeds", "ok: all"})
      EXPECT_THAT(got.out, HasSubstr(part)) << format;
    EXPECT_EQ(got.err, "");
  }
  const auto got = check_sampler({"--device", "cpu", "--threads", "1", "--draws", "20000", "--json"});
  ASSERT_EQ(got.status, 0) << got.err;
  const json all = json::parse(got.out);
  EXPECT_TRUE(all["ok"].get<bool>());
  EXPECT_EQ(all["device"].get<std::string>().substr(0, 4), "cpu:");
  EXPECT_FALSE(all["machine"]["cpu"].get<std::string>().empty());
  for (const json& test : all["tests"]) {
    EXPECT_TRUE(test["ok"].get<bool>());
    EXPECT_GE(test["p"].get<double>(), all["test_level"].get<double>());
  }
}

TEST(CheckSampler, BadInputIsAnError) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"--bogus"}, {"--draws", "9999"}, {"--threads", "-1"}, {"--format", "xml"}, {"--json", "--format", "table"}})
    EXPECT_EQ(check_sampler(arguments).status, 2) << testing::PrintToString(arguments);
  const auto got = check_sampler({"--device", "gpu"});
  EXPECT_EQ(got.status, 1);
  EXPECT_THAT(got.err, testing::MatchesRegex("warploom-check-sampler: [^\n]+\n"));
}

}  // namespace
}  // namespace warploom
