// Occupancy against NVIDIA's own calculator, resources from ptxas, and what the modelled time must show.
#include <cuda_occupancy.h>

#include <random>

#include "emulated_device.h"

namespace {

struct Gpu {
  const char* key;
  int major, minor, processors, threads, shared, shared_optin;
};
// CUDA programming guide, tables of compute capabilities.
constexpr Gpu kGpus[] = {{"a100", 8, 0, 108, 2048, 164 << 10, 163 << 10},
                         {"h100", 9, 0, 132, 2048, 228 << 10, 227 << 10},
                         {"h200", 9, 0, 132, 2048, 228 << 10, 227 << 10},
                         {"rtx4090", 8, 9, 128, 1536, 100 << 10, 99 << 10},
                         {"rtx5090", 12, 0, 170, 1536, 100 << 10, 99 << 10}};

cudaOccDeviceProp properties_of(const Gpu& gpu) {
  cudaOccDeviceProp device;
  device.computeMajor = gpu.major, device.computeMinor = gpu.minor;
  device.maxThreadsPerBlock = 1024, device.maxThreadsPerMultiprocessor = gpu.threads;
  device.regsPerBlock = device.regsPerMultiprocessor = 65536;
  device.warpSize = 32;
  device.sharedMemPerBlock = 48 << 10, device.sharedMemPerMultiprocessor = gpu.shared;
  device.numSms = gpu.processors;
  device.sharedMemPerBlockOptin = gpu.shared_optin, device.reservedSharedMemPerBlock = 1024;
  return device;
}

TEST(Occupancy, AgreesWithNvidiasCalculator) {
  std::mt19937 random(7);
  auto whole = [&random](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (const Gpu& gpu : kGpus) {
    const cudaOccDeviceProp device = properties_of(gpu);
    for (int round = 0; round < 5000; ++round) {
      cudaOccFuncAttributes function = {};
      function.maxThreadsPerBlock = 1024;
      function.numRegs = whole(0, 255);
      function.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
      function.maxDynamicSharedSizeBytes = gpu.shared_optin;
      function.sharedSizeBytes = round % 3 == 0 ? whole(0, 4096) : 0;
      const int threads = whole(1, 1024);
      const size_t dynamic = round % 2 == 0 ? 0 : whole(0, gpu.shared_optin - static_cast<int>(function.sharedSizeBytes));
      cudaOccDeviceState state;
      cudaOccResult expected;
      ASSERT_EQ(cudaOccMaxActiveBlocksPerMultiprocessor(&expected, &device, &function, &state, threads, dynamic),
                CUDA_OCC_SUCCESS);
      WarploomOccupancy mine;
      ASSERT_EQ(warploom_emulator_occupancy(gpu.key, function.numRegs, function.sharedSizeBytes + dynamic, threads, &mine),
                1);
      ASSERT_EQ(mine.blocks, expected.activeBlocksPerMultiprocessor)
          << gpu.key << " " << function.numRegs << " registers, " << function.sharedSizeBytes + dynamic << " bytes, "
          << threads << " threads";
    }
  }
  WarploomOccupancy none;
  EXPECT_EQ(warploom_emulator_occupancy("abacus", 32, 0, 128, &none), 0);
}

class Profile : public testing::Test {
 protected:
  void SetUp() override {
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
  }
  void TearDown() override { warploom_emulator_count(0); }
  static WarploomModelledTime modelled(const char* kernel, const char* gpu = "a100") {
    EXPECT_CUDA(cudaDeviceSynchronize());
    WarploomModelledTime t = {};
    EXPECT_GT(warploom_emulator_modelled(kernel, gpu, &t), 0);
    return t;
  }
};

__global__ void copy_kernel(const float* in, float* out, int stride) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[i * stride];
}

__global__ void __launch_bounds__(1024, 2) crowded_kernel(const float* in, float* out) {
  float v[64];
#pragma unroll
  for (int k = 0; k < 64; ++k) v[k] = in[threadIdx.x + k * 1024];
#pragma unroll
  for (int round = 0; round < 3; ++round)
#pragma unroll
    for (int k = 0; k < 64; ++k) v[k] = v[k] * v[(k + 7) % 64] + v[(k * 5 + 3) % 64];
  float sum = 0;
#pragma unroll
  for (int k = 0; k < 64; ++k) sum = sum * 3 + v[k];
  out[threadIdx.x] = sum;
}

TEST_F(Profile, ResourcesComeFromPtxas) {
  DeviceBuffer<float> in{std::vector<float>(64 * 1024)}, out(64 * 1024);
  copy_kernel<<<1, 128>>>(in.data(), out.data(), 1);
  crowded_kernel<<<1, 1024>>>(in.data(), out.data());
  EXPECT_CUDA(cudaDeviceSynchronize());
  for (const Gpu& gpu : kGpus) {
    WarploomResources r = {};
    ASSERT_EQ(warploom_emulator_resources("copy_kernel", gpu.key, &r), 1);
    EXPECT_GT(r.registers, 4);
    EXPECT_LT(r.registers, 32);
    EXPECT_EQ(r.spill_store_bytes, 0);
    ASSERT_EQ(warploom_emulator_resources("crowded_kernel", gpu.key, &r), 1);
    EXPECT_LE(r.registers, gpu.threads == 2048 ? 32 : 64);  // 1536 threads leave room for one block of 1024
    EXPECT_GT(r.spill_store_bytes, 0);
    EXPECT_GT(r.spill_load_bytes, 0);
  }
  WarploomResources r;
  EXPECT_EQ(warploom_emulator_resources("_kernel", "a100", &r), 0);  // two of them
  EXPECT_EQ(warploom_emulator_resources("nothing", "a100", &r), 0);
}

// Some 100 values that are live at once.
__global__ void wide_kernel(const float* in, float* out, int rounds) {
  float v[96];
#pragma unroll
  for (int k = 0; k < 96; ++k) v[k] = in[threadIdx.x + k * 1024];
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int k = 0; k < 96; ++k) v[k] = v[k] * v[(k + 7) % 96] + v[(k * 5 + 3) % 96];
  float sum = 0;
#pragma unroll
  for (int k = 0; k < 96; ++k) sum = sum * 3 + v[k];
  out[threadIdx.x] = sum;
}

