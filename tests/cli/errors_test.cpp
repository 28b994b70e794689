// Bad input gets one line on standard error, nothing on standard output, and a status: 1, or 2 if the usage is wrong.
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/invalid_logits.h"
#include "cli/process.h"
#include "support/tiny_model.h"
#include "warploom/error.h"
#include "warploom/generator.h"
#include "warploom/inspect.h"

namespace warploom {
namespace {

using test::model_path;
using test::Outcome;
using test::run_warploom;
using test::TemporaryFile;
using testing::HasSubstr;

void expect_error(const Outcome& got, int status, const std::string& says) {
  EXPECT_EQ(got.status, status);
  EXPECT_EQ(got.out, "");
  EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]+\n"));
  EXPECT_THAT(got.err, HasSubstr(says));
}

TEST(CommandErrors, Usage) {
  struct Case {
    std::vector<std::string> arguments;
    const char* says;
  };
  const std::vector<Case> cases = {{{}, "subcommand"},
                                   {{"dance"}, "\"dance\" is not a command; commands are generate, chat"},
                                   {{"generate", "x", "--bogus"}, "--bogus"},
                                   {{"generate", "x", "--temperature", "warm"}, "warm"},
                                   {{"generate", "x", "--seed", "-1"}, "--seed"},
                                   {{"compare", "x", "--seed", "-1"}, "--seed"},
                                   {{"generate", "x", "--seed", "18446744073709551616"}, "18446744073709551615"},
                                   {{"generate", "x", "--max-tokens", "9223372036854775808"}, "9223372036854775807"},
                                   {{"generate", "x", "--n", "4294967297"}, "2147483647"},
                                   {{"generate", "x", "--top-k", "1.5"}, "not a whole number"},
                                   {{"generate", "x", "--max-tokens", "0"}, "not a whole number in [1, "},
                                   {{"generate", "x", "-m", ""}, "--model"},
                                   {{"tokenize", "x", "-m", ""}, "--model"},
                                   {{"generate"}, "PROMPT"},
                                   {{"generate", "x", "-f", "y"}, "PROMPT"},
                                   {{"generate", "x", "--batch"}, "--batch"},
                                   {{"generate", "x", "--system", "y"}, "--chat"},
                                   {{"score"}, "--file is required"},
                                   {{"score", "-f", ""}, "--file is required"},
                                   {{"score", "--bogus"}, "--bogus"},
                                   {{"score", "-f", "x", "--bogus"}, "not expected: --bogus"},
                                   {{"score", "Some text"}, "\"Some text\" is not an option; the text is read from"},
                                   {{"score", "-f", "x", "y"}, "-f FILE"},
                                   {{"generate", "x", "--logprobs"}, "--logprobs goes with --json"},
                                   {{"generate", "x", "--top-logprobs", "2"}, "--top-logprobs goes with --json"},
                                   {{"generate", "x", "--prompt-logprobs"}, "--prompt-logprobs goes with --json"},
                                   {{"tokenize"}, "TEXT"},
                                   {{"detokenize"}, "IDS"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    expect_error(run_warploom(c.arguments), 2, c.says);
  }
}

TEST(CommandErrors, HelpNamesEveryOption) {
  EXPECT_EQ(run_warploom({"--help"}).status, 0);
  const auto help = run_warploom({"generate", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_EQ(help.err, "");
  for (const char* option :
       {"--model", "--device", "--max-tokens", "--temperature", "--top-k", "--top-p", "--min-p", "--seed", "--n", "--stop",
        "--chat", "--system", "--threads", "--no-kv-cache", "--json", "--quiet", "--batch", "--file"})
    EXPECT_THAT(help.out, HasSubstr(option));
}

TEST(CommandErrors, SamplingOutOfRange) {
  const std::vector<std::vector<std::string>> cases = {{"--temperature", "-1", "temperature is -1"},
                                                       {"--temperature", "nan", "temperature is nan"},
                                                       {"--top-p", "0", "top_p is 0"},
                                                       {"--top-p", "nan", "top_p is nan"},
                                                       {"--top-p", "1.01", "top_p is 1.01; it must be in (0, 1]"},
                                                       {"-p", "2", "top_p is 2; it must be in (0, 1]"},
                                                       {"--top-k", "-1", "top_k is -1"},
                                                       {"--min-p", "2", "min_p is 2"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c));
    expect_error(run_warploom({"generate", "x", c[0], c[1]}), 1, c[2]);
    expect_error(run_warploom({"chat", c[0], c[1]}), 1, c[2]);
  }
}

TEST(CommandErrors, ModelThatIsNone) {
  const TemporaryFile junk("these are no weights"), truncated(std::string("GGUF\x03\0\0\0", 8));
  const std::string folder = WARPLOOM_SOURCE_DIR;
  for (const std::string& path : {std::string("no such model"), folder, junk.path(), truncated.path()}) {
    SCOPED_TRACE(path);
    expect_error(run_warploom({"generate", "x", "-m", path}), 1, path);
    expect_error(run_warploom({"chat", "-m", path}), 1, path);
    expect_error(run_warploom({"tokenize", "x", "-m", path}), 1, path);
    expect_error(run_warploom({"info", path}), 1, path);
    expect_error(run_warploom({"compare", "x", "-m", path}), 1, path);
    expect_error(run_warploom({"score", "-f", junk.path(), "-m", path}), 1, path);
  }
}

// The program looks under models/ of the current folder, then of the tree that holds it: a copy elsewhere has neither.
TEST(CommandErrors, NoModelNamesTheScriptThatFetchesOne) {
  const std::string folder = TemporaryFile("").path() + ".d";
  std::filesystem::create_directories(folder + "/build/release/bin");
  const std::string copy = folder + "/build/release/bin/warploom";
  std::filesystem::copy_file(WARPLOOM_PROGRAM, copy);
  expect_error(test::run_program({"/usr/bin/env", "-C", folder, copy, "generate", "x"}), 1, "scripts/demo");
  std::filesystem::create_directories(folder + "/models");
  std::filesystem::copy_file(std::string(WARPLOOM_TEST_DATA) + "/tokenizations/gpt-2.gguf", folder + "/models/one.gguf");
  EXPECT_EQ(test::run_program({"/usr/bin/env", "-C", "/", copy, "tokenize", "x"}).status, 0);
  std::filesystem::copy_file(folder + "/models/one.gguf", folder + "/models/two.gguf");
  expect_error(test::run_program({"/usr/bin/env", "-C", "/", copy, "tokenize", "x"}), 1, "--model");
  std::filesystem::remove_all(folder);
}

// A pipe that nobody writes to must not be waited for.
TEST(CommandErrors, APipeOrADeviceIsNoModel) {
  const std::string pipe = TemporaryFile("").path() + ".pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")}) {
    expect_error(run_warploom({"info", path}), 1, "is not a regular file");
    expect_error(run_warploom({"generate", "x", "-m", path}), 1, "is not a regular file");
  }
  std::filesystem::remove(pipe);
}

