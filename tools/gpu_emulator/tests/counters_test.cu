// Counters against counts that follow from the kernel alone.
#include <cuda_pipeline_primitives.h>

#include <numeric>
#include <set>

#include "emulated_device.h"

namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kBlocks = 32, kSize = kThreads * kBlocks;

WarploomCounters counts_of(const char* kernel) {
  EXPECT_CUDA(cudaDeviceSynchronize());
  WarploomCounters c;
  EXPECT_EQ(warploom_emulator_counters(kernel, &c), 1) << kernel;
  return c;
}

class Counters : public testing::Test {
 protected:
  void SetUp() override {
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
  }
  void TearDown() override { warploom_emulator_count(0); }
};

__global__ void gather_kernel(const float* in, const int* index, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[index[i]];
}

// What a gather must ask for: by the definition, one warp at a time. `first`: of the buffer, in bytes from a sector's start.
uint64_t sectors_of(const std::vector<int>& index) {
  uint64_t sum = 0;
  for (size_t w = 0; w < index.size(); w += 32) {
    std::set<int> sectors;
    for (size_t i = w; i < w + 32; ++i) sectors.insert(index[i] / 8);
    sum += sectors.size();
  }
  return sum;
}

TEST_F(Counters, SectorsOfCoalescedStridedAndScatteredReads) {
  const auto with_stride = [](int stride) {
    std::vector<int> index(kSize);
    for (int i = 0; i < kSize; ++i) index[i] = i * stride;
    return index;
  };
  std::vector<int> scattered(kSize), one(kSize, 5), shifted(kSize);
  for (int i = 0; i < kSize; ++i)
    scattered[i] = static_cast<int>(uint64_t{2654435761} * i % (8 * kSize)), shifted[i] = i + 3;
  struct Case {
    std::vector<int> index;
    uint64_t sectors, distinct;
  };
  const uint64_t warps = kSize / 32;
  const Case cases[] = {{with_stride(1), 4 * warps, kSize / 8},
                        {with_stride(2), 8 * warps, kSize / 4},
                        {with_stride(8), 32 * warps, kSize},
                        {shifted, 5 * warps, kSize / 8 + 1},
                        {one, warps, 1},
                        {scattered, sectors_of(scattered), 0}};
  std::vector<float> in(8 * kSize);
  std::iota(in.begin(), in.end(), 0.0f);
  DeviceBuffer<float> din(in), out(kSize);
  for (const Case& c : cases) {
    std::set<int> distinct;
    for (const int i : c.index) distinct.insert(i / 8);
    if (c.distinct != 0) ASSERT_EQ(distinct.size(), c.distinct);
    ASSERT_EQ(sectors_of(c.index), c.sectors);
    DeviceBuffer<int> index(c.index);
    warploom_emulator_reset_counters();
    gather_kernel<<<kBlocks, kThreads>>>(din.data(), index.data(), out.data());
    const WarploomCounters counts = counts_of("gather_kernel");
    EXPECT_EQ(counts.launches, 1u);
    EXPECT_EQ(counts.blocks, kBlocks);
    EXPECT_EQ(counts.warps, warps);
    EXPECT_EQ(counts.warp_instructions[kWarploomMemory], 3 * warps);
    EXPECT_EQ(counts.lane_instructions[kWarploomMemory], 3 * kSize);
    EXPECT_EQ(counts.bytes_read, 8 * kSize);
    EXPECT_EQ(counts.bytes_written, 4 * kSize);
    EXPECT_EQ(counts.sectors_read, 4 * warps + c.sectors);
    EXPECT_EQ(counts.sectors_written, 4 * warps);
    EXPECT_EQ(counts.distinct_sectors_read, kSize / 8 + distinct.size());
    EXPECT_EQ(counts.distinct_sectors_written, kSize / 8);
    EXPECT_EQ(counts.shared_passes, 0u);
  }
}

__global__ void vector_kernel(const float4* in, float4* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i % 2 == 0) out[i] = in[i];
}

TEST_F(Counters, VectorsAndInactiveLanes) {
  DeviceBuffer<float4> in{std::vector<float4>(kSize)}, out(kSize);
  for (int launch = 0; launch < 3; ++launch) vector_kernel<<<kBlocks, kThreads>>>(in.data(), out.data());
  const WarploomCounters c = counts_of("vector_kernel");
  EXPECT_EQ(c.launches, 3u);
  EXPECT_EQ(c.lane_instructions[kWarploomMemory], 3u * kSize);
  EXPECT_EQ(c.bytes_read, 3u * kSize / 2 * 16);
  EXPECT_EQ(c.sectors_read, 3u * kSize / 2);  // half of each is used
  EXPECT_EQ(c.distinct_sectors_read, 3u * kSize / 2);
  EXPECT_EQ(c.distinct_sectors_written, 3u * kSize / 2);
}

