// Ctrl-C and SIGTERM, readers that leave or are slow, standard error that cannot be written.
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/sanitized.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

using test::model_path;
using test::Process;

std::vector<std::string> long_run() {
  return {WARPLOOM_PROGRAM, "generate",     "Once upon a time", "--model", model_path(), "--max-tokens",
          "6000",           "--ignore-eos", "--device",         "cpu",     "--threads",  "2"};
}

// Of processors, in seconds: after them a run on two threads has loaded its model and generates. Where nothing streams nothing else says so.
constexpr double kWellOnItsWay = test::kAddressSanitizer ? 6.0 : 2.0;

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

/// Ends a run with --json by `signal` and looks at what it keeps.
void expect_whole_json(int signal) {
  auto command = long_run();
  command.push_back("--json");
  Process process(command);
  ASSERT_TRUE(test::await_processor_time(process.pid(), kWellOnItsWay));
  kill(process.pid(), signal);
  const auto got = process.finish();
  EXPECT_EQ(got.status, 128 + signal);
  const auto json = nlohmann::json::parse(got.out);
  EXPECT_EQ(json["finish_reason"], "cancelled");
  EXPECT_EQ(json["timings"]["generated_tokens"], json["token_ids"].size());
  EXPECT_GT(json["token_ids"].size(), 0u);
}

TEST(Interrupt, JsonIsStillWhole) { expect_whole_json(SIGINT); }
TEST(Interrupt, SigtermKeepsWhatCtrlCKeeps) { expect_whole_json(SIGTERM); }

// Nothing is there to be kept, so nothing waits for the end of the load.
TEST(Interrupt, ALoadEndsAtOnce) {
  for (const int signal : {SIGINT, SIGTERM}) {
    // If the load is over when the signal comes, something is kept: then again, and sooner. Before the program has a handler the
    // signal would end it whatever it does then.
    test::Outcome got;
    for (int delay_ms = 30; delay_ms >= 0; delay_ms = delay_ms == 0 ? -1 : delay_ms / 2) {
      Process process(long_run());
      ASSERT_TRUE(test::await_handler(process.pid(), signal));
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      kill(process.pid(), signal);
      got = process.finish();
      if (got.err.empty()) break;
    }
    EXPECT_EQ(got.status, 128 + signal);
    EXPECT_EQ(got.out, "");
    EXPECT_EQ(got.err, "");
  }
}

// The kernel spares process 1 of a container what signals do by default.
TEST(Interrupt, AsProcessOne) {
  const auto inside = [](std::vector<std::string> command) {
    command.insert(command.begin(), {"/usr/bin/unshare", "--pid", "--fork", "--kill-child"});
    return command;
  };
  if (test::run_program(inside({"/bin/true"})).status != 0) GTEST_SKIP() << "no namespace of processes can be made here";
  const auto child_of = [](pid_t pid) {
    for (int i = 0; i < 500; ++i) {
      pid_t child = 0;
      const std::string path = "/proc/" + std::to_string(pid);
      if (std::ifstream(path + "/task/" + std::to_string(pid) + "/children") >> child) return child;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return pid_t{0};
  };
  for (const int signal : {SIGINT, SIGTERM}) {
    auto command = long_run();
    command.push_back("--json");
    Process busy(inside(command));
    ASSERT_GT(child_of(busy.pid()), 0);
    ASSERT_TRUE(test::await_processor_time(child_of(busy.pid()), kWellOnItsWay));
    kill(child_of(busy.pid()), signal);
    const auto kept = busy.finish();
    EXPECT_EQ(kept.status, 128 + signal);
    EXPECT_EQ(nlohmann::json::parse(kept.out)["finish_reason"], "cancelled");

    Process waiting(inside({WARPLOOM_PROGRAM, "tokenize", "-"}));  // a command that asks nobody whether to stop
    ASSERT_GT(child_of(waiting.pid()), 0);
    if (!test::shows_calls(child_of(waiting.pid()))) GTEST_SKIP() << "the system does not show what a process waits for";
    ASSERT_TRUE(test::await_reading(child_of(waiting.pid())));
    kill(child_of(waiting.pid()), signal);
    EXPECT_TRUE(waiting.await_end_of_output());
    EXPECT_EQ(waiting.finish().status, 128 + signal);
  }
}

// A pipe holds 64 KiB: most of the lines still wait when the signal comes.
TEST(Interrupt, ASlowReaderGetsEveryLine) {
  const test::TemporaryModel model(test::tiny_model());
  std::string prompts;
  for (int i = 0; i < 400; ++i) prompts += "the inner then " + std::to_string(i) + "\n";
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process({WARPLOOM_PROGRAM, "generate", "-", "--batch", "--model", model.path().string(), "--max-tokens", "32",
                     "--ignore-eos", "--json"});
    process.write(prompts);
    process.close_input();
    ASSERT_TRUE(process.wait_for_output(1));
    if (!test::shows_calls(process.pid())) GTEST_SKIP() << "the system does not show what a process waits for";
    ASSERT_TRUE(test::await_writing(process.pid()));
    kill(process.pid(), signal);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto got = process.finish();
    EXPECT_EQ(got.status, 128 + signal) << got.err;
    ASSERT_GT(got.out.size(), 150000u);
    std::istringstream lines(got.out);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_EQ(count, 400);
  }
}

