// Every kind of fault that the sanitiser reports: a kernel with it planted, and a twin without.
#include <cuda_pipeline_primitives.h>

#include <cassert>
#include <cstdint>

#include "emulated_device.h"

namespace {

// After a launch: the planted twin must be reported with this text, and with this file's name; the clean one must pass.
void expect_fault(const char* text, cudaError_t error) {
  EXPECT_EQ(cudaDeviceSynchronize(), error);
  const std::string report = warploom_emulator_report();
  EXPECT_NE(report.find(text), std::string::npos) << report;
  EXPECT_NE(report.find("/sanitizer_test.cu:"), std::string::npos) << report;
  EXPECT_NE(report.find("_kernel"), std::string::npos) << report;
  warploom_emulator_clear();
}
void expect_clean() {
  EXPECT_CUDA(cudaDeviceSynchronize());
  EXPECT_STREQ(warploom_emulator_report(), "");
  warploom_emulator_clear();
}

__global__ void write_kernel(int* p, int n) {
  if (static_cast<int>(threadIdx.x) < n) p[threadIdx.x] = threadIdx.x;
}
TEST(Sanitizer, WriteOutOfBounds) {
  DeviceBuffer<int> p(40);
  write_kernel<<<1, 64>>>(p.data(), 41);
  expect_fault("out of bounds: write of 4 bytes", cudaErrorIllegalAddress);
  write_kernel<<<1, 64>>>(p.data(), 40);
  expect_clean();
}

__global__ void read_kernel(const int* p, const int* index, int* out) { out[threadIdx.x] = p[index[threadIdx.x]]; }
TEST(Sanitizer, ReadOutOfBounds) {
  std::vector<int> index(32);
  for (int i = 0; i < 32; ++i) index[i] = (i * 13) % 32;
  DeviceBuffer<int> p(std::vector<int>(32, 1)), out(32);
  {
    DeviceBuffer<int> good(index);
    read_kernel<<<1, 32>>>(p.data(), good.data(), out.data());
    expect_clean();
  }
  index[5] = -1;
  DeviceBuffer<int> bad(index);
  read_kernel<<<1, 32>>>(p.data(), bad.data(), out.data());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("thread (5,0,0)"), std::string::npos) << warploom_emulator_report();
  expect_fault("out of bounds: read of 4 bytes", cudaErrorIllegalAddress);
}

__global__ void shared_kernel(int* out, int last) {
  __shared__ int values[64];
  values[threadIdx.x + last - 63] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}
TEST(Sanitizer, SharedOutOfBounds) {
  DeviceBuffer<int> out(64);
  shared_kernel<<<1, 64>>>(out.data(), 64);
  expect_fault("out of bounds: write of 4 bytes", cudaErrorIllegalAddress);
  shared_kernel<<<1, 64>>>(out.data(), 63);
  expect_clean();
}

TEST(Sanitizer, UseAfterFree) {
  int *p, *out;
  EXPECT_CUDA(cudaMalloc(&p, 256));
  EXPECT_CUDA(cudaMalloc(&out, 256));
  write_kernel<<<1, 64>>>(p, 64);
  expect_clean();
  EXPECT_CUDA(cudaFree(p));
  write_kernel<<<1, 64>>>(p, 64);
  expect_fault("use after free: write of 4 bytes", cudaErrorIllegalAddress);
  EXPECT_CUDA(cudaFree(out));
}

__global__ void wide_kernel(const char* p, double* out) {
  out[threadIdx.x] = *reinterpret_cast<const double*>(p + 8 * threadIdx.x);
}
TEST(Sanitizer, Misaligned) {
  DeviceBuffer<char> p(std::vector<char>(400, 0));
  DeviceBuffer<double> out(32);
  wide_kernel<<<1, 32>>>(p.data() + 4, out.data());
  expect_fault("misaligned read of 8 bytes", cudaErrorMisalignedAddress);
  wide_kernel<<<1, 32>>>(p.data() + 8, out.data());
  expect_clean();
}

