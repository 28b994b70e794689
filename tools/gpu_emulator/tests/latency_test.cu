// Clocks that dependences take, in kernels from whose text they follow: what a longer kernel takes more than a shorter one.
#include <cooperative_groups.h>
#include <cuda_pipeline_primitives.h>

#include "emulated_device.h"

namespace {

// The latencies of src/latency.h, written down once more: a change there is a change of the model.
constexpr uint64_t kArithmetic = 4, kSpecial = 23, kShuffle = 29, kShared = 29, kL2 = 262, kDram = 470, kFence = 327,
                   kBarrier = 22;
constexpr double kBarrierWarp = 2.1;

class Latency : public testing::Test {
 protected:
  void SetUp() override {
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
  }
  void TearDown() override { warploom_emulator_count(0); }
};

template <class F>
WarploomCounters counted(F launch) {
  warploom_emulator_reset_counters();
  launch();
  EXPECT_CUDA(cudaDeviceSynchronize()) << warploom_emulator_report();
  WarploomCounters c;
  EXPECT_EQ(warploom_emulator_counters("_kernel", &c), 1);
  return c;
}
template <class F>
uint64_t clocks(F launch) {
  return counted(launch).chain;
}

template <int kCount, int kChains>
__global__ void fused_kernel(float* out) {
  float v[kChains];
#pragma unroll
  for (int k = 0; k < kChains; ++k) v[k] = threadIdx.x;
#pragma unroll
  for (int i = 0; i < kCount; ++i)
#pragma unroll
    for (int k = 0; k < kChains; ++k) asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(v[k]));
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kChains; ++k) sum += v[k];
  out[threadIdx.x] = sum;
}

template <int kChains>
uint64_t fused_clocks(float* out) {
  return clocks([&] { fused_kernel<80, kChains><<<1, 32>>>(out); }) -
         clocks([&] { fused_kernel<16, kChains><<<1, 32>>>(out); });
}

TEST_F(Latency, DependentInstructionsStallUnlessOthersFillTheClocks) {
  DeviceBuffer<float> out(64);
  EXPECT_EQ(fused_clocks<1>(out.data()), 64 * kArithmetic);
  EXPECT_EQ(fused_clocks<4>(out.data()), 64 * kArithmetic);  // four chains, an instruction a clock
  EXPECT_EQ(fused_clocks<8>(out.data()), 64 * 8u);
}

enum Op { kExp, kShuffleDown, kSharedChase, kGlobalChase };
template <Op kOp, int kCount>
__global__ void chase_kernel(unsigned long long* memory, unsigned* out) {
  __shared__ unsigned ring[32];
  ring[threadIdx.x] = (threadIdx.x + 5) % 32;
  __syncwarp();
  unsigned v = threadIdx.x;
  float f = threadIdx.x;
  unsigned long long p = reinterpret_cast<unsigned long long>(memory);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (kOp == kExp) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(f));
    if (kOp == kShuffleDown) v = __shfl_down_sync(0xffffffff, v, 1);
    if (kOp == kGlobalChase) asm volatile("ld.global.u64 %0, [%0];" : "+l"(p));
  }
  if (kOp == kSharedChase) {
    unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(ring));
#pragma unroll
    for (int i = 0; i < kCount; ++i) asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at + 4 * v));
  }
  out[threadIdx.x] = v + static_cast<unsigned>(p) + static_cast<unsigned>(f);
}

template <Op kOp>
uint64_t chase_clocks(unsigned long long* memory, unsigned* out) {
  return clocks([&] { chase_kernel<kOp, 48><<<1, 32>>>(memory, out); }) -
         clocks([&] { chase_kernel<kOp, 16><<<1, 32>>>(memory, out); });
}

TEST_F(Latency, OfSpecialFunctionsShufflesAndMemory) {
  DeviceBuffer<unsigned> out(32);
  constexpr int kSteps = 64;
  DeviceBuffer<unsigned long long> memory(4 * kSteps);
  std::vector<unsigned long long> next(4 * kSteps);
  for (const int length : {kSteps, 1}) {  // a chain through new sectors, and one that stays where it is
    for (int i = 0; i < kSteps; ++i)
      next[4 * i] = reinterpret_cast<unsigned long long>(memory.data() + 4 * ((i + 1) % length));
    EXPECT_CUDA(cudaMemcpy(memory.data(), next.data(), next.size() * 8, cudaMemcpyHostToDevice));
    EXPECT_EQ(chase_clocks<kGlobalChase>(memory.data(), out.data()), 32 * (length == 1 ? kL2 : kDram));
  }
  EXPECT_EQ(chase_clocks<kExp>(memory.data(), out.data()), 32 * kSpecial);
  EXPECT_EQ(chase_clocks<kShuffleDown>(memory.data(), out.data()), 32 * kShuffle);
  const uint64_t address = 2 * kArithmetic;  // a shift or product, and a sum
  EXPECT_EQ(chase_clocks<kSharedChase>(memory.data(), out.data()), 32 * (kShared + address));
}

