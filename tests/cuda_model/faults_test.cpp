// Faults at every call of the runtime and cuBLASLt in turn, memory that runs out, and what a step costs in calls. On the emulator
// alone.
#include <cstdio>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda_model/fixture.h"
#include "emulator/emulator.h"
#include "support/generate.h"
#include "support/stepper.h"
#include "support/tiny_model.h"

namespace warploom {
namespace {

class CudaFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (warploom_emulator_inject == nullptr) GTEST_SKIP() << "only the emulator fails on purpose";
    test::TinyModel shape;
    shape.layers = 1;
    file_ = std::make_unique<test::TemporaryModel>(test::tiny_model(shape));
    held_ = warploom_emulator_leaks();
  }
  void TearDown() override {
    if (warploom_emulator_inject == nullptr) return;
    warploom_emulator_inject("*", 0, 0);
    warploom_emulator_clear();
  }

  std::shared_ptr<const Model> load() const {
    ModelOptions options;
    options.device = test::cuda_options();
    options.device.cuda.weights = weights_;
    return Model::load(file_->path(), options);
  }
  // A copied block, recorded steps.
  static Request request() {
    Request request;
    request.max_tokens = 5;
    request.ignore_eos = true;
    request.n = 2;
    std::vector<TokenId> prompt(70);
    std::iota(prompt.begin(), prompt.end(), 1);
    request.prompt = prompt;
    return request;
  }
  // All that a program does.
  std::vector<Completion> run() const { return generate(load(), request()).completions; }

  void expect_no_leak(const std::string& when) const { ASSERT_EQ(warploom_emulator_leaks(), held_) << when; }

  std::unique_ptr<test::TemporaryModel> file_;
  std::string held_;
  CudaWeights weights_ = CudaWeights::packed;  // half: products by cuBLASLt
};

class CudaFaultsOfWeights : public CudaFaults, public testing::WithParamInterface<CudaWeights> {};
INSTANTIATE_TEST_SUITE_P(Weights, CudaFaultsOfWeights, testing::Values(CudaWeights::packed, CudaWeights::half));

TEST_P(CudaFaultsOfWeights, AtEveryCallInTurnThereIsAClearErrorAndNoLeak) {
  weights_ = GetParam();
  const auto want = run();
  expect_no_leak("after a run without faults");
  int faults = 0, refused = 0;
  for (int nth = 1;; ++nth) {
    warploom_emulator_inject("*", 0, 0);
    warploom_emulator_inject("*", nth, 719 /* cudaErrorLaunchFailure */);
    bool failed = false;
    try {
      EXPECT_EQ(run().at(0).token_ids, want.at(0).token_ids) << "call " << nth;
    } catch (const Error& error) {
      failed = true;
      EXPECT_GT(std::string(error.what()).size(), 20u) << error.what();
    }
    if (warploom_emulator_injections() == 0) break;
    ++faults;
    const std::string name = warploom_emulator_struck();
    warploom_emulator_inject("*", 0, 0);
    // Giving back may fail without consequence; then what was to be given back is all that is missing.
    if (name.find("Free") != std::string::npos || name.find("Destroy") != std::string::npos) {
      held_ = warploom_emulator_leaks();
      continue;
    }
    expect_no_leak("call " + std::to_string(nth) + ", " + name);
    // What only asks, and takes its answer where it can, may go on without. A product that is refused while a step is recorded is
    // computed without a recording.
    EXPECT_TRUE(failed || name == "cudaGetLastError" || name == "cudaGetDevice" ||
                name == "cudaGetDriverEntryPointByVersion" || name == "cublasLtMatmul")
        << "call " << nth << ", " << name;
    refused += failed;
  }
  std::printf("%d calls of the runtime and cuBLASLt, %d errors\n", faults, refused);
  EXPECT_GT(refused, 100);
}