TEST(CommandErrors, AFullDiskIsSeen) {
  const std::string model = std::string(WARPLOOM_TEST_DATA) + "/tokenizations/gpt-2.gguf";
  const std::vector<std::string> commands = {
      std::string(WARPLOOM_PROGRAM) + " --help", std::string(WARPLOOM_PROGRAM) + " --version",
      std::string(WARPLOOM_PROGRAM) + " generate --help", std::string(WARPLOOM_PROGRAM) + " info " + model};
  for (const std::string& command : commands) {
    const auto got = test::run_program({"/bin/sh", "-c", command + " > /dev/full"});
    EXPECT_EQ(got.status, 1) << command;
    EXPECT_THAT(got.err, testing::MatchesRegex("warploom: [^\n]+\n")) << command;
  }
}

std::vector<std::vector<std::string>> commands_that_run(const std::string& model, const std::string& text) {
  return {{"score", "-f", text, "-m", model},
          {"compare", "the inner", "-n", "4", "-m", model},
          {"generate", "the inner", "-q", "-m", model},
          {"chat", "-q", "-m", model}};
}

TEST(CommandErrors, WeightsThatAreNotNumbers) {
  test::TinyModel shape;
  shape.type = WeightType::f32;
  std::string bytes = test::tiny_model(shape);
  const float nan = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - 64, &nan, sizeof nan);
  const test::TemporaryModel model(bytes);
  const TemporaryFile text("the inner then");
  for (const auto& command : commands_that_run(model.path().string(), text.path()))
    expect_error(run_warploom(command, "the inner\n"), 1, "\"blk.1.ffn_down.weight\" holds weights that are not numbers");
}

