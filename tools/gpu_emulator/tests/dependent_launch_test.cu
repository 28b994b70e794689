// Programmatic dependent launches: results, graphs, and what the sanitiser finds in kernels that do not wait, or too late.
#include <cstdint>
#include <functional>

#include "emulated_device.h"

namespace {

constexpr int kThreads = 64, kBlocks = 3, kSize = kThreads * kBlocks;

__device__ void wait_for_before() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
__device__ void launch_after() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
__device__ int place() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

// out = in + weight, where nothing that an earlier kernel writes or reads is touched before the wait.
__global__ void add_kernel(const int* in, const int* weight, int* out) {
  const int w = weight[place()];
  wait_for_before();
  launch_after();
  out[place()] = in[place()] + w;
}
__global__ void early_read_kernel(const int* in, const int* weight, int* out) {
  const int early = in[place()];
  wait_for_before();
  launch_after();
  out[place()] = early + weight[place()];
}
__global__ void early_write_kernel(const int* in, const int* weight, int* out) {
  out[place()] = 0;
  wait_for_before();
  out[place()] = in[place()] + weight[place()];
}
// Half of the threads wait.
__global__ void half_waits_kernel(const int* in, const int* weight, int* out) {
  if (threadIdx.x % 2 == 0) wait_for_before();
  out[place()] = in[place()] + weight[place()];
}
__global__ void early_copy_kernel(const int* in, const int* weight, int* out) {
  __shared__ int tile[kThreads];
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(tile + threadIdx.x));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(in + place()));
  wait_for_before();
  asm volatile("cp.async.wait_all;" ::: "memory");
  out[place()] = tile[threadIdx.x] + weight[place()];
}
__global__ void early_atomic_kernel(const int*, const int*, int* out) {
  atomicAdd(out, 1);
  wait_for_before();
}
__global__ void early_volatile_kernel(const int* in, const int*, int* out) {
  const int early = *static_cast<const volatile int*>(in + place());
  wait_for_before();
  out[place()] = early;
}
// The last block ends without the wait.
__global__ void never_waits_kernel(const int* in, const int* weight, int* out) {
  if (blockIdx.x + 1 == gridDim.x) return;
  wait_for_before();
  out[place()] = in[place()] + weight[place()];
}
// Lets dependents begin before it has waited.
__global__ void early_launch_kernel(const int* in, const int* weight, int* out) {
  launch_after();
  wait_for_before();
  out[place()] = in[place()] + weight[place()];
}
// One byte a thread.
__global__ void bytes_kernel(unsigned char* out) { out[7 * place()] = 1; }
__global__ void early_bytes_kernel(const unsigned char* in, int* out) {
  const int early = in[7 * place()];
  wait_for_before();
  out[place()] = early;
}

__global__ void prefetch_kernel(const char* from, unsigned bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes));
}

using Kernel = void (*)(const int*, const int*, int*);
template <typename... Parameters>
cudaError_t launch_with(bool programmatic, void (*kernel)(Parameters...), cudaStream_t stream,
                        std::type_identity_t<Parameters>... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = programmatic;
  cudaLaunchConfig_t config = {};
  config.gridDim = kBlocks, config.blockDim = kThreads, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = 1;
  void* pointers[] = {&arguments...};
  return cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers);
}
cudaError_t dependent(Kernel kernel, const int* in, const int* weight, int* out, cudaStream_t stream = nullptr) {
  return launch_with(true, kernel, stream, in, weight, out);
}
cudaError_t ordinary(Kernel kernel, const int* in, const int* weight, int* out, cudaStream_t stream = nullptr) {
  return launch_with(false, kernel, stream, in, weight, out);
}

// The sanitiser's report, and a device without the fault.
std::string report() {
  cudaDeviceSynchronize();
  std::string text = warploom_emulator_report();
  warploom_emulator_clear();
  return text;
}

struct DependentLaunch : testing::Test {
  DeviceBuffer<int> a{std::vector<int>(kSize, 1)}, b{std::vector<int>(kSize, 0)}, c{std::vector<int>(kSize, 0)},
      d{std::vector<int>(kSize, 0)}, weight{std::vector<int>(kSize, 10)};
  const int* w = weight.data();

