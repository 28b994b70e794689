// Ctrl-C, and readers that leave.
#include <algorithm>
#include <chrono>
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace warploom {
namespace {

using test::model_path;
using test::Process;

std::vector<std::string> long_run() {
  return {WARPLOOM_PROGRAM, "generate", "Once upon a time", "--model",  model_path(),
          "--max-tokens",   "6000",     "--ignore-eos",     "--device", "cpu"};
}

TEST(Interrupt, GenerationEndsWithWhatItHad) {
  Process process(long_run());
  ASSERT_TRUE(process.wait_for_output(40));
  process.interrupt();
  const auto got = process.finish();
  EXPECT_EQ(got.status, 130);
  EXPECT_EQ(got.out.back(), '\n');
  EXPECT_LT(got.out.size(), 6000u);
  EXPECT_THAT(got.err, testing::HasSubstr("cancelled"));
}

TEST(Interrupt, JsonIsStillWhole) {
  auto command = long_run();
  command.push_back("--json");
  Process process(command);
  // Nothing streams here: time alone says that it runs.
  EXPECT_FALSE(process.wait_for_output(1, 3000));
  process.interrupt();
  const auto got = process.finish();
  EXPECT_EQ(got.status, 130);
  const auto json = nlohmann::json::parse(got.out);
  EXPECT_EQ(json["finish_reason"], "cancelled");
  EXPECT_EQ(json["timings"]["generated_tokens"], json["token_ids"].size());
}

TEST(Interrupt, ABatchEndsAtTheNextStep) {
  std::string prompts;
  for (int i = 0; i < 200; ++i) prompts += "Once upon a time there was a king who had " + std::to_string(i) + " daughters\n";
  Process process({WARPLOOM_PROGRAM, "generate", "-", "--batch", "--model", model_path(), "--max-tokens", "2000",
                   "--ignore-eos", "--json"});
  process.write(prompts);
  process.close_input();
  EXPECT_FALSE(process.wait_for_output(1, 3000));
  const auto start = std::chrono::steady_clock::now();
  process.interrupt();
  const auto got = process.finish();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(got.status, 130);
  EXPECT_EQ(std::count(got.out.begin(), got.out.end(), '\n'), 200);
}

TEST(Interrupt, AReaderThatLeavesEndsItQuietly) {
  Process process(long_run());
  ASSERT_TRUE(process.wait_for_output(10));
  process.close_output();
  const auto got = process.finish();
  EXPECT_EQ(got.status, 128 + SIGPIPE);
  EXPECT_EQ(got.err, "");
}

TEST(Interrupt, AFullDiskIsAnError) {
  const auto got = test::run_program({"/bin/sh", "-c", "exec \"$0\" tokenize x --model \"$1\" > /dev/full", WARPLOOM_PROGRAM,
                                      std::string(WARPLOOM_TEST_DATA) + "/tokenizations/gpt-2.gguf"});
  EXPECT_EQ(got.status, 1);
  EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]+\n"));
}

TEST(Interrupt, ChatStopsOneAnswerOnly) {
  Process process({WARPLOOM_PROGRAM, "chat", "--model", model_path(), "--temperature", "0"});
  process.write("Tell me a very long story about a dragon and a lighthouse.\n");
  ASSERT_TRUE(process.wait_for_output(40));
  process.interrupt();
  process.write("What is the capital of France?\n");
  const auto got = process.finish();
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_THAT(got.out, testing::HasSubstr("Paris"));
}

}  // namespace
}  // namespace warploom
