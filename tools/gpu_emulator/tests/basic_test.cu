// Elementwise kernels, shared memory, divergence, calls, atomics, symbols, streams: one kernel each.
#include <cooperative_groups.h>

#include <cstdint>
#include <cstdio>
#include <numeric>

#include "emulated_device.h"

namespace {

__constant__ float coefficients[4] = {1, 2, 3, 4};
__device__ int counter = 5;

__global__ void saxpy_kernel(int n, float a, const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i] + coefficients[i & 3];
}

TEST(Basic, ElementwiseWithRaggedEnd) {
  for (const int n : {1, 31, 32, 33, 1000, 4097}) {
    std::vector<float> x(n), y(n);
    for (int i = 0; i < n; ++i) x[i] = i * 0.5f, y[i] = 100.0f - i;
    DeviceBuffer<float> dx(x), dy(y);
    saxpy_kernel<<<(n + 127) / 128, 128>>>(n, 2.0f, dx.data(), dy.data());
    const std::vector<float> out = dy.host();
    for (int i = 0; i < n; ++i) ASSERT_EQ(out[i], 2.0f * x[i] + y[i] + (i & 3) + 1) << i;
  }
}

__global__ void sum_kernel(const int* x, int n, int* out) {
  extern __shared__ int part[];
  const int t = threadIdx.x;
  int sum = 0;
  for (int i = t; i < n; i += blockDim.x) sum += x[i];
  part[t] = sum;
  __syncthreads();
  for (int k = blockDim.x / 2; k > 0; k /= 2) {
    if (t < k) part[t] += part[t + k];
    __syncthreads();
  }
  if (t == 0) *out = part[0];
}

TEST(Basic, SharedMemoryReduction) {
  std::vector<int> x(10007);
  std::iota(x.begin(), x.end(), -13);
  DeviceBuffer<int> dx(x), out(1);
  sum_kernel<<<1, 256, 256 * sizeof(int)>>>(dx.data(), static_cast<int>(x.size()), out.data());
  EXPECT_EQ(out.host()[0], std::accumulate(x.begin(), x.end(), 0));
}

