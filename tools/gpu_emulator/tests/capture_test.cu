// What a capture forbids to the calls beside it, and memory that a graph allocates.
#include <thread>

#include "emulated_device.h"

namespace {

__global__ void set_kernel(int* p, int value) { p[threadIdx.x] = value; }
__global__ void sum_kernel(const int* p, int* sum) { atomicAdd(sum, p[threadIdx.x]); }

class Capture : public testing::Test {
 protected:
  Capture() {
    EXPECT_CUDA(cudaStreamCreate(&stream));
    EXPECT_CUDA(cudaStreamCreateWithFlags(&beside, cudaStreamNonBlocking));
    EXPECT_CUDA(cudaEventCreate(&event));
  }
  ~Capture() override {
    cudaEventDestroy(event);
    cudaStreamDestroy(stream);
    cudaStreamDestroy(beside);
    cudaGetLastError();
  }
  // Ends a capture in which `call` was made, which must have answered `error`; what failed must have broken it.
  template <class F>
  void expect(cudaError_t error, cudaStreamCaptureMode mode, F call) {
    EXPECT_CUDA(cudaStreamBeginCapture(stream, mode));
    EXPECT_EQ(call(), error);
    cudaGraph_t graph;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), error == cudaSuccess ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
    if (graph != nullptr) EXPECT_CUDA(cudaGraphDestroy(graph));
    cudaGetLastError();
  }

  cudaStream_t stream, beside;
  cudaEvent_t event;
  DeviceBuffer<int> buffer{std::vector<int>(32)};
  const cudaStreamCaptureMode global = cudaStreamCaptureModeGlobal, local = cudaStreamCaptureModeThreadLocal,
                              relaxed = cudaStreamCaptureModeRelaxed;
};

TEST_F(Capture, ForbidsAllocationsByItsMode) {
  void *p = nullptr, *host = nullptr;
  auto allocate = [&] { return cudaMalloc(&p, 16); };
  expect(cudaErrorStreamCaptureUnsupported, global, allocate);
  expect(cudaErrorStreamCaptureUnsupported, local, allocate);
  expect(cudaSuccess, relaxed, allocate);
  expect(cudaErrorStreamCaptureUnsupported, global, [&] { return cudaFree(p); });
  expect(cudaErrorStreamCaptureUnsupported, global, [&] { return cudaMallocHost(&host, 16); });
  auto in_another_thread = [&] {
    cudaError_t error;
    std::thread([&] { error = cudaFree(nullptr); }).join();
    return error;
  };
  expect(cudaErrorStreamCaptureUnsupported, global, in_another_thread);
  expect(cudaSuccess, local, in_another_thread);
  expect(cudaSuccess, global, [&] {
    cudaStreamCaptureMode mode = relaxed;
    EXPECT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    EXPECT_EQ(mode, global);
    const cudaError_t error = cudaFree(p);
    EXPECT_CUDA(cudaThreadExchangeStreamCaptureMode(&mode));
    return error;
  });
}

TEST_F(Capture, ForbidsTheLegacyStreamAndQuestions) {
  int value = 0;
  expect(cudaErrorStreamCaptureImplicit, relaxed, [&] {
    set_kernel<<<1, 32>>>(buffer.data(), 1);
    return cudaGetLastError();
  });
  expect(cudaErrorStreamCaptureImplicit, relaxed,
         [&] { return cudaMemcpy(&value, buffer.data(), 4, cudaMemcpyDeviceToHost); });
  expect(cudaErrorStreamCaptureImplicit, relaxed, [&] { return cudaMemset(buffer.data(), 0, 4); });
  expect(cudaErrorStreamCaptureImplicit, relaxed, [&] { return cudaStreamSynchronize(nullptr); });
  expect(cudaErrorStreamCaptureUnsupported, relaxed, [&] { return cudaStreamQuery(stream); });
  expect(cudaErrorStreamCaptureUnsupported, relaxed, [&] { return cudaStreamSynchronize(stream); });
  expect(cudaErrorStreamCaptureUnsupported, relaxed, [&] { return cudaDeviceSynchronize(); });
  // Other streams stay free, and so does the legacy one beside a captured stream that does not block.
  expect(cudaSuccess, global, [&] {
    set_kernel<<<1, 32, 0, beside>>>(buffer.data(), 5);
    return cudaStreamSynchronize(beside);
  });
  std::swap(stream, beside);
  expect(cudaSuccess, global, [&] { return cudaMemcpy(&value, buffer.data(), 4, cudaMemcpyDeviceToHost); });
  EXPECT_EQ(value, 5);
}

TEST_F(Capture, ForbidsToAskForItsEvents) {
  auto record = [&] { EXPECT_CUDA(cudaEventRecord(event, stream)); };
  expect(cudaErrorCapturedEvent, relaxed, [&] { return record(), cudaEventSynchronize(event); });
  expect(cudaErrorCapturedEvent, relaxed, [&] { return record(), cudaEventQuery(event); });
  // A later capture is none of the event's, wherever its graph lies.
  expect(cudaSuccess, relaxed, [&] { return record(), cudaSuccess; });
  EXPECT_CUDA(cudaStreamBeginCapture(stream, relaxed));
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorCapturedEvent);
  cudaGraph_t graph;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_CUDA(cudaEventRecord(event, beside));
  EXPECT_CUDA(cudaEventSynchronize(event));
}

TEST_F(Capture, BrokenTakesNoMoreWork) {
  void* p;
  EXPECT_CUDA(cudaStreamBeginCapture(stream, global));
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
  set_kernel<<<1, 32, 0, stream>>>(buffer.data(), 1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
  cudaStreamCaptureStatus status;
  EXPECT_CUDA(cudaStreamIsCapturing(stream, &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
  cudaGraph_t graph;
  cudaError_t error = cudaSuccess;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_CUDA(cudaStreamBeginCapture(stream, global));
  std::thread([&] { error = cudaStreamEndCapture(stream, &graph); }).join();
  EXPECT_EQ(error, cudaErrorStreamCaptureWrongThread);
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(Capture, MemoryIsAllocatedWhenTheGraphRuns) {
  DeviceBuffer<int> sum{std::vector<int>(1)};
  int* p;
  EXPECT_CUDA(cudaStreamBeginCapture(stream, global));
  EXPECT_CUDA(cudaMallocAsync(&p, 32 * sizeof(int), stream));
  set_kernel<<<1, 32, 0, stream>>>(p, 3);
  sum_kernel<<<1, 32, 0, stream>>>(p, sum.data());
  EXPECT_CUDA(cudaFreeAsync(p, stream));
  cudaGraph_t graph;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 3; ++i) EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_EQ(sum.host()[0], 3 * 32 * 3);
  set_kernel<<<1, 32, 0, stream>>>(p, 3);  // between launches there is nothing
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("use after free"), std::string::npos);
  warploom_emulator_clear();
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

TEST_F(Capture, MemoryThatIsNotFreedStopsTheSecondLaunch) {
  int* p;
  EXPECT_CUDA(cudaStreamBeginCapture(stream, global));
  EXPECT_CUDA(cudaMallocAsync(&p, 32 * sizeof(int), stream));
  cudaGraph_t graph;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 2; ++i) {
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
    EXPECT_CUDA(cudaFreeAsync(p, stream));
  }
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidValue);
  EXPECT_NE(std::string(warploom_emulator_report()).find("not freed"), std::string::npos);
  warploom_emulator_clear();
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
}

}  // namespace
