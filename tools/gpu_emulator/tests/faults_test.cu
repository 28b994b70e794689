// Leaks, device memory that runs out, faults on purpose, kernels that spin for ever: each caught, and a clean twin that
// passes.
#include "emulated_device.h"

namespace {

__global__ void increment_kernel(int* p) { ++p[threadIdx.x]; }

// ---- Leaks

TEST(Leaks, WhatIsMadeIsListedUntilItIsGivenBack) {
  EXPECT_STREQ(warploom_emulator_leaks(), "");
  void *device, *async, *pinned;
  cudaStream_t stream;
  cudaEvent_t event;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  EXPECT_CUDA(cudaMalloc(&device, 123));
  EXPECT_CUDA(cudaMallocAsync(&async, 45, stream));
  EXPECT_CUDA(cudaMallocHost(&pinned, 67));
  EXPECT_CUDA(cudaEventCreate(&event));
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_CUDA(cudaMemsetAsync(device, 0, 123, stream));
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  const std::string all = warploom_emulator_leaks();
  for (const char* part :
       {"device memory no. 1, 123 bytes, made by emulator_faults_test+0x", "device memory no. 2, 45 bytes",
        "pinned memory no. 1, 67 bytes", "stream no. 1", "event no. 1", "graph no. 1", "executable graph no. 1"})
    EXPECT_NE(all.find(part), std::string::npos) << part << " in\n" << all;
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_CUDA(cudaEventDestroy(event));
  EXPECT_CUDA(cudaFreeHost(pinned));
  EXPECT_CUDA(cudaFreeAsync(async, stream));
  EXPECT_CUDA(cudaFree(device));
  EXPECT_NE(warploom_emulator_leaks(), std::string());
  EXPECT_CUDA(cudaStreamDestroy(stream));
  EXPECT_STREQ(warploom_emulator_leaks(), "");
}

// ---- Memory that runs out

TEST(Limit, MemoryRunsOutAndComesBack) {
  size_t free_before, free, total;
  EXPECT_CUDA(cudaMemGetInfo(&free_before, &total));
  const size_t used = total - free_before, limit = used + (1 << 20);
  warploom_emulator_limit_memory(limit);
  EXPECT_CUDA(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(total, limit);
  EXPECT_EQ(free, size_t{1} << 20);
  void *a, *b;
  EXPECT_EQ(cudaMalloc(&b, (1 << 20) + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaGetLastError());  // it does not stick
  EXPECT_CUDA(cudaMalloc(&a, 1 << 20));
  EXPECT_EQ(cudaMalloc(&b, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMallocAsync(&b, 1, nullptr), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaFree(a));
  EXPECT_CUDA(cudaMalloc(&b, 1));
  EXPECT_CUDA(cudaFree(b));
  cudaGetLastError();
  warploom_emulator_limit_memory(size_t{8} << 30);
}

// ---- Faults on purpose

TEST(Injection, TheNthCallOfAnEntryPointFails) {
  warploom_emulator_inject("cudaMalloc", 3, cudaErrorMemoryAllocation);
  void* p[4] = {};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(cudaMalloc(&p[i], 16), i == 2 ? cudaErrorMemoryAllocation : cudaSuccess) << i;
  EXPECT_EQ(warploom_emulator_injections(), 1);
  for (void* q : p) EXPECT_CUDA(cudaFree(q));
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
}

TEST(Injection, ALaunchThatFailsAtOnceDoesNotRun) {
  DeviceBuffer<int> p{std::vector<int>(32, 5)};
  warploom_emulator_inject("cudaLaunchKernel", 1, cudaErrorLaunchOutOfResources);
  increment_kernel<<<1, 32>>>(p.data());
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchOutOfResources);
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_EQ(p.host(), std::vector<int>(32, 5));
}

TEST(Injection, AKernelThatFailsIsToldByLaterCallsAndSticks) {
  DeviceBuffer<int> p{std::vector<int>(32, 5)};
  warploom_emulator_inject("kernel", 2, cudaErrorLaunchFailure);
  increment_kernel<<<1, 32>>>(p.data());
  EXPECT_CUDA(cudaDeviceSynchronize());
  increment_kernel<<<1, 32>>>(p.data());
  EXPECT_CUDA(cudaGetLastError());  // not known yet
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  void* q;
  EXPECT_EQ(cudaMemcpy(&q, p.data(), 8, cudaMemcpyDeviceToHost), cudaErrorLaunchFailure);
  EXPECT_NE(std::string(warploom_emulator_report()).find("injected fault in (anonymous namespace)::increment_kernel"),
            std::string::npos);
  warploom_emulator_clear();
}

// Increments through a device buffer; every error is handed on, and everything given back.
cudaError_t increment(std::vector<int>& values) {
  const size_t bytes = values.size() * sizeof(int);
  int* p = nullptr;
  cudaStream_t stream = nullptr;
  cudaError_t error = cudaStreamCreate(&stream);
  if (error == cudaSuccess) error = cudaMalloc(&p, bytes);
  if (error == cudaSuccess) error = cudaMemcpyAsync(p, values.data(), bytes, cudaMemcpyHostToDevice, stream);
  if (error == cudaSuccess) {
    increment_kernel<<<1, static_cast<unsigned>(values.size()), 0, stream>>>(p);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) error = cudaMemcpyAsync(values.data(), p, bytes, cudaMemcpyDeviceToHost, stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  if (p != nullptr) cudaFree(p);
  if (stream != nullptr) cudaStreamDestroy(stream);
  return error;
}

TEST(Injection, EveryCallOfAProgramInTurn) {
  int calls = 0;
  for (;; ++calls) {
    std::vector<int> values(32, 7);
    warploom_emulator_inject("*", calls + 1, cudaErrorUnknown);
    const cudaError_t error = increment(values);
    if (warploom_emulator_injections() == 0) {
      EXPECT_CUDA(error);
      EXPECT_EQ(values, std::vector<int>(32, 8));
      break;
    }
    if (calls < 6) EXPECT_EQ(error, cudaErrorUnknown) << calls;
    cudaGetLastError();
  }
  warploom_emulator_inject("*", 0, 0);
  EXPECT_EQ(calls, 8);  // stream, malloc, copy, launch, copy, synchronise, free, destroy
}

// ---- Kernels that spin

__global__ void wait_kernel(volatile int* flag) {
  while (*flag == 0) {
  }
}
__global__ void long_kernel(int* out, int rounds) {
  unsigned v = threadIdx.x;
  for (int i = 0; i < rounds; ++i) v = v * 1664525 + 1013904223;
  out[threadIdx.x] = static_cast<int>(v);
}

TEST(Watchdog, StopsAKernelThatSpinsForEver) {
  DeviceBuffer<int> flag{std::vector<int>(1)};
  warploom_emulator_watchdog(1 << 20);
  wait_kernel<<<3, 64>>>(flag.data());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchTimeout);
  const std::string report = warploom_emulator_report();
  for (const char* part : {"watchdog: no block has ended", "wait_kernel", "/faults_test.cu:"})
    EXPECT_NE(report.find(part), std::string::npos) << part << " in " << report;
  warploom_emulator_clear();
  warploom_emulator_watchdog(4ull << 30);
}

TEST(Watchdog, LeavesLongKernelsAlone) {
  DeviceBuffer<int> out(64);
  warploom_emulator_watchdog(1 << 20);
  for (int launch = 0; launch < 3; ++launch) {
    long_kernel<<<8, 64>>>(out.data(), 40000);  // over the limit together, not between one block's end and the next's
    EXPECT_CUDA(cudaDeviceSynchronize());
  }
  warploom_emulator_watchdog(4ull << 30);
}

__global__ void store_kernel(int* p) { *p = 1; }
TEST(Faults, StickToEveryLaterCall) {
  DeviceBuffer<int> buffer(1);
  const std::string held = warploom_emulator_leaks();
  int* in_order;
  EXPECT_CUDA(cudaMallocAsync(&in_order, sizeof(int), nullptr));
  EXPECT_CUDA(cudaDeviceSynchronize());
  store_kernel<<<1, 1>>>(nullptr);
  EXPECT_CUDA(cudaGetLastError());
  int *p, value = 0;
  cudaStream_t stream;
  cudaEvent_t event;
  size_t free, total;
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMallocAsync(&p, 4, nullptr), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMallocHost(&p, 4), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamCreate(&stream), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaEventCreate(&event), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemcpy(&value, buffer.data(), 4, cudaMemcpyDeviceToHost), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaFreeAsync(in_order, nullptr), cudaErrorIllegalAddress);  // given back all the same
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  warploom_emulator_clear();
  EXPECT_EQ(warploom_emulator_leaks(), held);
}

TEST(Faults, HandlesThatAreGoneAreRefused) {
  DeviceBuffer<int> buffer(1);
  cudaStream_t stream;
  cudaEvent_t event;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  EXPECT_CUDA(cudaEventCreate(&event));
  EXPECT_CUDA(cudaStreamDestroy(stream));
  store_kernel<<<1, 1, 0, stream>>>(buffer.data());
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  cudaStreamCaptureStatus status;
  cudaGraph_t graph;
  unsigned flags;
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamGetFlags(stream, &flags), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamIsCapturing(stream, &status), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaLaunchHostFunc(
                stream, [](void*) {}, nullptr),
            cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaFreeAsync(buffer.data(), stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_CUDA(cudaEventDestroy(event));
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorInvalidResourceHandle);
  EXPECT_CUDA(cudaGraphCreate(&graph, 0));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_EQ(cudaGraphDestroy(graph), cudaErrorInvalidValue);
  cudaGraphExec_t executable;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(Faults, HaveNamesAndMeanings) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorStreamCaptureImplicit), "cudaErrorStreamCaptureImplicit");
  EXPECT_STREQ(cudaGetErrorName(cudaErrorUnknown), "cudaErrorUnknown");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorString(static_cast<cudaError_t>(12345)), "unrecognized error code");
}

}  // namespace