__global__ void copy_kernel(const int* p, int* out) { out[threadIdx.x] = p[threadIdx.x]; }
TEST(Sanitizer, UninitialisedGlobal) {
  DeviceBuffer<int> p(32), out(32);
  EXPECT_CUDA(cudaMemset(p.data(), 0, 31 * 4));
  copy_kernel<<<1, 32>>>(p.data(), out.data());
  expect_fault("uninitialised: read of 4 bytes", cudaErrorLaunchFailure);
  EXPECT_CUDA(cudaMemset(p.data(), 0, 32 * 4));
  copy_kernel<<<1, 32>>>(p.data(), out.data());
  expect_clean();
}

__global__ void uninitialised_shared_kernel(int* out, int written) {
  __shared__ int values[64];
  if (static_cast<int>(threadIdx.x) < written) values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}
TEST(Sanitizer, UninitialisedShared) {
  DeviceBuffer<int> out(64);
  uninitialised_shared_kernel<<<1, 64>>>(out.data(), 60);
  expect_fault("uninitialised: read of 4 bytes", cudaErrorLaunchFailure);
  uninitialised_shared_kernel<<<1, 64>>>(out.data(), 64);
  expect_clean();
}

// A pointer to what was on the stack of a function that has returned.
__device__ __noinline__ void escape(int value, const int** out) {
  volatile int values[4];
  for (int i = 0; i < 4; ++i) values[i] = value;
  *out = const_cast<const int*>(values);
}
__device__ __noinline__ int kept(const int* values) { return values[threadIdx.x % 4]; }
__global__ void escape_kernel(int* out, bool dangling) {
  const int values[4] = {1, 2, 3, static_cast<int>(threadIdx.x)};
  const int* chosen = values;
  if (dangling) escape(threadIdx.x, &chosen);
  out[threadIdx.x] = kept(chosen);
}
TEST(Sanitizer, StackOfAFunctionThatReturned) {
  DeviceBuffer<int> out(64);
  escape_kernel<<<1, 64>>>(out.data(), true);
  expect_fault("out of bounds: read of 4 bytes", cudaErrorIllegalAddress);
  escape_kernel<<<1, 64>>>(out.data(), false);
  expect_clean();
}

// What one call left on the stack is nothing to the next.
__device__ __noinline__ int table(bool fill, int at) {
  volatile int values[8];
  if (fill)
    for (int i = 0; i < 8; ++i) values[i] = at * i;
  return values[at];
}
__global__ void stack_kernel(int* out, bool fill) {
  out[threadIdx.x] = table(true, threadIdx.x % 8) + table(fill, threadIdx.x % 8);
}
TEST(Sanitizer, UninitialisedStackOfACalledFunction) {
  DeviceBuffer<int> out(64);
  stack_kernel<<<1, 64>>>(out.data(), false);
  expect_fault("uninitialised: read of 4 bytes", cudaErrorLaunchFailure);
  stack_kernel<<<1, 64>>>(out.data(), true);
  expect_clean();
}

__global__ void assert_kernel(int n) { assert(static_cast<int>(threadIdx.x) < n); }
TEST(Sanitizer, Assertion) {
  assert_kernel<<<1, 32>>>(31);
  expect_fault("assertion failed: static_cast<int>(threadIdx.x) < n", cudaErrorAssert);
  assert_kernel<<<1, 32>>>(32);
  expect_clean();
}

__global__ void trap_kernel(bool stop) {
  if (stop) __trap();
}
TEST(Sanitizer, Trap) {
  trap_kernel<<<1, 32>>>(true);
  expect_fault("trap", cudaErrorLaunchFailure);
  trap_kernel<<<1, 32>>>(false);
  expect_clean();
}