TEST_F(CudaFaults, AFaultOfTheDeviceEndsTheModelAndNotTheProgram) {
  const auto kernels_before = warploom_emulator_calls("kernel");
  run();
  const auto kernels = static_cast<int>(warploom_emulator_calls("kernel") - kernels_before);
  ASSERT_GT(kernels, 20);
  for (int nth = 1; nth <= kernels; nth += 3) {
    warploom_emulator_inject("kernel", nth, 700 /* cudaErrorIllegalAddress */);
    EXPECT_THROW(run(), BackendError) << "kernel " << nth;
    warploom_emulator_inject("*", 0, 0);
    warploom_emulator_clear();
    expect_no_leak("after a fault of kernel " + std::to_string(nth));
  }
}

// A call that fails alone: the model goes on, as does a Generator that had it.
TEST_F(CudaFaults, ARefusalEndsTheCallAndNotTheModel) {
  weights_ = CudaWeights::half;
  const auto want = run().at(0).token_ids;
  struct Refusal {
    const char* call;
    int error;
  };
  for (const auto& [call, error] :
       {Refusal{"cudaLaunchKernel", 701 /* cudaErrorLaunchOutOfResources */},
        Refusal{"cudaLaunchKernel", 9 /* cudaErrorInvalidConfiguration */},
        Refusal{"cudaLaunchKernel", 98 /* cudaErrorInvalidDeviceFunction */},
        Refusal{"cudaMemcpyAsync", 1 /* cudaErrorInvalidValue */}, Refusal{"cudaGraphLaunch", 1},
        Refusal{"cublasLtMatmulAlgoGetHeuristic", 801}, Refusal{"cublasLtMatmul", 801},
        Refusal{"cublasLtMatmul", 1 /* CUBLAS_STATUS_EXECUTION_FAILED, while the device is well */}}) {
    SCOPED_TRACE(testing::Message() << call << ", error " << error);
    const auto model = load();
    Generator generator(model);
    warploom_emulator_inject(call, 1, error);
    EXPECT_THROW(generator.generate(request()), BackendError);
    EXPECT_EQ(warploom_emulator_injections(), 1);
    warploom_emulator_inject("*", 0, 0);
    EXPECT_EQ(generator.generate(request()).completions.at(0).token_ids, want) << "the same generator";
    EXPECT_EQ(Generator(model).generate(request()).completions.at(0).token_ids, want) << "another";
  }
}

// The step runs as it is.
TEST_F(CudaFaults, ACaptureThatIsRefusedEndsNothing) {
  const auto want = run().at(0).token_ids;
  for (const char* call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"}) {
    const auto model = load();
    Generator generator(model);
    warploom_emulator_inject(call, 1, 801 /* cudaErrorNotSupported */);
    EXPECT_EQ(generator.generate(request()).completions.at(0).token_ids, want) << call;
    EXPECT_EQ(warploom_emulator_injections(), 1) << call;
    warploom_emulator_inject("*", 0, 0);
  }
}

TEST_F(CudaFaults, AProductThatFailsWithTheDeviceEndsTheModel) {
  weights_ = CudaWeights::half;
  for (const char* asked : {"cudaStreamIsCapturing", "cudaStreamQuery"}) {
    const auto model = load();
    Generator generator(model);
    warploom_emulator_inject("cublasLtMatmul", 1, 719);
    warploom_emulator_inject(asked, 1, 719 /* cudaErrorLaunchFailure */);
    EXPECT_THROW(generator.generate(request()), BackendError) << asked;
    EXPECT_EQ(warploom_emulator_injections(), 2) << asked;
    warploom_emulator_inject("*", 0, 0);
    try {
      generator.generate(request());
      ADD_FAILURE() << asked << ": the fault was forgotten";
    } catch (const BackendError& later) {
      EXPECT_NE(std::string(later.what()).find("load the model again"), std::string::npos) << later.what();
    }
  }
}