template <int kLoads>
__global__ void loads_kernel(const float* in, float* out) {
  float v[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) v[i] = in[32 * i + threadIdx.x];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kLoads; ++i) sum += v[i];
  out[threadIdx.x] = sum;
}
template <int kLoads>
__global__ void stores_kernel(const float* in, float* out) {  // that the loads may not pass
#pragma unroll
  for (int i = 0; i < kLoads; ++i) out[32 * i + threadIdx.x] = in[32 * i + threadIdx.x] + 1.0f;
}

TEST_F(Latency, LoadsOverlapUnlessAStoreIsBetweenThem) {
  DeviceBuffer<float> in{std::vector<float>(32 * 9)}, out(32 * 9);
  const uint64_t one = clocks([&] { loads_kernel<1><<<1, 32>>>(in.data(), out.data()); });
  const uint64_t nine = clocks([&] { loads_kernel<9><<<1, 32>>>(in.data(), out.data()); });
  EXPECT_GE(one, kDram);
  EXPECT_EQ(nine - one, 8 * kArithmetic);
  const uint64_t store = clocks([&] { stores_kernel<1><<<1, 32>>>(in.data(), out.data()); });
  const uint64_t stores = clocks([&] { stores_kernel<9><<<1, 32>>>(in.data(), out.data()); });
  EXPECT_EQ(stores - store, 8 * (kDram + kArithmetic));
}

template <int kCount>
__global__ void barriers_kernel() {
#pragma unroll
  for (int i = 0; i < kCount; ++i) __syncthreads();
}

TEST_F(Latency, BarriersOfABlock) {
  for (const int warps : {1, 2, 8, 32}) {
    const uint64_t more =
        clocks([&] { barriers_kernel<24><<<1, 32 * warps>>>(); }) - clocks([&] { barriers_kernel<8><<<1, 32 * warps>>>(); });
    const auto arrivals = static_cast<uint64_t>(kBarrierWarp * warps);
    EXPECT_EQ(more, 16 * (1 + arrivals + kBarrier)) << warps << " warps";
  }
}

__global__ void straggler_kernel(float* out, int steps) {
  float v = 1;
  if (threadIdx.x / 32 == 3)
    for (int i = 0; i < steps; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
  __syncthreads();
  if (threadIdx.x / 32 == 0)
    for (int i = 0; i < steps; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
  out[threadIdx.x] = v;
}

// One warp's loop, then another's.
TEST_F(Latency, ABarrierWaitsForTheSlowestWarp) {
  DeviceBuffer<float> out(128);
  const uint64_t more = clocks([&] { straggler_kernel<<<1, 128>>>(out.data(), 2000); }) -
                        clocks([&] { straggler_kernel<<<1, 128>>>(out.data(), 1000); });
  EXPECT_GE(more, 2 * 1000 * kSpecial);
  EXPECT_LE(more, 2 * 1000 * (kSpecial + 2 * kArithmetic));
}

__global__ void grid_kernel(int syncs, float* out, int steps) {
  float v = 1;
  for (int i = 0; i < syncs; ++i) {
    if (blockIdx.x == static_cast<unsigned>(i) % gridDim.x)
      for (int k = 0; k < steps; ++k) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
    cooperative_groups::this_grid().sync();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = v;
}

WarploomCounters grid_counts(int blocks, int syncs, float* out, int steps) {
  return counted([&] {
    void* args[] = {&syncs, &out, &steps};
    EXPECT_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(&grid_kernel), blocks, 64, args, 0, nullptr));
  });
}

// A fence, an atomic beside a look: however often the host looks, and however many blocks there are.
TEST_F(Latency, BarriersOfAGrid) {
  DeviceBuffer<float> out(64);
  for (const int blocks : {2, 8, 64}) {
    const double each = static_cast<double>(grid_counts(blocks, 20, out.data(), 0).longest_chain -
                                            grid_counts(blocks, 4, out.data(), 0).longest_chain) /
                        16;
    EXPECT_GE(each, kFence + kL2 + kBarrier) << blocks;
    EXPECT_LE(each, kFence + 2 * (kL2 + kBarrier)) << blocks;
  }
  // Others do not wait for a block that comes late: its own clocks are all that is added.
  const WarploomCounters idle = grid_counts(8, 8, out.data(), 0), late = grid_counts(8, 8, out.data(), 1000);
  const double all = static_cast<double>(late.chain - idle.chain);
  EXPECT_GE(all, 8.0 * 999 * kSpecial);  // the last result is not waited for
  EXPECT_LE(all, 8.0 * 1000 * (kSpecial + 2 * kArithmetic));
}

// Warp 0 works, then warp 1 does, which has waited for it at an mbarrier: one look after the other, each of them the host's doing.
__global__ void mbarrier_kernel(float* out, int steps, int phases) {
  __shared__ alignas(8) unsigned long long barrier;
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(&barrier));
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(at));
  __syncthreads();
  float v = 1;
  for (int phase = 0; phase < phases; ++phase) {
    if (threadIdx.x / 32 == 0) {
      for (int i = 0; i < steps; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
      if (threadIdx.x == 0) asm volatile("{ .reg .b64 s; mbarrier.arrive.shared.b64 s, [%0]; }" ::"r"(at) : "memory");
    } else {
      unsigned done = 0;
      while (done == 0)
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(at), "r"(phase & 1)
                     : "memory");
      if (phase == phases - 1)
        for (int i = 0; i < steps; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
    }
    __syncthreads();
  }
  out[threadIdx.x] = v;
}

