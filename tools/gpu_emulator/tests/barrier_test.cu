// Barriers in shared memory: cuda::barrier and cuda::pipeline, which rest on mbarrier, and their misuse.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>

#include <cuda/barrier>
#include <cuda/pipeline>
#include <numeric>

#include "emulated_device.h"

namespace {

using Barrier = cuda::barrier<cuda::thread_scope_block>;

#pragma nv_diag_suppress static_var_with_dynamic_init

// Half of the threads fill a buffer, the others add it up, round after round.
__global__ void hand_over_kernel(int rounds, int* out) {
  __shared__ Barrier full, empty;
  __shared__ int buffer[64];
  const int t = threadIdx.x;
  if (t == 0) {
    init(&full, 128);
    init(&empty, 128);
  }
  __syncthreads();
  int sum = 0;
  for (int r = 0; r < rounds; ++r) {
    if (t < 64) {
      buffer[t] = r * 64 + t;
      (void)full.arrive();
      empty.arrive_and_wait();
    } else {
      full.arrive_and_wait();
      sum += buffer[127 - t];
      (void)empty.arrive();
    }
  }
  if (t >= 64) out[t - 64] = sum;
}
TEST(Barrier, ProducersAndConsumers) {
  const int rounds = 9;
  DeviceBuffer<int> out(64);
  hand_over_kernel<<<3, 128>>>(rounds, out.data());  // all blocks write the same
  const auto got = out.host();
  ASSERT_STREQ(warploom_emulator_report(), "");
  for (int i = 0; i < 64; ++i) EXPECT_EQ(got[i], 64 * rounds * (rounds - 1) / 2 + rounds * (63 - i)) << i;
}

// Threads that leave take part in no later phase.
__global__ void drop_kernel(int* out) {
  __shared__ Barrier barrier;
  __shared__ int count;
  if (threadIdx.x == 0) {
    init(&barrier, blockDim.x);
    count = 0;
  }
  __syncthreads();
  if (threadIdx.x >= 40) {
    barrier.arrive_and_drop();
    return;
  }
  barrier.arrive_and_wait();
  for (int r = 0; r < 3; ++r) {
    atomicAdd(&count, 1);
    barrier.arrive_and_wait();
    if (threadIdx.x == 0) out[r] = count;
    barrier.arrive_and_wait();
  }
}
TEST(Barrier, ArriveAndDrop) {
  DeviceBuffer<int> out(3);
  drop_kernel<<<1, 96>>>(out.data());
  EXPECT_EQ(out.host(), (std::vector<int>{40, 80, 120})) << warploom_emulator_report();
}

// Tiles come by asynchronous copies that a barrier counts.
__global__ void tiles_kernel(const int* in, int tiles, int* out) {
  namespace cg = cooperative_groups;
  __shared__ Barrier ready;
  __shared__ alignas(16) int tile[256];
  const auto block = cg::this_thread_block();
  if (threadIdx.x == 0) init(&ready, blockDim.x);
  block.sync();
  int sum = 0;
  for (int k = 0; k < tiles; ++k) {
    cuda::memcpy_async(block, tile, in + 256 * k, cuda::aligned_size_t<16>(sizeof tile), ready);
    ready.arrive_and_wait();
    sum += tile[255 - threadIdx.x];
    block.sync();
  }
  out[threadIdx.x] = sum;
}
__global__ void pipeline_kernel(const int* in, int tiles, int* out) {
  namespace cg = cooperative_groups;
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
  __shared__ alignas(16) int tile[2][256];
  const auto block = cg::this_thread_block();
  auto pipe = cuda::make_pipeline(block, &state);
  int sum = 0;
  for (int fetched = 0, k = 0; k < tiles; ++k) {
    for (; fetched < tiles && fetched < k + 2; ++fetched) {
      pipe.producer_acquire();
      cuda::memcpy_async(block, tile[fetched % 2], in + 256 * fetched, cuda::aligned_size_t<16>(sizeof tile[0]), pipe);
      pipe.producer_commit();
    }
    pipe.consumer_wait();
    sum += tile[k % 2][255 - threadIdx.x];
    pipe.consumer_release();
  }
  out[threadIdx.x] = sum;
}
TEST(Barrier, CountsAsynchronousCopies) {
  const int tiles = 5;
  std::vector<int> in(256 * tiles), expected(256);
  std::iota(in.begin(), in.end(), 3);
  for (int i = 0; i < 256 * tiles; ++i) expected[255 - i % 256] += in[i];
  DeviceBuffer<int> din(in), out(256);
  tiles_kernel<<<1, 256>>>(din.data(), tiles, out.data());
  EXPECT_EQ(out.host(), expected) << warploom_emulator_report();
  pipeline_kernel<<<1, 256>>>(din.data(), tiles, out.data());
  EXPECT_EQ(out.host(), expected) << warploom_emulator_report();
}

__global__ void misuse_kernel(int expected, bool initialised) {
  __shared__ alignas(8) uint64_t barrier;
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
  if (initialised && threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(expected));
  __syncthreads();
  uint64_t state;
  uint32_t done = 0;
  asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(state) : "r"(at));
  while (done == 0)
    asm volatile("{ .reg .pred p; mbarrier.test_wait.shared.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(at), "l"(state));
}
TEST(Barrier, Misuse) {
  misuse_kernel<<<1, 64>>>(64, true);
  EXPECT_CUDA(cudaDeviceSynchronize());
  misuse_kernel<<<1, 64>>>(64, false);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_NE(std::string(warploom_emulator_report()).find("uninitialised"), std::string::npos) << warploom_emulator_report();
  warploom_emulator_clear();
  warploom_emulator_watchdog(1 << 18);
  misuse_kernel<<<1, 64>>>(65, true);  // one arrival never comes
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchTimeout);
  warploom_emulator_clear();
  warploom_emulator_watchdog(4ull << 30);
}

}  // namespace