// A barrier for two warps that only one of them reaches.
__global__ void barrier_kernel(int reach) {
  if (static_cast<int>(threadIdx.x) < reach) asm volatile("bar.sync 1, 64;" ::: "memory");
}
TEST(Sanitizer, BarrierThatNotAllReach) {
  barrier_kernel<<<1, 64>>>(32);
  expect_fault("deadlock", cudaErrorLaunchFailure);
  barrier_kernel<<<1, 64>>>(64);
  expect_clean();
}

__global__ void exited_kernel(int* out, unsigned mask) {
  if (threadIdx.x >= 16) return;
  out[threadIdx.x] = __shfl_xor_sync(mask, threadIdx.x, 1);
}
TEST(Sanitizer, MaskWithExitedLanes) {
  DeviceBuffer<int> out(16);
  exited_kernel<<<1, 32>>>(out.data(), 0xffffffff);
  expect_fault("lanes that have exited", cudaErrorIllegalInstruction);
  exited_kernel<<<1, 32>>>(out.data(), 0xffff);
  expect_clean();
}

__global__ void part_kernel(int* out, int from) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffff, threadIdx.x, from);
}
TEST(Sanitizer, ShuffleFromALaneThatTakesNoPart) {
  DeviceBuffer<int> out(16);
  part_kernel<<<1, 32>>>(out.data(), 16);
  expect_fault("reads from lane 16, which takes no part", cudaErrorIllegalInstruction);
  part_kernel<<<1, 32>>>(out.data(), 15);
  expect_clean();
}

// Warps exchange values through shared memory; the second barrier keeps the next round's writes from this round's reads.
__global__ void rotate_kernel(int* out, int rounds, bool first, bool second) {
  __shared__ int values[128];
  int v = threadIdx.x;
  for (int r = 0; r < rounds; ++r) {
    values[threadIdx.x] = v;
    if (first) __syncthreads();
    v = values[(threadIdx.x + 40) % 128];
    if (second) __syncthreads();
  }
  out[threadIdx.x] = v;
}
TEST(Sanitizer, SharedReadAfterWriteRace) {
  DeviceBuffer<int> out(128);
  rotate_kernel<<<1, 128>>>(out.data(), 2, false, true);
  expect_fault("", cudaErrorLaunchFailure);  // a race, or, for the first warp, what nobody wrote yet
  rotate_kernel<<<1, 128>>>(out.data(), 2, true, true);
  expect_clean();
}
TEST(Sanitizer, SharedWriteAfterReadRace) {
  DeviceBuffer<int> out(128);
  rotate_kernel<<<1, 128>>>(out.data(), 2, true, false);
  expect_fault("race: write of the shared memory word", cudaErrorLaunchFailure);
  rotate_kernel<<<1, 128>>>(out.data(), 1, true, false);
  expect_clean();
}

__global__ void same_word_kernel(int* out, bool different) {
  __shared__ int flag;
  flag = different ? static_cast<int>(threadIdx.x / 32) : 7;
  __syncthreads();
  out[threadIdx.x] = flag;
}
TEST(Sanitizer, SharedWriteAfterWriteRace) {
  DeviceBuffer<int> out(64);
  same_word_kernel<<<1, 64>>>(out.data(), true);
  expect_fault("race: write of the shared memory word at offset 0", cudaErrorLaunchFailure);
  same_word_kernel<<<1, 64>>>(out.data(), false);
  expect_clean();
}

__global__ void within_warp_kernel(int* out, bool sync) {
  __shared__ int values[32];
  values[threadIdx.x] = threadIdx.x;
  if (sync) __syncwarp();
  out[threadIdx.x] = values[31 - threadIdx.x];
}
TEST(Sanitizer, RaceWithinAWarp) {
  DeviceBuffer<int> out(32);
  within_warp_kernel<<<1, 32>>>(out.data(), false);
  expect_fault("race: read of the shared memory word", cudaErrorLaunchFailure);
  within_warp_kernel<<<1, 32>>>(out.data(), true);
  expect_clean();
}