// Those of which the runtime's documentation says that they leave the process in an inconsistent state.
TEST_F(CudaFaults, AFaultEndsTheModel) {
  for (const int error : {214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999}) {
    const auto model = load();
    Generator generator(model);
    warploom_emulator_inject("cudaLaunchKernel", 3, error);
    EXPECT_THROW(generator.generate(request()), BackendError) << error;
    warploom_emulator_inject("*", 0, 0);
    try {
      Generator(model).generate(request());
      ADD_FAILURE() << "error " << error << " was forgotten";
    } catch (const BackendError& later) {
      EXPECT_NE(std::string(later.what()).find("load the model again"), std::string::npos) << later.what();
    }
  }
}

TEST_F(CudaFaults, TooLittleMemoryIsSaidAndNothingIsLost) {
  int refused = 0;
  for (std::size_t bytes = 1 << 16; bytes < (std::size_t{400} << 20); bytes = bytes * 5 / 4) {
    warploom_emulator_limit_memory(bytes);
    try {
      EXPECT_EQ(run().size(), 2u);
    } catch (const OutOfMemory& error) {
      ++refused;
      char total[64];
      std::snprintf(total, sizeof total, " of %.1f MiB are free", static_cast<double>(bytes) / (1 << 20));
      EXPECT_THAT(error.what(), testing::HasSubstr(total));
      EXPECT_THAT(error.what(), testing::ContainsRegex("cannot allocate [0-9]+ bytes \\([0-9.]+ MiB\\) of device memory; "));
    }
    expect_no_leak("with " + std::to_string(bytes) + " bytes");
  }
  warploom_emulator_limit_memory(std::size_t{8} << 30);
  EXPECT_GT(refused, 10);
  EXPECT_EQ(run().size(), 2u);
}

// Calls of an entry point that `more` further decode steps take.
std::uint64_t calls_of_steps(const char* name, std::int64_t more, std::uint32_t layers) {
  test::TinyModel shape;
  shape.layers = layers;
  const test::TemporaryModel file(test::tiny_model(shape));
  ModelOptions options;
  options.device = test::cuda_options();
  const auto model = Model::load(file.path(), options);
  std::vector<TokenId> prompt(70);
  std::iota(prompt.begin(), prompt.end(), 1);
  const auto calls = [&](std::int64_t tokens) {
    test::Options generation;
    generation.max_tokens = tokens;
    generation.ignore_eos = true;
    generation.n = 3;
    const std::uint64_t before = warploom_emulator_calls(name);
    test::generate(model, {&prompt, 1}, generation);
    return warploom_emulator_calls(name) - before;
  };
  return calls(20 + more) - calls(20);
}

TEST(CudaStep, IsOneGraphLaunchAndOneWait) {
  if (warploom_emulator_calls == nullptr) GTEST_SKIP() << "only the emulator counts calls";
  for (const auto& [name, a_step] :
       std::initializer_list<std::pair<const char*, std::uint64_t>>{{"cudaGraphLaunch", 1},
                                                                    {"cudaStreamSynchronize", 1},
                                                                    {"cudaDeviceSynchronize", 0},
                                                                    {"cudaMalloc", 0},
                                                                    {"cudaHostAlloc", 0},
                                                                    {"cudaMemcpyAsync", 0},
                                                                    {"cudaMemcpy", 0},
                                                                    {"cudaLaunchKernel", 0},
                                                                    {"cudaGraphInstantiate", 0}})
    EXPECT_EQ(calls_of_steps(name, 4, 1), 4 * a_step) << name;
}

// Twice a norm; products for queries, keys and values, of attention's results, with the gate, down; rope, attention.
TEST(CudaStep, RunsEightKernelsALayer) {
  if (warploom_emulator_calls == nullptr) GTEST_SKIP() << "only the emulator counts calls";
  const std::uint64_t one = calls_of_steps("kernel", 4, 1), three = calls_of_steps("kernel", 4, 3);
  EXPECT_EQ(three - one, 4u * 2 * 8);
}

}  // namespace
}  // namespace warploom