  // b = a + weight by an ordinary launch, then c = b + weight by a dependent launch of this kernel.
  std::string after_an_ordinary_launch(Kernel kernel) {
    EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
    EXPECT_CUDA(dependent(kernel, b.data(), w, c.data()));
    return report();
  }
  static void expect_found(const std::string& report, const char* text, const char* kernel) {
    EXPECT_NE(report.find(text), std::string::npos) << report;
    EXPECT_NE(report.find(kernel), std::string::npos) << report;
  }
};

TEST_F(DependentLaunch, ChainsThatWaitAreRight) {
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(add_kernel, b.data(), w, c.data()));
  EXPECT_CUDA(dependent(add_kernel, c.data(), w, d.data()));
  EXPECT_CUDA(dependent(add_kernel, d.data(), w, b.data()));  // what the first one wrote
  EXPECT_EQ(report(), "");
  EXPECT_EQ(b.host(), std::vector<int>(kSize, 41));
}

TEST_F(DependentLaunch, AWaitWithoutTheAttributeDoesNothing) {
  add_kernel<<<kBlocks, kThreads>>>(a.data(), w, b.data());
  never_waits_kernel<<<kBlocks, kThreads>>>(b.data(), w, c.data());
  early_read_kernel<<<kBlocks, kThreads>>>(b.data(), w, d.data());
  EXPECT_EQ(report(), "");
  EXPECT_EQ(d.host(), std::vector<int>(kSize, 21));
}

TEST_F(DependentLaunch, ReadsBeforeTheWaitAreFound) {
  constexpr const char* kText = "read before griddepcontrol.wait of what an earlier launch, which may still run, wrote";
  expect_found(after_an_ordinary_launch(early_read_kernel), kText, "early_read_kernel");
  expect_found(after_an_ordinary_launch(early_copy_kernel), kText, "early_copy_kernel");
  expect_found(after_an_ordinary_launch(early_volatile_kernel), kText, "early_volatile_kernel");
  expect_found(after_an_ordinary_launch(half_waits_kernel), kText, "thread (1,0,0)");
  EXPECT_EQ(after_an_ordinary_launch(add_kernel), "");
}

TEST_F(DependentLaunch, ReadsOfSingleBytesAreFound) {
  DeviceBuffer<unsigned char> bytes(std::vector<unsigned char>(7 * kSize));
  EXPECT_CUDA(launch_with(false, bytes_kernel, nullptr, bytes.data()));
  EXPECT_CUDA(launch_with(true, early_bytes_kernel, nullptr, bytes.data(), c.data()));
  expect_found(report(), "read before griddepcontrol.wait", "early_bytes_kernel");
}

TEST_F(DependentLaunch, WritesBeforeTheWaitAreFound) {
  // Of what the launch before read.
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(early_write_kernel, b.data(), w, a.data()));
  expect_found(report(), "write before griddepcontrol.wait of what an earlier launch, which may still run, read",
               "early_write_kernel");
  // Of what it wrote.
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(early_write_kernel, a.data(), w, b.data()));
  expect_found(report(), "write before griddepcontrol.wait of what an earlier launch, which may still run, wrote",
               "early_write_kernel");
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(early_atomic_kernel, a.data(), w, b.data()));
  expect_found(report(), "write before griddepcontrol.wait", "early_atomic_kernel");
  // Of what nobody touched.
  EXPECT_EQ(after_an_ordinary_launch(early_write_kernel), "");
}

TEST_F(DependentLaunch, ABlockThatNeverWaitsIsFound) {
  const std::string text = after_an_ordinary_launch(never_waits_kernel);
  expect_found(text, "ended without griddepcontrol.wait", "block (2,0,0) of kernel");
  expect_found(text, "ended without griddepcontrol.wait", "never_waits_kernel");
}

