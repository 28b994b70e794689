// What products do when memory runs out or a call fails: an error that says so, and nothing is left behind.
#include <thread>

#include "cuda/matmul_fixture.h"

#include "emulator/emulator.h"
#include "warploom/error.h"

namespace warploom {
namespace {

using test::RandomWeight;

class CudaMatmulFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (warploom_emulator_inject == nullptr) GTEST_SKIP() << "only the emulator fails on demand";
    before_ = warploom_emulator_leaks();
  }
  void TearDown() override {
    if (warploom_emulator_inject == nullptr) return;
    warploom_emulator_inject("", 0, 0);
    warploom_emulator_clear();
    cudaGetLastError();
  }

  // Everything that there is: weights of several types, a few tokens, many, rows of the table.
  void use(bool dense) {
    const cuda::Stream stream = cuda::create_stream();
    cuda::Matmul matmul({DType::f16, dense, false}, stream.get());
    const std::vector<WeightView> parts = {a_.view, b_.view};
    const auto weight = matmul.load_weight(parts);
    const cuda::DeviceBuffer x(300 * 256 * 2, "x"), out(300 * 256 * 4, "out"), ids(4, "ids");
    test::throw_on_cuda_error(cudaMemsetAsync(x.data(), 0, x.bytes(), stream.get()));
    test::throw_on_cuda_error(cudaMemsetAsync(ids.data(), 0, ids.bytes(), stream.get()));
    MatmulArgs args;
    args.weight = weight.get();
    args.x = static_cast<const float*>(x.data());
    args.out = static_cast<float*>(out.data());
    for (const std::int64_t tokens : {3, 100, 300}) {
      args.tokens = tokens;
      matmul.run(args);
    }
    matmul.embed({weight.get(), static_cast<const TokenId*>(ids.data()), 1, static_cast<float*>(out.data())});
    test::throw_on_cuda_error(cudaStreamSynchronize(stream.get()));
  }

  // Fails the nth call for n = 1, 2, .. until there are not so many; the number of calls.
  template <typename Expected>
  int fail_each(const char* call, cudaError_t error, const char* names) {
    int n = 0;
    for (const bool dense : {false, true}) {
      for (int nth = 1;; ++nth) {
        warploom_emulator_inject(call, nth, error);
        std::string message;
        try {
          use(dense);
        } catch (const Expected& e) {
          message = e.what();
        }
        const bool struck = warploom_emulator_injections() != 0;
        EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess) << call << " " << nth;  // it was reported once
        warploom_emulator_inject("", 0, 0);
        warploom_emulator_clear();
        cudaGetLastError();
        EXPECT_EQ(std::string(warploom_emulator_leaks()), before_) << call << " " << nth;
        if (!struck) break;
        EXPECT_NE(message.find(names), std::string::npos) << call << " " << nth << ": " << message;
        ++n;
      }
    }
    return n;
  }

  std::mt19937 rng_{7};
  RandomWeight a_{rng_, WeightType::q4_k, 40, 256}, b_{rng_, WeightType::q8_0, 24, 256};
  std::string before_;
};

TEST_F(CudaMatmulFaults, MemoryThatRunsOutLeavesNothingBehind) {
  EXPECT_GE(fail_each<OutOfMemory>("cudaMalloc", cudaErrorMemoryAllocation, "cannot allocate"), 10);
  EXPECT_EQ(fail_each<OutOfMemory>("cudaHostAlloc", cudaErrorMemoryAllocation, "staging of weights: cannot allocate"), 2);
}

TEST_F(CudaMatmulFaults, AFailingCallIsNamed) {
  EXPECT_EQ(fail_each<BackendError>("cudaMemcpyAsync", cudaErrorInvalidValue, "copying weights"), 4);
  EXPECT_EQ(fail_each<BackendError>("cublasLtCreate", cudaErrorUnknown, "cublasLtCreate"), 2);
  EXPECT_EQ(fail_each<BackendError>("cublasLtMatmulAlgoGetHeuristic", cudaErrorUnknown, "cublasLtMatmulAlgoGetHeuristic"),
            4);
  EXPECT_EQ(fail_each<BackendError>("cublasLtMatmul", cudaErrorUnknown, "cublasLtMatmul"), 4);
  EXPECT_GE(fail_each<BackendError>("cudaLaunchKernel", cudaErrorInvalidConfiguration, "launching"), 3);
}