__global__ void shared_atomic_kernel(int* out, bool sync) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  atomicAdd(&count, 1);
  if (sync) __syncthreads();
  out[threadIdx.x] = count;
}
TEST(Sanitizer, ReadOfWhatAtomicsChange) {
  DeviceBuffer<int> out(64);
  shared_atomic_kernel<<<1, 64>>>(out.data(), false);
  expect_fault("race", cudaErrorLaunchFailure);
  shared_atomic_kernel<<<1, 64>>>(out.data(), true);
  expect_clean();
}

// Blocks exchange their parts of an array in one launch, with and without waiting for each other.
__global__ void exchange_kernel(int* p, int* out, int* arrived, bool wait) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
  p[i] = i;
  __syncthreads();
  if (wait && threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1);
    while (*reinterpret_cast<volatile int*>(arrived) < static_cast<int>(gridDim.x)) {
    }
    __threadfence();
  }
  __syncthreads();
  out[i] = p[n - 1 - i];
}
TEST(Sanitizer, RaceBetweenBlocks) {
  DeviceBuffer<int> p(std::vector<int>(256, 0)), out(256), arrived(std::vector<int>(1, 0));
  exchange_kernel<<<2, 128>>>(p.data(), out.data(), arrived.data(), false);
  expect_fault("race between blocks", cudaErrorLaunchFailure);
  exchange_kernel<<<2, 128>>>(p.data(), out.data(), arrived.data(), true);
  expect_clean();
}

// One block changes a word by atomics, another reads or writes it as if it were alone; or both by atomics.
enum class Beside { kRead, kWrite, kAtomic, kReadOfItsOwn };
__global__ void beside_atomics_kernel(int* p, int* out, Beside what) {
  if (blockIdx.x == 0 || what == Beside::kAtomic)
    atomicAdd(p, 1);
  else if (what == Beside::kRead)
    out[threadIdx.x] = *p;
  else if (what == Beside::kWrite)
    *p = -1;
  else
    out[threadIdx.x] = atomicAdd(p + 1, 1) + p[1];
}
TEST(Sanitizer, RaceBetweenBlocksWithAtomics) {
  for (const Beside what : {Beside::kRead, Beside::kWrite}) {
    DeviceBuffer<int> p(std::vector<int>(2, 0)), out(32);
    beside_atomics_kernel<<<2, 32>>>(p.data(), out.data(), what);
    expect_fault("race between blocks", cudaErrorLaunchFailure);
  }
  for (const Beside what : {Beside::kAtomic, Beside::kReadOfItsOwn}) {
    DeviceBuffer<int> p(std::vector<int>(2, 0)), out(32);
    beside_atomics_kernel<<<2, 32>>>(p.data(), out.data(), what);
    expect_clean();
    EXPECT_EQ(p.host()[0], what == Beside::kAtomic ? 64 : 32);
  }
}

// The block that arrives last sums what the others wrote: the counter must order that, which a relaxed one does not.
template <bool kOrders>
__global__ void last_block_kernel(int* parts, int* arrived, int* sum) {
  parts[blockIdx.x] = blockIdx.x;
  int before;
  if constexpr (kOrders)
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;" : "=r"(before) : "l"(arrived) : "memory");
  else
    asm volatile("atom.relaxed.gpu.global.add.s32 %0, [%1], 1;" : "=r"(before) : "l"(arrived) : "memory");
  if (before != static_cast<int>(gridDim.x) - 1) return;
  int total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) total += parts[i];
  *sum = total;
}
TEST(Sanitizer, AtomicsThatOrderBlocks) {
  DeviceBuffer<int> parts(8), arrived(std::vector<int>(1, 0)), sum(1);
  last_block_kernel<true><<<8, 1>>>(parts.data(), arrived.data(), sum.data());
  expect_clean();
  EXPECT_EQ(sum.host()[0], 28);
  EXPECT_CUDA(cudaMemset(arrived.data(), 0, sizeof(int)));
  last_block_kernel<false><<<8, 1>>>(parts.data(), arrived.data(), sum.data());
  expect_fault("race between blocks: read of a word that block", cudaErrorLaunchFailure);
}