// What the runtime answers, by NVIDIA's calculator from the registers that ptxas gives the kernel.
TEST_F(Profile, TheRuntimesOccupancyIsThatOfTheKernelsRegisters) {
  DeviceBuffer<float> in{std::vector<float>(96 * 1024)}, out(96 * 1024);
  copy_kernel<<<1, 128>>>(in.data(), out.data(), 1);
  wide_kernel<<<1, 128>>>(in.data(), out.data(), 1);
  EXPECT_CUDA(cudaDeviceSynchronize());
  const Gpu& gpu = kGpus[0];  // the default
  const cudaOccDeviceProp device = properties_of(gpu);
  for (const auto& [name, kernel] : {std::pair{"copy_kernel", reinterpret_cast<const void*>(copy_kernel)},
                                     {"wide_kernel", reinterpret_cast<const void*>(wide_kernel)}}) {
    WarploomResources r = {};
    ASSERT_EQ(warploom_emulator_resources(name, gpu.key, &r), 1);
    if (kernel == reinterpret_cast<const void*>(wide_kernel)) EXPECT_GT(r.registers, 96);
    for (const int threads : {32, 64, 128, 256, 384, 512, 640})
      for (const int shared : {0, 8 << 10, 20 << 10, 40 << 10}) {
        cudaOccFuncAttributes function = {};
        function.maxThreadsPerBlock = 1024;
        function.numRegs = r.registers;
        function.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        function.maxDynamicSharedSizeBytes = gpu.shared_optin;
        cudaOccDeviceState state;
        cudaOccResult expected;
        ASSERT_EQ(cudaOccMaxActiveBlocksPerMultiprocessor(&expected, &device, &function, &state, threads, shared),
                  CUDA_OCC_SUCCESS);
        int blocks = -1;
        ASSERT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, static_cast<size_t>(shared)),
                  cudaSuccess);
        EXPECT_EQ(blocks, expected.activeBlocksPerMultiprocessor)
            << name << ", " << r.registers << " registers, " << threads << " threads, " << shared << " bytes";
      }
  }
}