// A model loads while another thread records a step.
TEST_F(CudaMatmulFaults, LoadingStaysOutOfARecordedStep) {
  for (const bool dense : {false, true}) {
    const cuda::Stream stream = cuda::create_stream();
    cuda::Matmul matmul({DType::f16, dense, false}, stream.get());
    test::throw_on_cuda_error(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    std::string failure;
    std::thread([&] {
      try {
        matmul.load_weight({&a_.view, 1});
      } catch (const std::exception& error) {
        failure = error.what();
      }
    }).join();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaSuccess);
    const cuda::Graph owner(graph);
    std::size_t nodes = 1;
    if (graph) test::throw_on_cuda_error(cudaGraphGetNodes(graph, nullptr, &nodes));
    EXPECT_EQ(nodes, 0u);
    EXPECT_EQ(failure, "");
  }
}

// What outlives CUDA, as a model with static storage may, is not given back: libraries crash if asked to.
TEST_F(CudaMatmulFaults, NothingIsGivenBackOnceCudaIsGone) {
  const auto released = [](bool gone) {
    cuda::DeviceBuffer buffer(16, "buffer");
    void* memory = buffer.data();
    const auto before = warploom_emulator_calls("cudaFree");
    if (gone) warploom_emulator_inject("cudaGetDevice", 1, cudaErrorCudartUnloading);
    buffer = {};
    const bool freed = warploom_emulator_calls("cudaFree") != before;
    if (!freed) test::throw_on_cuda_error(cudaFree(memory));
    return freed;
  };
  EXPECT_TRUE(released(false));
  EXPECT_FALSE(released(true));
  EXPECT_EQ(warploom_emulator_injections(), 1);
}

// Once a shape was seen, its work can be captured, and replays give the same.
TEST_F(CudaMatmulFaults, WorkCanBeCapturedOnceSeen) {
  for (const bool dense : {false, true}) {
    const cuda::Stream stream = cuda::create_stream();
    cuda::Matmul matmul({DType::f16, dense, false}, stream.get());
    const std::vector<WeightView> parts = {a_.view, b_.view};
    const auto weight = matmul.load_weight(parts);
    const std::vector<TokenId> id = {63};
    for (const std::int64_t tokens : {5, 100}) {
      const auto x = test::random_inputs(rng_, static_cast<std::size_t>(tokens * 256), DType::f16);
      const test::CudaArray<std::uint16_t> in(x);
      const test::CudaArray<TokenId> ids(id);
      const test::CudaArray<float> out(static_cast<std::size_t>(tokens * 64)), row(256);
      MatmulArgs args;
      args.weight = weight.get();
      args.x = reinterpret_cast<const float*>(in.data());
      args.tokens = tokens;
      args.out = out.data();
      const auto work = [&] {
        matmul.run(args);
        matmul.embed({weight.get(), ids.data(), 1, row.data()});
      };
      work();
      const std::vector<float> want = out.read(), want_row = row.read();
      cudaGraph_t graph = nullptr;
      test::throw_on_cuda_error(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal));
      work();
      test::throw_on_cuda_error(cudaStreamEndCapture(stream.get(), &graph));
      const cuda::Graph owner(graph);
      cudaGraphExec_t replay = nullptr;
      test::throw_on_cuda_error(cudaGraphInstantiate(&replay, graph, 0));
      const cuda::GraphExec exec(replay);
      test::throw_on_cuda_error(cudaMemset(out.data(), 0, want.size() * sizeof(float)));
      test::throw_on_cuda_error(cudaMemset(row.data(), 0, want_row.size() * sizeof(float)));
      test::throw_on_cuda_error(cudaDeviceSynchronize());
      test::throw_on_cuda_error(cudaGraphLaunch(replay, stream.get()));
      EXPECT_EQ(out.read(), want);
      EXPECT_EQ(row.read(), want_row);
    }
  }
}

}  // namespace
}  // namespace warploom