/// A tiny model whose weights in `tensor` are larger by a factor.
std::string enlarged(const std::string& tensor, float factor) {
  test::TinyModel shape;
  shape.type = WeightType::f32;
  std::string bytes = test::tiny_model(shape);
  const test::TemporaryModel file(bytes);
  for (const CheckpointTensor& found : inspect(file.path()).tensors) {
    if (found.name != tensor) continue;
    for (std::uint64_t at = found.offset; at < found.offset + found.bytes; at += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      value *= factor;
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
  }
  return bytes;
}

TEST(CommandErrors, KeysThatAreTooLargeForTheCacheSayWhatHoldsThem) {
  const test::TemporaryModel model(enlarged("blk.0.attn_k.weight", 1e6f));
  const TemporaryFile text("the inner then");
  for (const auto& command : commands_that_run(model.path().string(), text.path())) {
    {
      const auto got = run_warploom(command, "the inner\n");
      EXPECT_EQ(got.status, 1) << command[0];
      EXPECT_THAT(got.err, HasSubstr("keys or values are too large for a KV cache of f16; --kv-type f32 holds them"))
          << command[0];
    }
    auto wide = command;
    wide.insert(wide.end(), {"--kv-type", "f32", "--device", "cpu"});
    EXPECT_EQ(run_warploom(wide, "the inner\n").status, 0) << command[0];
  }
}

TEST(CommandErrors, ActivationsThatOverflow) {
  const test::TemporaryModel model(enlarged("output_norm.weight", 2e38f));
  const TemporaryFile text("the inner then");
  for (const auto& command : commands_that_run(model.path().string(), text.path())) {
    const auto got = run_warploom(command, "the inner\n");
    EXPECT_EQ(got.status, 1) << command[0];
    EXPECT_THAT(got.err, HasSubstr("activations overflow: its logits are not numbers")) << command[0];
  }
}

TEST(CommandErrors, PenaltiesThatAreTooStrongAreToBlame) {
  const test::TemporaryModel model(test::tiny_model());
  struct Case {
    std::vector<std::string> options;
    const char* says;
  };
  for (const Case& c :
       {Case{{"--repetition-penalty", "1e-45"}, "repetition penalty 1e-45: too strong"},
        Case{{"--frequency-penalty", "-3e38"}, "frequency penalty -3e+38: too strong"},
        Case{{"--presence-penalty=-3.4e38", "--repetition-penalty=1e-40"}, " and presence penalty -3.4e+38: too"}}) {
    std::vector<std::string> command = {"generate", "the inner inner", "-q", "-m", model.path().string()};
    command.insert(command.end(), c.options.begin(), c.options.end());
    const auto got = run_warploom(command);
    EXPECT_EQ(got.status, 1);
    EXPECT_THAT(got.err, HasSubstr(c.says));
  }
}

TEST(CommandErrors, WhatLeavesNoTokenIsNamed) {
  const test::TemporaryModel model(test::tiny_model());
  struct Case {
    std::vector<std::string> options;
    const char* says;
  };
  for (const Case& c :
       {Case{{"--stop-token", "65", "--allow-token", "65", "--min-tokens", "3", "--frequency-penalty", "0.1"},
             "none may before --min-tokens 3"},
        Case{{"--logit-bias", "5:inf"}, "the bias of token 5 is inf"},
        Case{{"--logit-bias", "5:nan"}, "the bias of token 5 is nan"},
        Case{{"--allow-token", "65", "--ban-token", "65", "--presence-penalty", "0.1"}, "leave no token"}}) {
    std::vector<std::string> command = {"generate", "the inner inner", "-q", "-n", "5", "-m", model.path().string()};
    command.insert(command.end(), c.options.begin(), c.options.end());
    const auto got = run_warploom(command);
    EXPECT_EQ(got.status, 1);
    EXPECT_THAT(got.err, HasSubstr(c.says));
  }
}

TEST(CommandErrors, OfABatchNameThePrompt) {
  const test::TemporaryModel model(test::tiny_model());
  const auto got = run_warploom(
      {"generate", "-", "--batch", "-q", "-n", "5", "--allow-token", "65", "--ban-token", "65", "-m", model.path().string()},
      "one\ntwo\n");
  EXPECT_EQ(got.status, 1);
  for (const char* prompt : {"prompt 0: the logit biases", "prompt 1: the logit biases"})
    EXPECT_THAT(got.err, HasSubstr(prompt));
}

TEST(CommandErrors, ACacheThatIsTooSmallIsAFailure) {
  const test::TemporaryModel file(test::tiny_model());
  const auto model = Model::load(file.path());
  Request request;
  request.prompt = std::vector<TokenId>(100, 7);
  EngineOptions small;
  small.kv_cache_tokens = 32;
  const RequestOutput output = generate(model, request, small);
  try {
    cli::fail_by_cause(model, request, small, output);
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), HasSubstr("the KV cache of 32 tokens cannot hold a sequence of 100"));
  }
}