__global__ void twice_kernel(const volatile float* in, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float a = in[i];
  out[i] = a + in[i];
}

TEST_F(Counters, ASecondReadIsAskedForButNotDistinct) {
  DeviceBuffer<float> in{std::vector<float>(kSize)}, out(kSize);
  twice_kernel<<<kBlocks, kThreads>>>(in.data(), out.data());
  const WarploomCounters c = counts_of("twice_kernel");
  EXPECT_EQ(c.sectors_read, 2u * kSize / 8);
  EXPECT_EQ(c.distinct_sectors_read, kSize / 8);
}

template <class T>
__global__ void stride_kernel(int stride, T* out) {
  extern __shared__ int4 raw[];
  auto* shared = reinterpret_cast<volatile T*>(raw);
  const int i = threadIdx.x;
  shared[i * stride] = T(i);
  out[i] = shared[i * stride];
}

template <class T>
uint64_t conflicts(int stride) {
  DeviceBuffer<T> out(32);
  warploom_emulator_reset_counters();
  EXPECT_CUDA(cudaFuncSetAttribute(stride_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, 96 << 10));
  stride_kernel<T><<<1, 32, 33 * 32 * sizeof(T)>>>(stride, out.data());
  const WarploomCounters c = counts_of("stride_kernel");
  EXPECT_EQ(c.warp_instructions[kWarploomShared], 2u);
  EXPECT_EQ(c.shared_passes - c.shared_conflicts, sizeof(T) == 8 ? 4u : 2u);  // phases
  return c.shared_conflicts;
}

TEST_F(Counters, BankConflicts) {
  for (const int stride : {1, 2, 3, 4, 8, 16, 17, 31, 32, 33}) {
    const uint64_t ways = std::gcd(stride, 32);
    EXPECT_EQ(conflicts<int>(stride), 2 * (ways - 1)) << stride;
    // Half a warp of 8 bytes: the banks' pairs.
    EXPECT_EQ(conflicts<double>(stride), 4 * (std::gcd(stride, 16) - 1)) << stride;
  }
  EXPECT_EQ(conflicts<unsigned char>(1), 0u);  // four lanes to a word
  EXPECT_EQ(conflicts<unsigned char>(4), 0u);
  EXPECT_EQ(conflicts<unsigned char>(8), 2u);
}

__global__ void broadcast_kernel(float4* out) {
  __shared__ float4 v[kThreads];
  v[threadIdx.x] = make_float4(1, 2, 3, 4);
  __syncthreads();
  out[threadIdx.x] = v[0];
}

TEST_F(Counters, ABroadcastIsNoConflict) {
  DeviceBuffer<float4> out(kThreads);
  broadcast_kernel<<<1, kThreads>>>(out.data());
  const WarploomCounters c = counts_of("broadcast_kernel");
  EXPECT_EQ(c.shared_conflicts, 0u);
  EXPECT_EQ(c.shared_passes, 2u * 4 * kWarps);  // 16 bytes a lane: four phases
  EXPECT_EQ(c.barriers, uint64_t{kWarps});
}

__global__ void histogram_kernel(const int* in, int* out) {
  __shared__ int part[8];
  const int t = threadIdx.x;
  if (t < 8) part[t] = 0;
  __syncthreads();
  atomicAdd(&part[in[t]], 1);
  __syncthreads();
  if (t < 8) atomicAdd(&out[t], part[t]);
}

TEST_F(Counters, AtomicsAndBarriers) {
  std::vector<int> in(kThreads);
  for (int i = 0; i < kThreads; ++i) in[i] = i % 8;
  DeviceBuffer<int> din(in), out(std::vector<int>(8));
  histogram_kernel<<<2, kThreads>>>(din.data(), out.data());
  const WarploomCounters c = counts_of("histogram_kernel");
  EXPECT_EQ(out.host(), std::vector<int>(8, 2 * kThreads / 8));
  EXPECT_EQ(c.shared_atomics, 2u * kThreads);
  EXPECT_EQ(c.global_atomics, 2u * 8);
  EXPECT_EQ(c.barriers, 2u * 2 * kWarps);
  EXPECT_EQ(c.warp_instructions[kWarploomAtomic], 2u * (kWarps + 1));
  EXPECT_EQ(c.shared_conflicts, 2u * kWarps * 3);  // four lanes a word
}

// Every warp's lanes come to `ways` words each, which all warps share.
template <class T>
__global__ void sum_kernel(int ways, T* out) {
  __shared__ T sums[32];
  const int t = threadIdx.x;
  if (t < 32) sums[t] = T(0);
  __syncthreads();
  atomicAdd(&sums[t % ways], T(1));
  __syncthreads();
  if (t < 32) out[t] = sums[t];
}
template <class T>
WarploomCounters sums_of(int ways) {
  DeviceBuffer<T> out(32);
  warploom_emulator_reset_counters();
  sum_kernel<T><<<3, kThreads>>>(ways, out.data());
  return counts_of("sum_kernel");
}

