// Counts and modelled times depend on the launch alone: neither on the number of host threads, nor on who is first among them.
#include <cooperative_groups.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <random>

#include "emulated_device.h"

namespace {

class Turns : public testing::Test {
 protected:
  void SetUp() override { warploom_emulator_count(1); }
  void TearDown() override {
    warploom_emulator_count(0);
    warploom_emulator_threads(0);
  }
};

struct Counted {
  WarploomCounters counts;
  WarploomModelledTime time;
};
template <class F>
Counted counted(F launch) {
  Counted c = {};
  warploom_emulator_reset_counters();
  launch();
  EXPECT_CUDA(cudaDeviceSynchronize()) << warploom_emulator_report();
  EXPECT_GT(warploom_emulator_counters("", &c.counts), 0);
  EXPECT_GT(warploom_emulator_modelled("", "h100", &c.time), 0);
  return c;
}

template <class F>
void expect_the_same_on_any_threads(F launch) {
  warploom_emulator_threads(1);
  const Counted one = counted(launch);
  for (const int threads : {1, 2, 2, 3, 4, 8, 8, 16}) {
    SCOPED_TRACE(testing::Message() << threads << " host threads");
    warploom_emulator_threads(threads);
    const Counted many = counted(launch);
    EXPECT_EQ(many.time.total, one.time.total);
    EXPECT_EQ(many.time.latency, one.time.latency);
    EXPECT_EQ(many.counts.chain, one.counts.chain);
    EXPECT_EQ(many.counts.sectors_read, one.counts.sectors_read);
    EXPECT_EQ(memcmp(&many.counts, &one.counts, sizeof one.counts), 0);
  }
}

// Decoupled look-back: each tile waits for the sums of those before it.
TEST_F(Turns, AScanThatLooksBack) {
  constexpr int kSize = 300'000;
  DeviceBuffer<int> in(std::vector<int>(kSize, 1)), out(kSize);
  size_t bytes = 0;
  EXPECT_CUDA(cub::DeviceScan::InclusiveSum(nullptr, bytes, in.data(), out.data(), kSize));
  DeviceBuffer<char> memory(bytes);
  expect_the_same_on_any_threads(
      [&] { EXPECT_CUDA(cub::DeviceScan::InclusiveSum(memory.data(), bytes, in.data(), out.data(), kSize)); });
  EXPECT_EQ(out.host().back(), kSize);
}

TEST_F(Turns, ARadixSort) {
  constexpr int kSize = 100'000;
  std::mt19937 random(1);
  std::vector<unsigned> keys(kSize);
  for (unsigned& k : keys) k = random();
  DeviceBuffer<unsigned> in(keys), out(kSize);
  size_t bytes = 0;
  EXPECT_CUDA(cub::DeviceRadixSort::SortKeys(nullptr, bytes, in.data(), out.data(), kSize));
  DeviceBuffer<char> memory(bytes);
  expect_the_same_on_any_threads(
      [&] { EXPECT_CUDA(cub::DeviceRadixSort::SortKeys(memory.data(), bytes, in.data(), out.data(), kSize)); });
}

// Splits of a sum of rows: the block that comes last adds up what the others have written. Every other block has more to do than the next
// one, which may overtake it.
__global__ void split_kernel(const float* in, int columns, float* parts, unsigned* arrived, float* out) {
  __shared__ unsigned before;
  const int row = blockIdx.y, split = blockIdx.x, splits = gridDim.x;
  float sum = 0;
  for (int repeat = 0; repeat <= split % 2 * 20; ++repeat)
    for (int c = split * 32 + threadIdx.x; c < columns; c += 32 * splits) sum += in[row * columns + c];
  parts[(row * splits + split) * 32 + threadIdx.x] = sum;
  __threadfence();
  if (threadIdx.x == 0) before = atomicInc(&arrived[row], splits - 1);
  __syncthreads();
  if (before != splits - 1) return;
  __threadfence();
  float all = 0;
  for (int s = 0; s < splits; ++s) all += parts[(row * splits + s) * 32 + threadIdx.x];
  out[row * 32 + threadIdx.x] = all;
}

TEST_F(Turns, SplitsOfAProductWhoseLastBlockAddsUp) {
  constexpr int kRows = 37, kSplits = 9, kColumns = 4096;
  DeviceBuffer<float> in(std::vector<float>(kRows * kColumns, 1)), parts(kRows * kSplits * 32), out(kRows * 32);
  DeviceBuffer<unsigned> arrived(std::vector<unsigned>(kRows, 0));
  expect_the_same_on_any_threads(
      [&] { split_kernel<<<dim3(kSplits, kRows), 32>>>(in.data(), kColumns, parts.data(), arrived.data(), out.data()); });
}

// The barriers of a grid whose blocks are late in turn.
__global__ void late_kernel(int syncs, int steps, float* out) {
  float v = 1;
  for (int i = 0; i < syncs; ++i) {
    if (blockIdx.x == static_cast<unsigned>(7 * i) % gridDim.x)
      for (int k = 0; k < steps; ++k) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
    cooperative_groups::this_grid().sync();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = v;
}

TEST_F(Turns, AGridThatMeets) {
  DeviceBuffer<float> out(24);
  expect_the_same_on_any_threads([&] {
    int syncs = 12, steps = 3000;
    float* to = out.data();
    void* args[] = {&syncs, &steps, &to};
    EXPECT_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(&late_kernel), 24, 64, args, 0, nullptr));
  });
}

