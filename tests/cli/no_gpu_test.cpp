// What the programs say where no GPU can be used.
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/process.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The error without the program's name.
std::string error_of(const std::string& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program);
  const auto got = test::run_program(arguments);
  EXPECT_EQ(got.status, 1) << program;
  EXPECT_EQ(got.out, "") << program;
  const std::size_t colon = got.err.find(": ");
  EXPECT_NE(colon, std::string::npos) << got.err;
  return colon == std::string::npos ? got.err : got.err.substr(colon + 2);
}

TEST(NoGpu, EveryProgramSaysWhatIsWrongAndWhatToDo) {
  if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "there is one";
  const test::TemporaryModel model(test::tiny_model());
  const std::string path = model.path().string();
  const std::string generate = error_of(WARPLOOM_PROGRAM, {"generate", "x", "--device", "cuda", "-m", path}),
                    info = error_of(WARPLOOM_PROGRAM, {"info", path, "--device", "cuda"}),
                    ops = error_of(WARPLOOM_BENCH, {"--gpu-ops", "--small"}),
                    draws = error_of(WARPLOOM_CHECK_SAMPLER, {"--device", "cuda"});
  for (const std::string& error : {generate, info, ops, draws})
    EXPECT_THAT(error, HasSubstr("Without a GPU, choose the CPU (--device cpu); tools/gpu_emulator/README.md says how"));
  EXPECT_EQ(info, generate);
  if (!std::filesystem::exists(std::filesystem::path(WARPLOOM_BENCH).parent_path() / "libwarploom_gpu_ops.so")) return;
  EXPECT_THAT(generate, StartsWith("device cuda: no GPU can be used: NVIDIA's driver "));
  EXPECT_EQ(ops, generate);
  if (!draws.starts_with("this program was built without")) EXPECT_EQ(draws, generate);
}

}  // namespace
}  // namespace warploom