TEST_F(Profile, ACopyIsBoundByDramAtItsBandwidth) {
  constexpr int kSize = 1 << 22;
  DeviceBuffer<float> in{std::vector<float>(kSize)}, out(kSize);
  copy_kernel<<<kSize / 256, 256>>>(in.data(), out.data(), 1);
  const double bytes = 2.0 * sizeof(float) * kSize;
  for (const auto& [gpu, bandwidth] :
       {std::pair{"a100", 2039e9}, {"h100", 3352e9}, {"h200", 4800e9}, {"rtx4090", 1008e9}, {"rtx5090", 1792e9}}) {
    const WarploomModelledTime t = modelled("copy_kernel", gpu);
    EXPECT_NEAR(t.dram, bytes / (0.92 * bandwidth), 0.01 * t.dram) << gpu;
    EXPECT_DOUBLE_EQ(t.total, t.dram + t.launch) << gpu;
  }
  const std::string table = warploom_emulator_profile("h100");
  EXPECT_NE(table.find("Modelled on H100"), std::string::npos);
  EXPECT_NE(table.find("DRAM"), std::string::npos) << table;
  EXPECT_NE(table.find("copy_kernel"), std::string::npos) << table;
}

TEST_F(Profile, StridesAndSmallGridsCost) {
  constexpr int kSize = 1 << 16;
  DeviceBuffer<float> in{std::vector<float>(8 * kSize)}, out(kSize);
  copy_kernel<<<kSize / 256, 256>>>(in.data(), out.data(), 1);
  const WarploomModelledTime coalesced = modelled("copy_kernel");
  warploom_emulator_reset_counters();
  copy_kernel<<<kSize / 256, 256>>>(in.data(), out.data(), 8);
  const WarploomModelledTime strided = modelled("copy_kernel");
  EXPECT_DOUBLE_EQ(strided.dram, coalesced.dram * 9 / 2);
  EXPECT_DOUBLE_EQ(strided.l2, coalesced.l2 * 9 / 2);
  EXPECT_DOUBLE_EQ(strided.issue, coalesced.issue);
  // One block has one multiprocessor's issue slots; 108 have as many.
  warploom_emulator_reset_counters();
  copy_kernel<<<1, 256>>>(in.data(), out.data(), 1);
  const WarploomModelledTime one = modelled("copy_kernel");
  warploom_emulator_reset_counters();
  copy_kernel<<<108, 256>>>(in.data(), out.data(), 1);
  EXPECT_DOUBLE_EQ(modelled("copy_kernel").issue, one.issue);
  warploom_emulator_reset_counters();
  copy_kernel<<<109, 256>>>(in.data(), out.data(), 1);
  EXPECT_NEAR(modelled("copy_kernel").issue, 2 * one.issue, 1e-6 * one.issue);
  warploom_emulator_reset_counters();
  for (int k = 0; k < 10; ++k) copy_kernel<<<1, 32>>>(in.data(), out.data(), 1);
  EXPECT_DOUBLE_EQ(modelled("copy_kernel").launch, 10 * 2.1e-6);
}

// Block b does work[b] rounds: each reads 4 KiB and adds up what a neighbour read.
__global__ void uneven_kernel(const int* work, const float* in, float* out) {
  __shared__ float last[32];
  float sum = 0;
  const int rounds = work[blockIdx.x];
  for (int k = 0; k < rounds; ++k)
    for (int i = 0; i < 32; ++i) {
      last[threadIdx.x] = in[(32 * k + i) * 32 + threadIdx.x];
      __syncwarp();
      sum += last[threadIdx.x ^ 1];
      __syncwarp();
    }
  out[blockIdx.x * 32 + threadIdx.x] = sum;
}