// The kernel before has waited before it let this one begin, so the one before that has ended.
TEST_F(DependentLaunch, WhatIsKnownToHaveEndedMayBeTouched) {
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(add_kernel, a.data(), w, c.data()));
  EXPECT_CUDA(dependent(early_read_kernel, b.data(), w, d.data()));
  EXPECT_EQ(report(), "");
  EXPECT_EQ(d.host(), std::vector<int>(kSize, 21));
}
TEST_F(DependentLaunch, DependentsOfAnEarlyTriggerOverlapWithAllBefore) {
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(early_launch_kernel, a.data(), w, c.data()));
  EXPECT_CUDA(dependent(early_read_kernel, b.data(), w, d.data()));
  expect_found(report(), "read before griddepcontrol.wait", "early_read_kernel");
  // An ordinary launch waits for all of them.
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(dependent(early_launch_kernel, a.data(), w, c.data()));
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, d.data()));
  EXPECT_CUDA(dependent(early_read_kernel, b.data(), w, c.data()));
  EXPECT_EQ(report(), "");
}

// Only a kernel ahead can overlap.
TEST_F(DependentLaunch, CopiesEndBeforeALaunchBegins) {
  EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data()));
  EXPECT_CUDA(cudaMemcpyAsync(c.data(), b.data(), sizeof(int) * kSize, cudaMemcpyDeviceToDevice, nullptr));
  EXPECT_CUDA(dependent(early_read_kernel, c.data(), w, d.data()));
  EXPECT_EQ(report(), "");
  EXPECT_EQ(d.host(), std::vector<int>(kSize, 21));
}

TEST_F(DependentLaunch, GraphsKeepTheEdge) {
  cudaStream_t stream;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  const auto captured = [&](Kernel last, bool copy_between) {
    EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    EXPECT_CUDA(ordinary(add_kernel, a.data(), w, b.data(), stream));
    if (copy_between) EXPECT_CUDA(cudaMemsetAsync(d.data(), 0, sizeof(int) * kSize, stream));
    EXPECT_CUDA(dependent(last, b.data(), w, c.data(), stream));
    cudaGraph_t graph;
    EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
    cudaGraphExec_t exec;
    EXPECT_CUDA(cudaGraphInstantiate(&exec, graph, 0));
    EXPECT_CUDA(cudaGraphDestroy(graph));
    return exec;
  };
  cudaGraphExec_t exec = captured(add_kernel, false);
  for (int i = 0; i < 3; ++i) {
    EXPECT_CUDA(cudaGraphLaunch(exec, stream));
    EXPECT_EQ(report(), "");
    EXPECT_EQ(c.host(), std::vector<int>(kSize, 21));
  }
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
  exec = captured(early_read_kernel, false);
  for (int i = 0; i < 2; ++i) {
    EXPECT_CUDA(cudaGraphLaunch(exec, stream));
    expect_found(report(), "read before griddepcontrol.wait", "early_read_kernel");
  }
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
  exec = captured(early_read_kernel, true);
  EXPECT_CUDA(cudaGraphLaunch(exec, stream));
  EXPECT_EQ(report(), "");
  EXPECT_CUDA(cudaGraphExecDestroy(exec));
  EXPECT_CUDA(cudaStreamDestroy(stream));
}

TEST(DependentLaunches, PrefetchesAreChecked) {
  DeviceBuffer<char> bytes(std::vector<char>(1024));
  prefetch_kernel<<<1, 1>>>(bytes.data() + 16, 1008);
  EXPECT_EQ(report(), "");
  prefetch_kernel<<<1, 1>>>(bytes.data() + 16, 1024);
  EXPECT_NE(report().find("out of bounds: cp.async.bulk.prefetch.L2 of 1024 bytes"), std::string::npos);
  prefetch_kernel<<<1, 1>>>(bytes.data() + 8, 16);
  EXPECT_NE(report().find("no multiple of 16"), std::string::npos);
}

TEST(DependentLaunches, TheKernelSaysForWhatItWasCompiled) {
  cudaFuncAttributes attributes;
  EXPECT_CUDA(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&add_kernel)));
  EXPECT_EQ(attributes.ptxVersion, 90);
}

}  // namespace
