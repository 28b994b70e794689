#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace warploom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

test::Outcome bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {WARPLOOM_BENCH, "--quiet"});
  return test::run_program(arguments);
}

TEST(Bench, JsonDescribesTheMachineAndEveryRun) {
  const auto got =
      bench({"-m", test::model_path(), "-p", "8", "-n", "4", "-b", "1,2", "-r", "3", "--no-kv-cache", "--format", "json"});
  ASSERT_EQ(got.status, 0) << got.err;
  const json all = json::parse(got.out);
  EXPECT_FALSE(all["machine"]["cpu"].get<std::string>().empty());
  EXPECT_GE(all["machine"]["cores"].get<int>(), 1);
  EXPECT_THAT(all["device"].get<std::string>(), HasSubstr("threads"));
  ASSERT_EQ(all["measurements"].size(), 4u);  // the prompt; two batch sizes; one without the cache
  for (const json& m : all["measurements"]) {
    EXPECT_GT(m["min"].get<double>(), 0.0);
    EXPECT_LE(m["min"].get<double>(), m["median"].get<double>());
    EXPECT_LE(m["median"].get<double>(), m["max"].get<double>());
  }
  for (const std::size_t generation : {1, 2}) {
    const double share = all["measurements"][generation]["sampling_share"].get<double>();
    EXPECT_TRUE(share > 0 && share < 1) << share;
  }
}

TEST(Bench, OpsStandBesideTheMachinesCeilings) {
  const auto got = bench({"--ops", "-r", "1", "--threads", "2", "--working-set", "16", "--json"});
  ASSERT_EQ(got.status, 0) << got.err;
  const json all = json::parse(got.out);
  EXPECT_EQ(all["ops"].size(),
            4u * 4 + 3 * 6);  // products of types whose blocks divide 576, and attention over three types of caches
  for (const json& op : all["ops"]) {
    EXPECT_GT(op["seconds"].get<double>(), 0.0) << op;
    EXPECT_GT(op["share"].get<double>(), 0.0) << op;
    EXPECT_LT(op["share"].get<double>(), 3.0) << op;
  }
  EXPECT_THAT(bench({"--ops", "--shape", "gpt-9"}).err, HasSubstr("gpt-9"));
  EXPECT_THAT(bench({"--ops", "--working-set", "0"}).err, HasSubstr("--working-set"));
}

TEST(Bench, ShapesNeedNoFile) {
  const auto run = [](const char* seed) {
    const auto got = bench({"--shape", "smollm2-135m", "--type", "Q4_K_M", "--seed", seed, "-p", "4", "-n", "3", "-b", "2",
                            "-r", "1", "--json"});
    EXPECT_EQ(got.status, 0) << got.err;
    return json::parse(got.out);
  };
  const json all = run("7");
  EXPECT_EQ(all["model"], "smollm2-135m Q4_K_M, weights from seed 7");
  ASSERT_EQ(all["measurements"].size(), 2u);
  EXPECT_EQ(all["measurements"][1]["batch"], 2);
  EXPECT_EQ(all["measurements"][1]["length"], 3);
  EXPECT_EQ(all["measurements"][1]["prompt"], 32);
  EXPECT_GT(all["measurements"][1]["median"], 0.0);
}

// Every row has the columns of the first line; text is quoted.
TEST(Bench, CsvIsOneTable) {
  const auto got = bench({"--sampler", "--rows", "1", "--vocab", "100", "-r", "1", "--format", "csv"});
  ASSERT_EQ(got.status, 0) << got.err;
  std::istringstream lines(got.out);
  std::string line;
  int rows = 0;
  for (; std::getline(lines, line); ++rows) {
    bool quoted = false;
    int commas = 0;
    for (const char c : line) quoted ^= c == '"', commas += c == ',' && !quoted;
    EXPECT_EQ(commas, 13) << line;
  }
  EXPECT_EQ(rows, 7);  // the names and six strategies
  EXPECT_THAT(got.out, HasSubstr(",\"sample top-k 50, 1 row of 100\",us/row,,,1,"));
}

