// The programs as users run them, on the emulator.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// variable: NAME=VALUE of the environment.
test::Outcome run(const std::string& variable, std::vector<std::string> command) {
  command.insert(command.begin(), {"/usr/bin/env", "-u", "WARPLOOM_EMULATOR_DEVICE", variable});
  return test::run_program(command);
}

test::Outcome gpu_ops(std::vector<std::string> arguments, const std::string& variable = "NONE=") {
  arguments.insert(arguments.begin(), {WARPLOOM_BENCH, "-q", "--gpu-ops"});
  return run(variable, arguments);
}

TEST(CudaPrograms, SayWhichDeviceRuns) {
  const test::TemporaryModel model(test::tiny_model());
  const std::string path = model.path().string(), device = "cuda: A100-SXM4-80GB (emulated), ";
  const auto generate = [&](const char* how) {
    const auto got = run("NONE=", {WARPLOOM_PROGRAM, "generate", "the inner", "-n", "2", "--ignore-eos", "--device", "cuda",
                                   "-m", path, how});
    EXPECT_EQ(got.status, 0) << got.err;
    return got;
  };
  EXPECT_THAT(json::parse(generate("--json").out)["device"].get<std::string>(), HasSubstr(device));
  EXPECT_THAT(generate("--deterministic").err, HasSubstr("; " + device));
  EXPECT_THAT(run("NONE=", {WARPLOOM_PROGRAM, "info", path, "--device", "cuda"}).out, HasSubstr("\ndevice\n  " + device));
}

TEST(CudaPrograms, SayTheSameWhereNoGpuCanBeUsed) {
  const test::TemporaryModel model(test::tiny_model());
  for (const auto& [error, says] :
       {std::pair{"35", "driver is too old"}, {"100", "finds no GPU"}, {"802", "cudaErrorSystemNotReady"}}) {
    const std::string fault = std::string("WARPLOOM_EMULATOR_INJECT=cudaGetDeviceCount:1:") + error;
    const auto generate = run(fault, {WARPLOOM_PROGRAM, "generate", "x", "--device", "cuda", "-m", model.path().string()});
    const auto ops = gpu_ops({"--small"}, fault);
    EXPECT_EQ(generate.status, 1);
    EXPECT_EQ(ops.status, 1);
    EXPECT_THAT(generate.err, HasSubstr(says));
    EXPECT_EQ(ops.err, "warploom-bench" + generate.err.substr(generate.err.find(':')));
  }
}

TEST(GpuOps, RunOnTheGpuThatIsNamed) {
  const auto got = gpu_ops({"--small", "--gpu", "1"});
  EXPECT_EQ(got.status, 1);
  EXPECT_EQ(got.out, "");
  EXPECT_THAT(got.err, HasSubstr("gpu is 1; this machine has 1, counted from 0"));
}

TEST(GpuOps, TheReportNamesOneGpuAndNoRateThatIsNotKnown) {
  const std::vector<std::string> one = {"--small", "--only", "sample 1 f32 peaked greedy"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), one.begin(), one.end());
    return more;
  };
  struct Case {
    std::string variable;
    std::vector<std::string> options;
    const char *gpu, *name;
  };
  for (const Case& c :
       {Case{"NONE=", {}, "h100", "H100-SXM5"}, Case{"NONE=", {"--modelled-gpu", "rtx4090"}, "rtx4090", "RTX 4090"},
        Case{"WARPLOOM_EMULATOR_DEVICE=a100", {}, "a100", "A100-SXM4"},
        Case{"WARPLOOM_EMULATOR_DEVICE=h200", {"--modelled-gpu", "h200"}, "h200", "H200-SXM"}}) {
    auto options = with(c.options);
    options.push_back("--json");
    const auto got = gpu_ops(options, c.variable);
    ASSERT_EQ(got.status, 0) << got.err;
    const json all = json::parse(got.out);
    EXPECT_EQ(all["modelled_gpu"], c.gpu);
    EXPECT_THAT(all["device"]["name"].get<std::string>(), HasSubstr(c.name));
    EXPECT_GT(all["device"]["read_gb_per_s"], 0.0);
    EXPECT_FALSE(all["device"].contains("copy_gb_per_s"));
    ASSERT_EQ(all["measurements"].size(), 1u);
    EXPECT_EQ(all["measurements"][0]["timed"], std::string("modelled on ") + c.gpu);
  }
  const auto table = gpu_ops(one);
  EXPECT_THAT(table.out, HasSubstr("The device reads "));
  EXPECT_THAT(table.out, Not(HasSubstr("copies")));
}

// A batch that has no room costs no other one.
TEST(GpuOps, StepsThatDoNotFitAreLeftOut) {
  const auto steps = [](const char* batches) {
    return gpu_ops({"--shape", "smollm2-135m", "--type", "Q4_1", "-b", batches, "-c", "1", "--json"},
                   "WARPLOOM_EMULATOR_MEMORY=400");
  };
  const auto some = steps("1,4096");
  ASSERT_EQ(some.status, 0) << some.err;
  EXPECT_THAT(some.err, HasSubstr("-b: 4096 is left out: "));
  EXPECT_EQ(json::parse(some.out)["measurements"].size(), 1u);
  EXPECT_EQ(steps("4096").status, 1);
}

TEST(ServeOnTheEmulator, TheCacheIsNoLargerThanTheRequestsCanUse) {
  const test::TemporaryModel model(test::tiny_model());
  const auto cache = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {WARPLOOM_BENCH, "serve", "-q", "--device", "cuda", "-m", model.path().string(), "--requests",
                               "2", "--prompt-tokens", "4", "--output-tokens", "2", "--rate", "inf", "--json"});
    const auto got = run("NONE=", more);
    EXPECT_EQ(got.status, 0) << got.err;
    const json all = json::parse(got.out, nullptr, false);
    EXPECT_EQ(all["results"][0]["good"], 2);
    EXPECT_EQ(all["modelled_gpu"], "h100");
    EXPECT_THAT(all["device"].get<std::string>(), HasSubstr("H100-SXM5"));
    return all["workload"].value("KV cache", "");
  };
  EXPECT_EQ(cache({}), "64 tokens");  // a block of 16 and a spare one for each
  EXPECT_EQ(cache({"--kv-cache-tokens", "128"}), "128 tokens");
}

}  // namespace
}  // namespace warploom