// Which block takes which ticket, and then works by it.
__global__ void tickets_kernel(unsigned* ticket, unsigned tickets, float* out) {
  __shared__ unsigned mine;
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) mine = atomicAdd(ticket, 1);
    __syncthreads();
    if (mine >= tickets) return;
    float v = 1;
    for (unsigned k = 0; k < 40 * (mine % 13); ++k) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
    out[mine * 32 + threadIdx.x] = v;
  }
}

TEST_F(Turns, BlocksThatTakeTickets) {
  constexpr unsigned kTickets = 300;
  DeviceBuffer<float> out(kTickets * 32);
  DeviceBuffer<unsigned> ticket(1);
  expect_the_same_on_any_threads([&] {
    EXPECT_CUDA(cudaMemset(ticket.data(), 0, 4));
    tickets_kernel<<<20, 32>>>(ticket.data(), kTickets, out.data());
  });
}

// Blocks that see nothing of each other. Each load waits for the one before; who brings a sector to L2 is the host's doing.
constexpr unsigned kSectorRows = 2048;
__global__ void shared_input_kernel(const unsigned* zeros, unsigned* out) {
  unsigned v = 0;
  for (unsigned i = 0; i < kSectorRows; ++i) v = zeros[32 * ((i + 700 * blockIdx.x) % kSectorRows) + v + threadIdx.x];
  out[blockIdx.x * 32 + threadIdx.x] = v;
}

TEST_F(Turns, BlocksThatReadTheSame) {
  DeviceBuffer<unsigned> zeros(std::vector<unsigned>(kSectorRows * 32, 0)), out(10 * 32);
  expect_the_same_on_any_threads([&] { shared_input_kernel<<<10, 32>>>(zeros.data(), out.data()); });
}

enum class Wait { kNone, kSpins, kSleeps };
template <Wait kWait>
__global__ void wait_kernel(volatile unsigned* flag, int steps, float* out) {
  float v = 1;
  if (blockIdx.x == 0) {
    if (kWait == Wait::kSpins)
      while (*flag == 0) continue;
    if (kWait == Wait::kSleeps)
      while (*flag == 0) __nanosleep(20);
  } else {
    for (int i = 0; i < steps; ++i) asm volatile("ex2.approx.f32 %0, %0;" : "+f"(v));
    __threadfence();
    *flag = 1;
  }
  out[blockIdx.x * 32 + threadIdx.x] = v;
}