TEST_F(Latency, AnMbarrierEndsWithItsPhase) {
  DeviceBuffer<float> out(64);
  for (const int phases : {1, 2, 5}) {
    const uint64_t few = clocks([&] { mbarrier_kernel<<<1, 64>>>(out.data(), 1000, phases); });
    const uint64_t more = clocks([&] { mbarrier_kernel<<<1, 64>>>(out.data(), 3000, phases); });
    const uint64_t worked = static_cast<uint64_t>(phases + 1) * 2000;
    EXPECT_GE(more - few, worked * kSpecial) << phases;
    EXPECT_LE(more - few, worked * (kSpecial + 2 * kArithmetic)) << phases;
  }
}

template <int kWork>
__global__ void copy_kernel(const float4* in, float* out) {
  __shared__ float4 tile[32];
  __pipeline_memcpy_async(&tile[threadIdx.x], &in[threadIdx.x], sizeof(float4));
  __pipeline_commit();
  float v = threadIdx.x;
#pragma unroll
  for (int i = 0; i < kWork; ++i) asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(v));
  __pipeline_wait_prior(0);
  __syncwarp();
  out[threadIdx.x] = v + tile[threadIdx.x].x;
}

TEST_F(Latency, AnAsynchronousCopyIsWaitedForWhereItsGroupIs) {
  DeviceBuffer<float4> in{std::vector<float4>(32)};
  DeviceBuffer<float> out(32);
  const uint64_t none = clocks([&] { copy_kernel<0><<<1, 32>>>(in.data(), out.data()); });
  EXPECT_GE(none, kDram);
  EXPECT_LE(clocks([&] { copy_kernel<64><<<1, 32>>>(in.data(), out.data()); }), none + kArithmetic);
  EXPECT_GE(clocks([&] { copy_kernel<256><<<1, 32>>>(in.data(), out.data()); }), none + 256 * kArithmetic - kDram);
}

WarploomModelledTime modelled(const char* gpu = "a100") {
  WarploomModelledTime t = {};
  EXPECT_EQ(warploom_emulator_modelled("_kernel", gpu, &t), 1);
  return t;
}

TEST_F(Latency, BlocksThatAMultiprocessorCannotHoldAtOnceGoOneAfterTheOther) {
  DeviceBuffer<unsigned> out(32);
  const auto run = [&](int blocks, int threads) {
    clocks([&] { chase_kernel<kExp, 48><<<blocks, threads>>>(nullptr, out.data()); });
    return modelled().latency;
  };
  const double one = run(1, 32);
  EXPECT_DOUBLE_EQ(run(108, 32), one);
  EXPECT_DOUBLE_EQ(run(108 * 32, 32), one);  // 32 blocks at once
  EXPECT_DOUBLE_EQ(run(108 * 32 + 1, 32), 2 * one);
  EXPECT_NEAR(one, 48 * kSpecial / 1.41e9, 0.2 * one);
  const WarploomModelledTime t = modelled();
  EXPECT_GE(t.total, t.launch + t.latency + t.fetch);
}

// Straight-line code is fetched once a launch, whatever runs it how often.
TEST_F(Latency, CodeIsFetched) {
  DeviceBuffer<float> out(1024);
  const WarploomCounters few = counted([&] { fused_kernel<16, 8><<<1, 32>>>(out.data()); });
  const double fetch_few = modelled().fetch;
  for (const int blocks : {1, 50}) {
    const WarploomCounters many = counted([&] { fused_kernel<80, 8><<<blocks, 1024>>>(out.data()); });
    EXPECT_EQ(many.distinct_instructions - few.distinct_instructions, 64u * 8);
    EXPECT_NEAR(modelled().fetch - fetch_few, 64 * 8 * (17.8 - 4) / 1.41e9, 1e-12);
  }
  EXPECT_EQ(counted([&] {
              fused_kernel<16, 8><<<1, 32>>>(out.data());
              fused_kernel<16, 8><<<1, 32>>>(out.data());
            }).distinct_instructions,
            2 * few.distinct_instructions);
}