TEST(Bench, TheSamplerNeedsNoModel) {
  for (const char* format : {"table", "markdown", "json", "csv"}) {
    const auto got = bench({"--sampler", "--rows", "1,3", "--vocab", "100,1000", "-r", "2", "--format", format});
    ASSERT_EQ(got.status, 0) << got.err;
    for (const char* part : {"1 row of 100", "3 rows of 1000", "greedy", "top-k 50 + top-p 0.9", "min", "median", "max"})
      EXPECT_THAT(got.out, HasSubstr(part)) << format;
  }
}

// A file of two rows in which one and three tokens hold all the mass.
class BenchLogits : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<float> rows(200, -50.0f);
    for (const std::size_t heavy : {7, 100, 150, 199}) rows[heavy] = 0.0f;
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(rows.data()), 800);
  }
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = testing::TempDir() + "bench_logits_" + std::to_string(getpid()) + ".f32";
};

TEST_F(BenchLogits, AreSampledInTurns) {
  for (const char* rows : {"1", "2"}) {
    const auto got =
        bench({"--sampler", "--logits", path_, "--rows", rows, "--vocab", "100", "-r", "1", "--format", "json"});
    ASSERT_EQ(got.status, 0) << got.err;
    const json all = json::parse(got.out);
    std::map<std::string, double> num_kept;
    for (const json& m : all["measurements"]) num_kept[m["test"]] = m["num_kept"].get<double>();
    const std::string end = rows == std::string("1") ? ", 1 row of 100" : ", 2 rows of 100";
    EXPECT_EQ(num_kept.at("sample greedy" + end), 1.0);
    EXPECT_EQ(num_kept.at("sample top-k 50" + end), (1.0 + 3.0) / 2);  // the others weigh nothing
    EXPECT_EQ(num_kept.at("sample top-p 0.9" + end), (1.0 + 3.0) / 2);
  }
}

TEST_F(BenchLogits, MustBeWholeRows) {
  for (const char* vocab_size : {"99", "400"}) {
    const auto got = bench({"--sampler", "--logits", path_, "--rows", "1", "--vocab", vocab_size});
    EXPECT_EQ(got.status, 1);
    EXPECT_THAT(got.err, HasSubstr("800 bytes"));
  }
  EXPECT_NE(bench({"--sampler", "--logits", path_ + ".none", "--rows", "1", "--vocab", "100"}).status, 0);
}

TEST(Bench, LengthsBeyondTheContextAreRefusedBeforeAnythingIsMeasured) {
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"-p", "8192"}, {"-n", "8192"}, {"-c", "8190", "-n", "16"}}) {
    auto all = arguments;
    all.insert(all.end(), {"-m", test::model_path()});
    const auto got = bench(all);
    EXPECT_EQ(got.status, 1);
    EXPECT_EQ(got.out, "");
    EXPECT_THAT(got.err, HasSubstr("context of 8192"));
  }
}

// Where there is no GPU, as where there is one.
TEST(Bench, OpsOfAGpuAreListedByName) {
  const auto lines = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"--gpu-ops", "--list"});
    const auto got = bench(more);
    EXPECT_EQ(got.status, 0) << got.err;
    std::vector<std::string> all;
    std::istringstream text(got.out);
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
  };
  const auto all = lines({});
  EXPECT_EQ(all.size(), 3u * 2 * 5 * 6 + 3 * 20 + 3 * 3 * 12);  // sample, attention, product
  EXPECT_THAT(all, testing::IsSupersetOf({"sample 64 f32 peaked top-k 50", "attention decode 1 x 32768 f16",
                                          "attention prompt 512 beside 64 decodes x 1024 bf16 rounded",
                                          "product Q4_0 deterministic 28672x4096 65 tokens"}));
  EXPECT_THAT(lines({"--small", "--only", "256x256 16 tokens,sample 1 bf16 flat greedy"}),
              testing::ElementsAre("sample 1 bf16 flat greedy", "product Q4_0 256x256 16 tokens",
                                   "product Q4_0 deterministic 256x256 16 tokens", "product F16 256x256 16 tokens"));
}