TEST(CommandErrors, Prompts) {
  const std::string model = model_path();
  expect_error(run_warploom({"generate", "", "-m", model}), 1, "empty");
  expect_error(run_warploom({"generate", "-", "-m", model}, ""), 1, "empty");
  expect_error(run_warploom({"generate", "-f", "no such file", "-m", model}), 1, "no such file");
  expect_error(run_warploom({"score", "-f", "no such file", "-m", model}), 1, "no such file");
  expect_error(run_warploom({"generate", "-", "--batch", "-m", model}, "\n\n"), 1, "prompt");
  std::string text;
  for (int i = 0; i < 9000; ++i) text += " word";
  expect_error(run_warploom({"generate", "-", "-m", model}, text), 1, "8192");
}

TEST(CommandErrors, Options) {
  const std::string model = model_path();
  const std::vector<std::vector<std::string>> cases = {{"--n", "0", "n is 0"},
                                                       {"--stop", "", "stop string"},
                                                       {"--threads", "-1", "threads: -1"},
                                                       {"--device", "tpu", "\"tpu\""},
                                                       {"--isa", "sse9", "\"sse9\""},
                                                       {"--kv-type", "f8", "\"f8\""},
                                                       {"--weights", "thin", "\"thin\""},
                                                       {"--compute-type", "f32", "\"f32\""}};
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c));
    expect_error(run_warploom({"generate", "x", "-m", model, c[0], c[1]}), 1, c[2]);
  }
  expect_error(run_warploom({"generate", "x", "-m", model, "--kv-block", "0"}), 1, "block_size is 0");
  // What only CUDA has.
  expect_error(run_warploom({"generate", "x", "-m", model, "--device", "cpu", "--kv-block", "8"}), 1,
               "on the CPU it must be 16");
  expect_error(run_warploom({"generate", "x", "-m", model, "--round-attention"}), 1, "round_attention is true");
}

}  // namespace
}  // namespace warploom