TEST_F(Counters, AtomicsThatAreLoopsOfCompareAndSwap) {
  for (const int ways : {1, 2, 8, 32}) {
    for (const WarploomCounters& c : {sums_of<unsigned long long>(ways), sums_of<double>(ways), sums_of<float>(ways)}) {
      EXPECT_EQ(c.shared_atomics, 3u * kThreads);
      EXPECT_EQ(c.swap_rounds, 3u * kWarps * (32 / ways)) << ways;
      EXPECT_EQ(c.swap_chain, 3u * kThreads / ways) << ways;
    }
    for (const WarploomCounters& c : {sums_of<unsigned>(ways), sums_of<int>(ways)}) {
      EXPECT_EQ(c.swap_rounds, 0u);
      EXPECT_EQ(c.swap_chain, 0u);
    }
  }
}

__global__ void global_sum_kernel(unsigned long long* out) { atomicAdd(out, 1ull); }

TEST_F(Counters, GlobalMemoryAddsSixtyFourBitsByItself) {
  DeviceBuffer<unsigned long long> out{std::vector<unsigned long long>(1)};
  global_sum_kernel<<<2, kThreads>>>(out.data());
  EXPECT_EQ(counts_of("global_sum_kernel").swap_rounds, 0u);
  EXPECT_EQ(out.host()[0], 2ull * kThreads);
}

__global__ void classes_kernel(float* f, double* d, unsigned* out) {
  const int t = threadIdx.x;
  float a = f[t];
  double b = d[t];
  unsigned v = t;
  for (int i = 0; i < 10; ++i) {
    asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(a));
    asm volatile("fma.rn.f64 %0, %0, %0, %0;" : "+d"(b));
    if (t % 4 == 0) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(a));
    v = __shfl_xor_sync(0xffffffff, v, 1);
  }
  f[t] = a;
  d[t] = b;
  out[t] = v + __popc(__ballot_sync(0xffffffff, t & 1));
}

TEST_F(Counters, InstructionsByClassAndTheirLanes) {
  DeviceBuffer<float> f{std::vector<float>(kThreads)};
  DeviceBuffer<double> d{std::vector<double>(kThreads)};
  DeviceBuffer<unsigned> out(kThreads);
  classes_kernel<<<1, kThreads>>>(f.data(), d.data(), out.data());
  const WarploomCounters c = counts_of("classes_kernel");
  EXPECT_EQ(c.warp_instructions[kWarploomFloat], 10u * kWarps);
  EXPECT_EQ(c.lane_instructions[kWarploomFloat], 10u * kThreads);
  EXPECT_EQ(c.warp_instructions[kWarploomDouble], 10u * kWarps);
  EXPECT_EQ(c.warp_instructions[kWarploomSpecial], 10u * kWarps);
  EXPECT_EQ(c.lane_instructions[kWarploomSpecial], 10u * kThreads / 4);
  EXPECT_EQ(c.warp_instructions[kWarploomWarp], 11u * kWarps);
  EXPECT_EQ(c.lane_instructions[kWarploomWarp], 11u * kThreads);
  EXPECT_EQ(c.warp_instructions[kWarploomMemory], 5u * kWarps);
}

__global__ void async_kernel(const int4* in, int4* out) {
  __shared__ int4 tile[kThreads];
  const int t = threadIdx.x, i = blockIdx.x * kThreads + t;
  __pipeline_memcpy_async(&tile[t], &in[i], sizeof(int4));
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  out[i] = tile[t];
}

TEST_F(Counters, AsynchronousCopies) {
  DeviceBuffer<int4> in{std::vector<int4>(kSize)}, out(kSize);
  async_kernel<<<kBlocks, kThreads>>>(in.data(), out.data());
  const WarploomCounters c = counts_of("async_kernel");
  EXPECT_EQ(c.bytes_read, 16u * kSize);
  EXPECT_EQ(c.sectors_read, kSize / 2);
  EXPECT_EQ(c.distinct_sectors_read, kSize / 2);
  EXPECT_EQ(c.shared_conflicts, 0u);
  EXPECT_EQ(c.shared_passes, 2u * 4 * kSize / 32);
  EXPECT_EQ(c.warp_instructions[kWarploomAsync], 3u * kSize / 32);
}

TEST_F(Counters, NothingIsCountedUnlessAskedFor) {
  warploom_emulator_count(0);
  DeviceBuffer<float> in{std::vector<float>(kSize)}, out(kSize);
  twice_kernel<<<kBlocks, kThreads>>>(in.data(), out.data());
  EXPECT_CUDA(cudaDeviceSynchronize());
  WarploomCounters c;
  EXPECT_EQ(warploom_emulator_counters("twice_kernel", &c), 0);
  EXPECT_EQ(c.launches, 0u);
}

}  // namespace