// Before the GPU is looked for, of which nothing is said.
TEST(Bench, WhatGpuOpsCannotTakeIsRefused) {
  struct Case {
    std::vector<std::string> arguments;
    int status;
    std::string says;
  };
  for (const Case& c :
       {Case{{"--device", "cpu"}, 1, "--device cpu"},
        {{"--device", "tpu"}, 1, "\"tpu\""},
        {{"-b", "4"}, 1, "--batch: --gpu-ops takes it for the decode steps of a shape: give --shape"},
        {{"-c", "4"}, 1, "--context: --gpu-ops takes it for the decode steps of a shape: give --shape"},
        {{"--only", "sample,atention"},
         1,
         "no test has \"atention\" in its name; names begin with sample, attention decode, attention verify, "
         "attention prefill, attention prompt, attention, product"},
        {{"--modelled-gpu", "gtx"}, 2, "\"gtx\" is not one of a100, h100, h200, rtx4090, rtx5090"},
        {{"-p", "4"}, 2, "--gpu-ops"},
        {{"-m", "x.gguf"}, 2, "--gpu-ops"},
        {{"--kv-type", "f32"}, 2, "--gpu-ops"},
        {{"--sampler"}, 2, "--gpu-ops"},
        {{"--shape", "smollm2-135m", "--only", "step"}, 2, "--shape"}}) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    auto arguments = c.arguments;
    arguments.insert(arguments.begin(), "--gpu-ops");
    const auto got = bench(arguments);
    EXPECT_EQ(got.status, c.status);
    EXPECT_EQ(got.out, "");
    EXPECT_THAT(got.err, HasSubstr(c.says));
  }
  EXPECT_EQ(bench({"--only", "sample"}).status, 2);  // belongs to --gpu-ops
  const auto two = test::run_program(
      {"/usr/bin/env", "WARPLOOM_EMULATOR_DEVICE=a100", WARPLOOM_BENCH, "--gpu-ops", "--modelled-gpu", "h100"});
  EXPECT_EQ(two.status, 1);
  EXPECT_THAT(two.err, HasSubstr("WARPLOOM_EMULATOR_DEVICE is a100; the emulator models the GPU that it passes for"));
  const auto none = test::run_program({"/usr/bin/env", "WARPLOOM_EMULATOR_DEVICE=v100", WARPLOOM_BENCH, "--gpu-ops"});
  EXPECT_THAT(none.err, HasSubstr("WARPLOOM_EMULATOR_DEVICE: \"v100\" is not one of a100,"));
}

TEST(Bench, AFullDiskIsSeen) {
  for (const std::string arguments : {" --help", " --quiet --sampler --rows 1 --vocab 10 -r 1"}) {
    const auto got = test::run_program({"/bin/sh", "-c", WARPLOOM_BENCH + arguments + " > /dev/full"});
    EXPECT_EQ(got.status, 1) << arguments;
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom-bench: [^\n]+\n")) << arguments;
  }
}

TEST(Bench, BadInputIsAnError) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--bogus"},
                                                                     {"--json", "--format", "table"},
                                                                     {"--shape", "smollm2-135m", "-m", "x.gguf"},
                                                                     {"--type", "Q4_0"},
                                                                     {"--shape", "smollm2-135m", "--seed", "-1"}})
    EXPECT_EQ(bench(arguments).status, 2) << testing::PrintToString(arguments);
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"-p", "0"},
                                                                     {"-n", "1", "-m", test::model_path()},
                                                                     {"-b", "-1"},
                                                                     {"-b", "1,4097", "-m", test::model_path()},
                                                                     {"--strategy", "best", "-m", test::model_path()},
                                                                     {"-r", "0"},
                                                                     {"--shape", "nothing-1b"},
                                                                     {"--shape", "smollm2-135m", "--type", "Q9"},
                                                                     {"--format", "xml"},
                                                                     {"--sampler", "--vocab", "0"}}) {
    const auto got = bench(arguments);
    EXPECT_EQ(got.status, 1) << testing::PrintToString(arguments);
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom-bench: [^\n]+\n"));
  }
}

}  // namespace
}  // namespace warploom