__global__ void dynamic_after_static(int* out) {
  __shared__ int odd[3];  // dynamic memory begins at the next multiple of 16, and all of it is there
  extern __shared__ int dynamic[];
  if (threadIdx.x < 3) odd[threadIdx.x] = -1;
  dynamic[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = dynamic[blockDim.x - 1 - threadIdx.x] + odd[0] + odd[1] + odd[2];
}
TEST(Basic, DynamicSharedMemoryBehindUnevenStaticOnes) {
  DeviceBuffer<int> out(64);
  dynamic_after_static<<<1, 64, 64 * sizeof(int)>>>(out.data());
  const std::vector<int> values = out.host();
  for (int i = 0; i < 64; ++i) EXPECT_EQ(values[i], 63 - i - 3);
}
// What may be added to a kernel's own shared memory: 48 KiB together, or what was asked for, up to the device's limit.
TEST(Basic, SharedMemoryBeyond48KiBIsAskedFor) {
  int optin = 0;
  EXPECT_CUDA(cudaDeviceGetAttribute(&optin, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  DeviceBuffer<int> out(64);
  const auto launch = [&](int bytes) {
    dynamic_after_static<<<1, 64, bytes>>>(out.data());
    return cudaGetLastError();
  };
  EXPECT_EQ(launch((48 << 10) - 16), cudaSuccess);
  EXPECT_EQ(launch((48 << 10) - 8), cudaErrorInvalidValue);
  const auto ask = [](int bytes) {
    return cudaFuncSetAttribute(dynamic_after_static, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  };
  EXPECT_EQ(ask(optin - 8), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(ask(optin - 16), cudaSuccess);
  EXPECT_EQ(launch(optin - 16), cudaSuccess);
  EXPECT_EQ(ask(60000), cudaSuccess);
  EXPECT_EQ(launch(60000), cudaSuccess);
  EXPECT_EQ(launch(60004), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaDeviceSynchronize());
}

// Collatz steps: every lane leaves its loop at another time.
__global__ void collatz_kernel(int n, int* steps) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  uint64_t v = i + 1;
  int count = 0;
  while (v != 1) {
    if (v % 2 == 0)
      v /= 2;
    else
      v = 3 * v + 1;
    ++count;
  }
  steps[i] = count;
}

TEST(Basic, DivergentLoops) {
  const int n = 5000;
  DeviceBuffer<int> steps(n);
  collatz_kernel<<<(n + 255) / 256, 256>>>(n, steps.data());
  const std::vector<int> out = steps.host();
  for (int i = 0; i < n; ++i) {
    int count = 0;
    for (uint64_t v = i + 1; v != 1; ++count) v = v % 2 == 0 ? v / 2 : 3 * v + 1;
    ASSERT_EQ(out[i], count) << i;
  }
}

__device__ __noinline__ int64_t fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__global__ void recursive_kernel(int64_t* out) { out[threadIdx.x] = fibonacci(threadIdx.x); }

TEST(Basic, RecursiveCalls) {
  DeviceBuffer<int64_t> out(16);
  recursive_kernel<<<1, 16>>>(out.data());
  const std::vector<int64_t> values = out.host();
  int64_t a = 0, b = 1;
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], a);
    b = std::exchange(a, b) + b;
  }
}

__global__ void local_array_kernel(const int* index, int* out) {
  int values[16];
  for (int i = 0; i < 16; ++i) values[i] = i * i + threadIdx.x;
  out[threadIdx.x] = values[index[threadIdx.x]];
}

TEST(Basic, LocalMemory) {
  std::vector<int> index(64);
  for (int i = 0; i < 64; ++i) index[i] = (i * 7) % 16;
  DeviceBuffer<int> d(index), out(64);
  local_array_kernel<<<1, 64>>>(d.data(), out.data());
  const std::vector<int> values = out.host();
  for (int i = 0; i < 64; ++i) EXPECT_EQ(values[i], index[i] * index[i] + i);
}

__global__ void count_kernel(int* histogram) {
  atomicAdd(&counter, 1);
  atomicAdd(&histogram[threadIdx.x % 7], 1);
}

TEST(Basic, AtomicsAndSymbols) {
  DeviceBuffer<int> histogram(std::vector<int>(7, 0));
  count_kernel<<<50, 70>>>(histogram.data());
  for (const int n : histogram.host()) EXPECT_EQ(n, 500);
  int value = 0;
  EXPECT_CUDA(cudaMemcpyFromSymbol(&value, counter, sizeof value));
  EXPECT_EQ(value, 5 + 50 * 70);
}

// A lock that lanes of one warp take from each other: only fair turns let it end.
__global__ void lock_kernel(int* lock, int* sum) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      *reinterpret_cast<volatile int*>(sum) = *reinterpret_cast<volatile int*>(sum) + threadIdx.x;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

TEST(Basic, LanesThatSpinOnEachOther) {
  DeviceBuffer<int> lock(std::vector<int>(1, 0)), sum(std::vector<int>(1, 0));
  lock_kernel<<<2, 64>>>(lock.data(), sum.data());
  EXPECT_EQ(sum.host()[0], 2 * 63 * 64 / 2);
}

// Every block waits for all others.
__global__ void all_blocks_kernel(int* arrived, int* out) {
  if (threadIdx.x == 0) {
    atomicAdd(arrived, 1);
    while (*reinterpret_cast<volatile int*>(arrived) < static_cast<int>(gridDim.x)) {
    }
  }
  __syncthreads();
  if (threadIdx.x < 32) out[blockIdx.x * 32 + threadIdx.x] = *reinterpret_cast<volatile int*>(arrived);
}

TEST(Basic, BlocksThatWaitForEachOther) {
  const int blocks = 40;
  DeviceBuffer<int> arrived(std::vector<int>(1, 0)), out(blocks * 32);
  all_blocks_kernel<<<blocks, 96>>>(arrived.data(), out.data());
  for (const int v : out.host()) EXPECT_EQ(v, blocks);
}

__global__ void shuffle_kernel(int* out) {
  int v = threadIdx.x;
  for (int k = 16; k > 0; k /= 2) v += __shfl_xor_sync(0xffffffff, v, k);
  if (threadIdx.x % 2 == 0) v += __popc(__ballot_sync(0x55555555, threadIdx.x > 15));
  out[threadIdx.x] = v;
}

TEST(Basic, ShufflesAndVotes) {
  DeviceBuffer<int> out(32);
  shuffle_kernel<<<1, 32>>>(out.data());
  const std::vector<int> values = out.host();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(values[i], 496 + (i % 2 == 0 ? 8 : 0));
}

__global__ void print_kernel(int n, float f) {
  if (threadIdx.x < 2) printf("lane %d of %d: %5.2f %s\n", threadIdx.x, n, f, "text");
}

TEST(Basic, Printf) {
  testing::internal::CaptureStdout();
  print_kernel<<<1, 32>>>(7, 2.5f);
  EXPECT_CUDA(cudaDeviceSynchronize());
  fflush(stdout);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "lane 0 of 7:  2.50 text\nlane 1 of 7:  2.50 text\n");
}