// An instruction that the emulator lacks stops the launch and names itself.
__global__ void unsupported_kernel(uint32_t* out) {
  asm volatile("vadd4.u32.u32.u32 %0, %1, %1, %1;" : "=r"(out[0]) : "r"(threadIdx.x));
}
TEST(Sanitizer, UnsupportedInstructionNamesItself) {
  unsupported_kernel<<<1, 1>>>(nullptr);
  EXPECT_NE(cudaGetLastError(), cudaSuccess);
  const std::string report = warploom_emulator_report();
  EXPECT_NE(report.find("unsupported instruction 'vadd4.u32.u32.u32'"), std::string::npos) << report;
  EXPECT_NE(report.find("PTX line "), std::string::npos) << report;
  warploom_emulator_clear();
}

TEST(Sanitizer, CopyBeyondAnAllocation) {
  DeviceBuffer<int> p(10);
  int host[11] = {};
  EXPECT_EQ(cudaMemcpy(p.data(), host, sizeof host, cudaMemcpyHostToDevice), cudaErrorIllegalAddress);
  warploom_emulator_clear();
  EXPECT_CUDA(cudaMemcpy(p.data(), host, 40, cudaMemcpyHostToDevice));
}

// What cudaMemcpy brings from pageable memory arrives after the call: a stream that does not wait for the legacy one must be made to wait.
__global__ void arrival_kernel(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x]; }
TEST(Sanitizer, CopiesFromPageableMemoryArriveLate) {
  cudaStream_t stream, blocking;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaStreamCreate(&blocking));
  DeviceBuffer<int> to(32);
  const std::vector<int> host(32, 7);
  const auto read_in = [&](cudaStream_t reader, bool wait) {
    DeviceBuffer<int> from(32);
    EXPECT_CUDA(cudaMemcpy(from.data(), host.data(), 32 * sizeof(int), cudaMemcpyHostToDevice));
    if (wait) {
      EXPECT_CUDA(cudaStreamSynchronize(nullptr));
    }
    arrival_kernel<<<1, 32, 0, reader>>>(from.data(), to.data());
    return cudaStreamSynchronize(reader);
  };
  for (int i = 0; i < 20; ++i) {
    EXPECT_CUDA(read_in(stream, true));
    EXPECT_CUDA(read_in(blocking, false));
    EXPECT_CUDA(read_in(nullptr, false));
    EXPECT_EQ(to.host(), host);
  }
  int late = 0;
  for (int i = 0; i < 20; ++i) {
    late += read_in(stream, false) != cudaSuccess;
    warploom_emulator_clear();
  }
  EXPECT_GT(late, 0);
  EXPECT_CUDA(cudaStreamDestroy(stream));
  EXPECT_CUDA(cudaStreamDestroy(blocking));
}

// Memory that a stream allocates: another stream must wait for that point.
TEST(Sanitizer, StreamOrderedMemoryUsedByAnotherStream) {
  cudaStream_t first, second;
  cudaEvent_t allocated;
  EXPECT_CUDA(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  EXPECT_CUDA(cudaEventCreate(&allocated));
  for (const bool waits : {true, false}) {
    int caught = 0;
    for (int round = 0; round < 20; ++round) {  // the order is drawn: some go well
      int* p = nullptr;
      EXPECT_CUDA(cudaMallocAsync(&p, 64 * sizeof(int), first));
      EXPECT_CUDA(cudaEventRecord(allocated, first));
      if (waits) EXPECT_CUDA(cudaStreamWaitEvent(second, allocated, 0));
      write_kernel<<<1, 64, 0, second>>>(p, 64);
      if (cudaStreamSynchronize(second) != cudaSuccess) {
        ++caught;
        EXPECT_NE(std::string(warploom_emulator_report()).find("out of bounds: write"), std::string::npos);
        warploom_emulator_clear();
      }
      EXPECT_CUDA(cudaFreeAsync(p, first));
      EXPECT_CUDA(cudaStreamSynchronize(first));
    }
    EXPECT_EQ(caught > 0, !waits);
  }
  cudaEventDestroy(allocated);
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
}

// Four words by one instruction, of which the last was never written: an error only where it is used.
template <bool kUsesLast>
__global__ void padding_kernel(int* out) {
  __shared__ __align__(16) int v[4];
  const int t = threadIdx.x;
  if (t < 3) v[t] = t + 1;
  __syncthreads();
  int a, b, c, d;
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(v));
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(at));
  out[t] = a + b + c + (kUsesLast ? d : 0);
}
TEST(Sanitizer, PaddingThatAVectorReadsAlong) {
  DeviceBuffer<int> out(32);
  padding_kernel<false><<<1, 32>>>(out.data());
  expect_clean();
  EXPECT_EQ(out.host(), std::vector<int>(32, 6));
  padding_kernel<true><<<1, 32>>>(out.data());
  expect_fault("uninitialised: read of 16 bytes", cudaErrorLaunchFailure);
}