template <Wait kWait>
WarploomCounters wait_counts(int steps, float* out) {
  DeviceBuffer<unsigned> flag(std::vector<unsigned>(1, 0));
  return counted([&] { wait_kernel<kWait><<<2, 32>>>(flag.data(), steps, out); }).counts;
}
template <Wait kWait>
void expect_looks(uint64_t looks, float* out) {
  constexpr uint64_t kL2 = 262, kAround = 50;
  const WarploomCounters short_wait = wait_counts<kWait>(5'000, out), long_wait = wait_counts<kWait>(100'000, out);
  const WarploomCounters short_none = wait_counts<Wait::kNone>(5'000, out),
                         long_none = wait_counts<Wait::kNone>(100'000, out);
  for (int k = 0; k < kWarploomInstructionClasses; ++k) {
    EXPECT_EQ(long_wait.warp_instructions[k] - short_wait.warp_instructions[k],
              long_none.warp_instructions[k] - short_none.warp_instructions[k])
        << "class " << k;
    EXPECT_LE(short_wait.warp_instructions[k], short_none.warp_instructions[k] + 4 * looks) << "class " << k;
  }
  EXPECT_EQ(long_wait.chain - short_wait.chain, long_none.chain - short_none.chain);
  EXPECT_EQ(long_wait.sectors_read, long_none.sectors_read + looks);
  EXPECT_GE(long_wait.chain - long_none.chain, looks * kL2);
  EXPECT_LE(long_wait.chain - long_none.chain, looks * (kL2 + kAround));
}

// However long it is. nvcc puts a look before the second loop.
TEST_F(Turns, AWaitForAnotherBlockCostsALook) {
  DeviceBuffer<float> out(64);
  for (const int threads : {1, 2}) {
    SCOPED_TRACE(threads);
    warploom_emulator_threads(threads);
    expect_looks<Wait::kSpins>(1, out.data());
    expect_looks<Wait::kSleeps>(2, out.data());
  }
}

// A loop that stores, or looks elsewhere, is no wait.
template <bool kStores, int kStride>
__global__ void look_kernel(volatile unsigned* in, int rounds, unsigned* out) {
  unsigned sum = 0;
#pragma unroll 1
  for (int i = 0; i < rounds; ++i) {
    sum += in[kStride * i];
    if (kStores) out[threadIdx.x] = sum;
  }
  out[threadIdx.x] = sum;
}
TEST_F(Turns, OtherLoopsCountInFull) {
  DeviceBuffer<unsigned> in(std::vector<unsigned>(8 * 200, 0)), out(32);
  const uint64_t poll = counted([&] { look_kernel<false, 0><<<1, 32>>>(in.data(), 200, out.data()); }).counts.sectors_read;
  const uint64_t store = counted([&] { look_kernel<true, 0><<<1, 32>>>(in.data(), 200, out.data()); }).counts.sectors_read;
  const uint64_t walk = counted([&] { look_kernel<false, 8><<<1, 32>>>(in.data(), 200, out.data()); }).counts.sectors_read;
  EXPECT_EQ(poll, 1u);
  EXPECT_EQ(store, 200u);
  EXPECT_EQ(walk, 200u);
}

// A fault while blocks wait for their turns ends the launch.
__global__ void fault_kernel(unsigned* word, unsigned* nothing) {
  atomicAdd(word, 1);
  if (blockIdx.x == 5) *nothing = 1;
  while (*static_cast<volatile unsigned*>(word) < gridDim.x) continue;
}
TEST_F(Turns, EndWithAFault) {
  for (const int threads : {1, 2, 8}) {
    DeviceBuffer<unsigned> word(std::vector<unsigned>(1, 0));
    warploom_emulator_threads(threads);
    fault_kernel<<<64, 1>>>(word.data(), nullptr);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_NE(std::string(warploom_emulator_report()).find("fault_kernel"), std::string::npos);
    warploom_emulator_clear();
  }
}

}  // namespace
