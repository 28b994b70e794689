// `warploom-bench serve` from end to end.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace warploom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

test::Outcome serve(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {WARPLOOM_BENCH, "serve", "--quiet"});
  return test::run_program(arguments);
}

json measured(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const auto got = serve(arguments);
  EXPECT_EQ(got.status, 0) << got.err;
  return got.status == 0 ? json::parse(got.out) : json();
}

const std::vector<std::string> kSmall = {"--requests",   "3",   "--prompt-tokens", "uniform:3:9", "--output-tokens", "4",
                                         "--ttft-limit", "1e6", "--itl-limit",     "1e6"};

std::vector<std::string> small(std::vector<std::string> more) {
  more.insert(more.begin(), kSmall.begin(), kSmall.end());
  return more;
}

TEST(BenchServe, RunsAtSeveralRates) {
  const json all = measured(small({"-m", test::model_path(), "--rate", "50,inf"}));
  ASSERT_EQ(all["results"].size(), 2u);
  EXPECT_EQ(all["results"][0]["rate"], 50.0);
  EXPECT_TRUE(all["results"][1]["rate"].is_null());
  for (const json& result : all["results"]) {
    EXPECT_EQ(result["requests"], 3);
    EXPECT_EQ(result["good"], 3);
    EXPECT_EQ(result["output_tokens"], 12);
    EXPECT_GT(result["ttft_seconds"]["p50"], 0.0);
  }
  EXPECT_EQ(all["knee"], 50.0);
  EXPECT_EQ(all["workload"]["prompt tokens"], "uniform:3:9");
}

TEST(BenchServe, TablesNeedNoFile) {
  for (const char* format : {"table", "markdown", "csv"}) {
    const auto got = serve(small({"--shape", "smollm2-135m", "--type", "Q4_0", "--rate", "100", "--format", format}));
    EXPECT_EQ(got.status, 0) << got.err;
    EXPECT_THAT(got.out, HasSubstr("smollm2-135m Q4_0, weights from seed 1")) << format;
  }
}

TEST(BenchServe, ASweepWithoutAKneeEnds) {
  const json all = measured({"-m", test::model_path(), "--requests", "2", "--prompt-tokens", "3", "--output-tokens", "2",
                             "--rate", "20000", "--sweep", "--ttft-limit", "1e-6"});
  EXPECT_EQ(all["results"].size(), 9u);
  EXPECT_TRUE(all["knee"].is_null());
}

class BenchServeTrace : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(path_) << "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
                            "5,ChatGPT,12,3,15,Conversation log\n5.2,GPT-4,20,0,20,API log\n"
                            "5.5,GPT-4,8000,1000,9000,API log\n6,GPT-4,9,4,13,API log\n";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = testing::TempDir() + "bench_serve_" + std::to_string(getpid()) + ".csv";
};

TEST_F(BenchServeTrace, IsPlayedAtItsOwnRateOrAnother) {
  const json own = measured({"-m", test::model_path(), "--trace", path_});
  EXPECT_EQ(own["results"][0]["rate"], 1.0);
  EXPECT_EQ(own["results"][0]["output_tokens"], 7);
  EXPECT_GE(own["results"][0]["seconds"], 1.0);
  EXPECT_EQ(own["workload"]["failed in the recording"], "1");
  EXPECT_EQ(own["workload"]["left out, longer than the context"], "1");
  const json slow = measured({"-m", test::model_path(), "--trace", path_, "--rate", "0.5"});
  EXPECT_EQ(slow["results"][0]["rate"], 0.5);
  EXPECT_GE(slow["results"][0]["seconds"], 2.0);
}

TEST_F(BenchServeTrace, ThatCannotBeSpacedIsRefused) {
  std::ofstream(path_) << "Timestamp,Request tokens,Response tokens\n5,12,3\n5,9,4\n";
  EXPECT_THAT(serve({"-m", test::model_path(), "--trace", path_, "--rate", "2"}).err, HasSubstr("no rate can space them"));
  EXPECT_EQ(measured({"-m", test::model_path(), "--trace", path_})["results"][0]["output_tokens"], 7);
}

TEST_F(BenchServeTrace, OfTooLongRequestsIsRefused) {
  std::ofstream(path_) << "Timestamp,Request tokens,Response tokens\n5,8000,1000\n";
  EXPECT_THAT(serve({"-m", test::model_path(), "--trace", path_}).err, HasSubstr("no request fits"));
}

TEST(BenchServe, BadInputIsAnError) {
  const std::string no_trace = WARPLOOM_SOURCE_DIR "/tests/cli/bench_serve_test.cpp";
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--trace", "nowhere.csv"},
                                                                     {"--requests", "0"},
                                                                     {"--trace-block", "16"},
                                                                     {"--trace", no_trace, "--arrivals", "constant"},
                                                                     {"--warm-up", "-1"},
                                                                     {"--modelled-gpu", "gtx"},
                                                                     {"--max-num-seqs", "many"}})
    EXPECT_EQ(serve(arguments).status, 2) << testing::PrintToString(arguments);
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--rate", "0"},
                                                                     {"--rate", "1,-2"},
                                                                     {"--rate", "nan"},
                                                                     {"--sweep", "--rate", "1,2"},
                                                                     {"--sweep", "--rate", "inf"},
                                                                     {"--arrivals", "bursty"},
                                                                     {"--prompt-tokens", "normal:1:2"},
                                                                     {"--output-tokens", "0"},
                                                                     {"--prefix-share", "1.5"},
                                                                     {"--ttft-limit", "0"},
                                                                     {"--itl-limit", "nan"},
                                                                     {"--strategy", "best"},
                                                                     {"--format", "xml"},
                                                                     {"--trace", no_trace},
                                                                     {"--max-num-seqs", "0", "-m", test::model_path()}}) {
    const auto got = serve(arguments);
    EXPECT_EQ(got.status, 1) << testing::PrintToString(arguments);
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom-bench: [^\n]+\n")) << testing::PrintToString(arguments);
  }
}

}  // namespace
}  // namespace warploom