// A tile is fetched while the one before is summed; `newest`: groups that may still be under way at the sum.
template <int kNewest, bool kBarrier>
__global__ void pipeline_kernel(const int* in, int* out, int tiles) {
  __shared__ int tile[2][64];
  const int t = threadIdx.x;
  tile[0][t] = tile[1][t] = 0;
  __syncthreads();
  auto fetch = [&](int k) {
    if (k < tiles) __pipeline_memcpy_async(&tile[k % 2][t], &in[64 * k + t], sizeof(int));
    __pipeline_commit();
  };
  int sum = 0;
  fetch(0);
  for (int k = 0; k < tiles; ++k) {
    fetch(k + 1);
    __pipeline_wait_prior(kNewest);
    if (kBarrier) __syncthreads();
    sum += tile[k % 2][63 - t];
    __syncthreads();
  }
  out[t] = sum;
}
TEST(Sanitizer, AsynchronousCopyNotWaitedFor) {
  std::vector<int> in(64 * 10), expected(64);
  for (int i = 0; i < 640; ++i) in[i] = i * i, expected[63 - i % 64] += in[i];
  DeviceBuffer<int> din(in), out(64);
  pipeline_kernel<1, true><<<1, 64>>>(din.data(), out.data(), 10);
  expect_clean();
  EXPECT_EQ(out.host(), expected);
  pipeline_kernel<2, true><<<1, 64>>>(din.data(), out.data(), 10);  // one group too few
  expect_fault("not waited for: read of 4 bytes", cudaErrorLaunchFailure);
}
TEST(Sanitizer, AsynchronousCopyOfAnotherThreadNeedsABarrier) {
  DeviceBuffer<int> in(std::vector<int>(640)), out(64);
  pipeline_kernel<1, false><<<1, 64>>>(in.data(), out.data(), 10);
  expect_fault("race: ", cudaErrorLaunchFailure);
}

__global__ void overwritten_source_kernel(int* p, int* out, bool wait) {
  __shared__ int tile[32];
  const int t = threadIdx.x;
  __pipeline_memcpy_async(&tile[t], &p[t], sizeof(int));
  __pipeline_commit();
  if (wait) __pipeline_wait_prior(0);
  p[t] = 7;  // while the copy may still read
  __pipeline_wait_prior(0);
  out[t] = tile[t];
}
TEST(Sanitizer, AsynchronousCopyReadsItsSourceLate) {
  DeviceBuffer<int> p(std::vector<int>(32, 5)), out(32);
  overwritten_source_kernel<<<1, 32>>>(p.data(), out.data(), true);
  EXPECT_EQ(out.host(), std::vector<int>(32, 5));
  DeviceBuffer<int> q(std::vector<int>(32, 5));
  overwritten_source_kernel<<<1, 32>>>(q.data(), out.data(), false);
  EXPECT_EQ(out.host(), std::vector<int>(32, 7));
}

}  // namespace