__global__ void fill_kernel(int* p, int n, int value) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) p[i] = value;
}

TEST(Basic, AsynchronousWorkIsLate) {
  cudaStream_t stream;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  int* pinned;
  EXPECT_CUDA(cudaMallocHost(&pinned, 4));
  *pinned = -1;
  DeviceBuffer<int> d(1);
  fill_kernel<<<1, 32, 0, stream>>>(d.data(), 1, 42);
  EXPECT_CUDA(cudaMemcpyAsync(pinned, d.data(), 4, cudaMemcpyDeviceToHost, stream));
  EXPECT_EQ(*pinned, -1);
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_EQ(*pinned, 42);
  EXPECT_CUDA(cudaFreeHost(pinned));
  EXPECT_CUDA(cudaStreamDestroy(stream));
}

__global__ void increment_kernel(int* p, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) p[i] += 1;
}

// Every block reads what all wrote in the step before; grid.sync() alone orders them.
__global__ void steps_kernel(int* a, int* b, int steps) {
  const auto grid = cooperative_groups::this_grid();
  const int n = gridDim.x, i = blockIdx.x;
  for (int s = 0; s < steps; ++s) {
    const int* from = s % 2 == 0 ? a : b;
    int* to = s % 2 == 0 ? b : a;
    if (threadIdx.x == 0) to[i] = from[(i + 1) % n] + from[(i + n - 1) % n];
    grid.sync();
  }
}
TEST(Basic, CooperativeGroupsSynchroniseTheGrid) {
  const int n = 12;
  int steps = 7;
  std::vector<int> expected(n);
  for (int i = 0; i < n; ++i) expected[i] = i;
  DeviceBuffer<int> a(expected), b(n);
  int *pa = a.data(), *pb = b.data();
  void* args[] = {&pa, &pb, &steps};
  EXPECT_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(steps_kernel), dim3(n), dim3(64), args, 0, nullptr));
  for (int s = 0; s < steps; ++s) {
    const auto from = expected;
    for (int i = 0; i < n; ++i) expected[i] = from[(i + 1) % n] + from[(i + n - 1) % n];
  }
  EXPECT_EQ(b.host(), expected) << warploom_emulator_report();
  // More blocks than the device holds at once would wait for ever: refused.
  EXPECT_EQ(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(steps_kernel), dim3(1 << 20), dim3(64), args, 0, nullptr),
            cudaErrorCooperativeLaunchTooLarge);
  cudaGetLastError();
}

TEST(Basic, GraphsReplayWhatWasCaptured) {
  cudaStream_t stream, side;
  cudaEvent_t fork, join;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  EXPECT_CUDA(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaEventCreate(&fork));
  EXPECT_CUDA(cudaEventCreate(&join));
  const int n = 1000;
  DeviceBuffer<int> p(std::vector<int>(n, 0)), q(std::vector<int>(n, 0));
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  increment_kernel<<<4, 256, 0, stream>>>(p.data(), n);
  EXPECT_CUDA(cudaEventRecord(fork, stream));
  EXPECT_CUDA(cudaStreamWaitEvent(side, fork, 0));
  increment_kernel<<<4, 256, 0, side>>>(q.data(), n);
  EXPECT_CUDA(cudaEventRecord(join, side));
  EXPECT_CUDA(cudaStreamWaitEvent(stream, join, 0));
  increment_kernel<<<4, 256, 0, stream>>>(p.data(), n);
  cudaGraph_t graph;
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_EQ(p.host(), std::vector<int>(n, 0));  // captured, not run
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < 3; ++i) EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  EXPECT_CUDA(cudaStreamSynchronize(stream));
  EXPECT_EQ(p.host(), std::vector<int>(n, 6));
  EXPECT_EQ(q.host(), std::vector<int>(n, 3));
  // Waiting for a stream that is captured ends the capture.
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t none;
  EXPECT_EQ(cudaStreamEndCapture(stream, &none), cudaErrorStreamCaptureInvalidated);
  EXPECT_NE(cudaGetLastError(), cudaSuccess);
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_CUDA(cudaEventDestroy(fork));
  EXPECT_CUDA(cudaEventDestroy(join));
  EXPECT_CUDA(cudaStreamDestroy(side));
  EXPECT_CUDA(cudaStreamDestroy(stream));
}

TEST(Basic, InvalidLaunchesAreRefused) {
  fill_kernel<<<1, 2048>>>(nullptr, 0, 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  fill_kernel<<<0, 32>>>(nullptr, 0, 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidConfiguration);
  fill_kernel<<<1, 32, 1 << 20>>>(nullptr, 0, 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