// The time of a launch is that of the multiprocessor which has most to do, not of one that has the mean.
TEST_F(Profile, TheBusiestMultiprocessorCounts) {
  constexpr int kLong = 64, kShort = 1;
  DeviceBuffer<float> in{std::vector<float>(kLong * 1024)}, out(3 * 108 * 32);
  const auto launch = [&](const std::vector<int>& work) {
    DeviceBuffer<int> device_work(work);
    warploom_emulator_reset_counters();
    uneven_kernel<<<static_cast<unsigned>(work.size()), 32>>>(device_work.data(), in.data(), out.data());
    return modelled("uneven_kernel");
  };
  const WarploomModelledTime alone = launch({kLong}), one_short = launch({kShort});
  ASSERT_GT(alone.issue, 30 * one_short.issue);
  EXPECT_DOUBLE_EQ(alone.l2, (kLong * 4096 + 32 * (1 + 128.0 / 32)) / 64 / 1.41e9);
  for (const size_t at :
       {0, 5, 107, 108, 215}) {  // one among 216: its multiprocessor has one more of the short ones at most
    std::vector<int> work(216, kShort);
    work[at] = kLong;
    const WarploomModelledTime t = launch(work);
    for (const auto part : {&WarploomModelledTime::issue, &WarploomModelledTime::arithmetic, &WarploomModelledTime::shared,
                            &WarploomModelledTime::l2}) {
      EXPECT_GE(t.*part, alone.*part * (1 - 1e-9)) << at;
      EXPECT_LE(t.*part, (alone.*part + one_short.*part) * (1 + 1e-9)) << at;
    }
    EXPECT_LT(t.dram, 1.2 * alone.dram) << at;  // all read the same, and write 27 KB
  }
  // Two, which would both be first in a round: they go to two multiprocessors.
  std::vector<int> work(216, kShort);
  work[0] = work[108] = kLong;
  EXPECT_LE(launch(work).issue, alone.issue + one_short.issue * (1 + 1e-9));
  // As many as there are multiprocessors, and one more.
  EXPECT_DOUBLE_EQ(launch(std::vector<int>(108, kLong)).issue, alone.issue);
  EXPECT_DOUBLE_EQ(launch(std::vector<int>(109, kLong)).issue, 2 * alone.issue);
  // Another GPU has another number of them.
  launch(std::vector<int>(109, kLong));
  EXPECT_DOUBLE_EQ(modelled("uneven_kernel", "h100").issue, alone.issue * 1.41 / 1.98);
}

template <class T>
__global__ void hot_kernel(T* out) {
  __shared__ T sum;
  if (threadIdx.x == 0) sum = T(0);
  __syncthreads();
  for (int k = 0; k < 100; ++k) atomicAdd(&sum, T(1));
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// 12,800 additions to one word: one after the other, 50 clocks each, if they are of 64 bits.
TEST_F(Profile, AHotSumOfSixtyFourBitsSpins) {
  DeviceBuffer<unsigned long long> wide(108 * 16);
  DeviceBuffer<unsigned> narrow(108 * 16);
  hot_kernel<<<1, 128>>>(wide.data());
  hot_kernel<<<1, 128>>>(narrow.data());
  const WarploomModelledTime t = modelled("hot_kernel<unsigned long long>");
  EXPECT_NEAR(t.swaps, 12800 * 50 / 1.41e9, 1e-9);
  EXPECT_DOUBLE_EQ(t.total, t.swaps + t.launch);
  EXPECT_EQ(modelled("hot_kernel<unsigned int>").swaps, 0.0);
  // 16 blocks fit a multiprocessor and spin side by side.
  warploom_emulator_reset_counters();
  hot_kernel<<<108 * 16, 128>>>(wide.data());
  EXPECT_DOUBLE_EQ(modelled("hot_kernel<unsigned long long>").swaps, t.swaps);
}

__global__ void shared_kernel(int* p) {
  __shared__ int values[100];
  values[threadIdx.x] = 1;
  p[threadIdx.x] = values[threadIdx.x];
}
TEST(Occupancy, DynamicSharedMemoryThatIsLeft) {
  for (int blocks = 1; blocks <= 16; ++blocks) {
    size_t bytes;
    int fit;
    EXPECT_CUDA(cudaOccupancyAvailableDynamicSMemPerBlock(&bytes, shared_kernel, blocks, 64));
    EXPECT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, shared_kernel, 64, bytes));
    EXPECT_GE(fit, blocks);
    if (blocks == 1) continue;  // a block's own limit is the lower one
    EXPECT_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, shared_kernel, 64, bytes + 1));
    EXPECT_LT(fit, blocks);
  }
}

}  // namespace