// What a multiprocessor's instruction cache (128 KiB, 16 bytes an instruction) still has from earlier launches is not fetched again.
TEST_F(Latency, CodeThatIsStillCachedIsNotFetched) {
  constexpr uint64_t kInCache = (128 << 10) / 16;
  DeviceBuffer<float> out(32);
  const auto fetched = [&](auto launch) {
    WarploomCounters before, after;
    warploom_emulator_counters("_kernel", &before);
    launch();
    EXPECT_CUDA(cudaDeviceSynchronize()) << warploom_emulator_report();
    EXPECT_GE(warploom_emulator_counters("_kernel", &after), 1);
    EXPECT_GT(after.distinct_instructions, before.distinct_instructions);
    return after.fetched_instructions - before.fetched_instructions;
  };
  const auto small = [&] { return fetched([&] { fused_kernel<80, 8><<<1, 32>>>(out.data()); }); };
  const auto medium = [&] { return fetched([&] { fused_kernel<120, 32><<<1, 32>>>(out.data()); }); };
  const auto large = [&] { return fetched([&] { fused_kernel<200, 32><<<1, 32>>>(out.data()); }); };
  const auto too_large = [&] { return fetched([&] { fused_kernel<300, 32><<<1, 32>>>(out.data()); }); };
  const uint64_t of_small = small();
  EXPECT_GE(of_small, 80u * 8);
  EXPECT_EQ(small(), 0u);
  const uint64_t of_medium = medium();
  EXPECT_EQ(small(), 0u);  // both fit
  EXPECT_EQ(medium(), 0u);
  const uint64_t of_large = large();
  ASSERT_LE(of_large + of_small, kInCache);
  ASSERT_GT(of_large + of_medium, kInCache);
  EXPECT_EQ(small(), of_small);  // the large and the medium one came after it
  EXPECT_EQ(large(), 0u);
  EXPECT_EQ(medium(), of_medium);
  EXPECT_EQ(large(), of_large);
  ASSERT_GT(too_large(), kInCache);
  EXPECT_GT(too_large(), kInCache);
  EXPECT_EQ(small(), of_small);
  warploom_emulator_reset_counters();
  EXPECT_EQ(small(), of_small);  // counters start with an empty cache
  EXPECT_NEAR(modelled().fetch, static_cast<double>(of_small) * (17.8 - 4) / 1.41e9, 1e-12);
  EXPECT_EQ(small(), 0u);
  EXPECT_NEAR(modelled().fetch, static_cast<double>(of_small) * (17.8 - 4) / 1.41e9, 1e-12);  // of both launches
}

template <int kRounds>
__global__ void branching_kernel(float* out, int all) {
  float v = 1;
  for (int i = 0; i < kRounds; ++i) asm volatile("fma.rn.f32 %0, %0, %0, %0;" : "+f"(v));
  if (all != 0) {
#pragma unroll
    for (int i = 0; i < 64; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
  }
  out[threadIdx.x] = v;
}

// Of a kernel that is cached only what its launches have run so far is there.
TEST_F(Latency, CodeThatNoLaunchHasRunIsFetched) {
  DeviceBuffer<float> out(32);
  const auto fetched = [&](std::initializer_list<int> all) {
    return counted([&] {
             for (const int a : all) branching_kernel<8><<<1, 32>>>(out.data(), a);
           })
        .fetched_instructions;
  };
  const uint64_t without = fetched({0}), with = fetched({1}), both = fetched({0, 1});
  EXPECT_GE(with, without + 60);
  EXPECT_EQ(fetched({0, 0}), without);
  EXPECT_GE(both, with);
  EXPECT_LT(both, with + without);
  EXPECT_EQ(fetched({0, 1, 0, 1}), both);
}

TEST_F(Latency, AGraphLaunchesFaster) {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  EXPECT_CUDA(cudaStreamCreate(&stream));
  EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int i = 0; i < 3; ++i) barriers_kernel<8><<<1, 32, 0, stream>>>();
  EXPECT_CUDA(cudaStreamEndCapture(stream, &graph));
  EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  const WarploomCounters c = counted([&] {
    barriers_kernel<8><<<1, 32, 0, stream>>>();
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
    EXPECT_CUDA(cudaGraphLaunch(executable, stream));
  });
  EXPECT_EQ(c.launches, 7u);
  EXPECT_EQ(c.graph_launches, 6u);
  EXPECT_DOUBLE_EQ(modelled().launch, 2.1e-6 + 6 * 1.3e-6);
  EXPECT_CUDA(cudaGraphExecDestroy(executable));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_CUDA(cudaStreamDestroy(stream));
}

}  // namespace