TEST(Interrupt, ABatchEndsAtTheNextStep) {
  std::string prompts;
  for (int i = 0; i < 200; ++i) prompts += "Once upon a time there was a king who had " + std::to_string(i) + " daughters\n";
  Process process({WARPLOOM_PROGRAM, "generate", "-", "--batch", "--model", model_path(), "--max-tokens", "2000",
                   "--ignore-eos", "--json", "--threads", "2"});
  process.write(prompts);
  process.close_input();
  ASSERT_TRUE(test::await_processor_time(process.pid(), kWellOnItsWay));
  process.interrupt();
  const auto got = process.finish();
  EXPECT_EQ(got.status, 130);
  std::istringstream lines(got.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count)
    EXPECT_LT(nlohmann::json::parse(line)["token_ids"].size(), 400u)
        << "of 2,000; in these seconds of processors each gets some tens";
  EXPECT_EQ(count, 200);
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

TEST(StandardError, AnAnswerNeedsNone) {
  const test::TemporaryModel model(test::tiny_model());
  const std::string generate = "\"$0\" generate 'the inner' --model \"$1\" --max-tokens 8 --seed 1 --device cpu";
  const auto shell = [&](const std::string& script) {
    return test::run_program({"/bin/sh", "-c", script, WARPLOOM_PROGRAM, model.path().string()});
  };
  const auto expected = shell(generate);
  ASSERT_EQ(expected.status, 0);
  ASSERT_THAT(expected.err, testing::HasSubstr("8 generated"));
  for (const char* to : {"2>/dev/full", "2>&-", "2>/dev/null"}) {
    const auto got = shell("exec " + generate + " " + to);
    EXPECT_EQ(got.status, 0) << to;
    EXPECT_EQ(got.out, expected.out) << to;
  }
  // A reader of standard error that leaves.
  const auto got = shell("{ { " + generate + "; echo \"status $?\" >&3; } 2>&1 >&3 | true; } 3>&1");
  EXPECT_EQ(got.out, expected.out + "status 0\n");
}

TEST(StandardError, FailuresKeepTheirStatus) {
  const auto shell = [](const std::string& script) {
    return test::run_program({"/bin/sh", "-c", script, WARPLOOM_PROGRAM});
  };
  for (const char* to : {"2>/dev/full", "2>&-"}) {
    EXPECT_EQ(shell(std::string("exec \"$0\" info /nowhere ") + to).status, 1) << to;
    EXPECT_EQ(shell(std::string("exec \"$0\" dance ") + to).status, 2) << to;
    EXPECT_EQ(shell(std::string("exec \"$0\" --version >/dev/full ") + to).status, 1) << to;
  }
}

// A file that is opened must not take the place of a stream that is closed.
TEST(StandardError, ClosedStreamsStayClosed) {
  const std::string model = std::string(WARPLOOM_TEST_DATA) + "/tokenizations/gpt-2.gguf";
  const auto tokenize = [&](const std::string& text, const std::string& streams) {
    return test::run_program(
        {"/bin/sh", "-c", "exec \"$0\" tokenize " + text + " --model \"$1\" " + streams, WARPLOOM_PROGRAM, model});
  };
  const auto expected = tokenize("x", "");
  ASSERT_EQ(expected.status, 0);
  EXPECT_EQ(tokenize("x", "2>&- <&-").out, expected.out);
  const auto no_output = tokenize("x", ">&-");
  EXPECT_EQ(no_output.status, 1);
  EXPECT_THAT(no_output.err, testing::MatchesRegex("warploom: [^\n]+\n"));
  const auto no_input = tokenize("-", "<&-");
  EXPECT_EQ(no_input.status, 1);
  EXPECT_THAT(no_input.err, testing::HasSubstr("standard input"));
}

TEST(Interrupt, SigtermEndsAChat) {
  Process process({WARPLOOM_PROGRAM, "chat", "--model", model_path(), "--temperature", "0"});
  process.write("Tell me a very long story about a dragon and a lighthouse.\n");
  ASSERT_TRUE(process.wait_for_output(40));
  process.terminate();
  process.write("What is the capital of France?\n");
  const auto got = process.finish();
  EXPECT_EQ(got.status, 128 + SIGTERM);
  EXPECT_THAT(got.out, testing::Not(testing::HasSubstr("Paris")));
}

TEST(Interrupt, SigtermEndsAChatThatWaits) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process({WARPLOOM_PROGRAM, "chat", "--model", model_path()});
    if (!test::shows_calls(process.pid())) GTEST_SKIP() << "the system does not show what a process waits for";
    ASSERT_TRUE(test::await_reading(process.pid()));
    kill(process.pid(), signal);
    EXPECT_TRUE(process.await_end_of_output());
    EXPECT_EQ(process.finish().status, signal == SIGTERM ? 128 + SIGTERM : 0);
  }
}

TEST(Interrupt, ChatStopsOneAnswerOnly) {
  // So many tokens that the first answer has not ended by itself when the signal comes.
  Process process({WARPLOOM_PROGRAM, "chat", "--model", model_path(), "--temperature", "0", "--max-tokens", "6000"});
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
