// What the language compiles to beyond arithmetic: virtual and indirect calls, jump tables, stacks, 128-bit integers, the
// heap, atomics of every kind, cooperative groups, cuda::atomic_ref.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <cuda/atomic>
#include <cuda/std/array>
#include <numeric>

#include "emulated_device.h"

namespace {

namespace cg = cooperative_groups;

template <class T>
std::vector<T> launched(int blocks, int threads, void (*kernel)(T*)) {
  DeviceBuffer<T> out(std::vector<T>(static_cast<size_t>(blocks) * threads));
  kernel<<<blocks, threads>>>(out.data());
  auto values = out.host();
  EXPECT_STREQ(warploom_emulator_report(), "");
  return values;
}

struct Shape {
  __device__ explicit Shape(int s) : size(s) {}
  __device__ virtual int area() const = 0;
  __device__ virtual ~Shape() {}
  int size;
};
struct Square : Shape {
  using Shape::Shape;
  __device__ int area() const override { return size * size; }
};
struct Strip : Shape {
  using Shape::Shape;
  __device__ int area() const override { return 10 * size; }
};
__global__ void virtual_kernel(int* out) {
  const int t = threadIdx.x;
  Square square(t);
  Strip strip(t);
  const Shape* shapes[] = {&square, &strip};
  out[t] = shapes[t % 3 == 0]->area();
}
TEST(Language, VirtualFunctions) {
  const auto got = launched<int>(1, 96, virtual_kernel);
  for (int t = 0; t < 96; ++t) EXPECT_EQ(got[t], t % 3 == 0 ? 10 * t : t * t);
}

__device__ __noinline__ int twice(int x) { return 2 * x; }
__device__ __noinline__ int negative(int x) { return -x; }
__device__ __noinline__ int successor(int x) { return x + 1; }
__device__ int (*const table[])(int) = {twice, negative, successor};
__global__ void pointer_kernel(int* out) {
  const int t = threadIdx.x;
  out[t] = table[t % 3](t);
}
TEST(Language, FunctionPointers) {
  const auto got = launched<int>(1, 64, pointer_kernel);
  for (int t = 0; t < 64; ++t) EXPECT_EQ(got[t], t % 3 == 0 ? 2 * t : t % 3 == 1 ? -t : t + 1);
}

// A function's dynamic shared memory is its kernel's, wherever that begins.
__device__ __noinline__ int* dynamic_slot(int i) {
  extern __shared__ int dynamic[];
  return dynamic + i;
}
template <int kStatic>
__global__ void dynamic_kernel(int* out) {
  __shared__ int fixed[kStatic];
  extern __shared__ int dynamic[];
  for (int i = threadIdx.x; i < kStatic; i += blockDim.x) fixed[i] = -1;
  *dynamic_slot(threadIdx.x) = threadIdx.x * kStatic;
  __syncthreads();
  const int other = blockDim.x - 1 - threadIdx.x;
  out[threadIdx.x] = dynamic[other] + fixed[other % kStatic] + 1;
}
TEST(Language, DynamicSharedMemoryInFunctions) {
  const auto check = [](auto kernel, int fixed) {
    DeviceBuffer<int> out(std::vector<int>(64));
    kernel<<<1, 64, 64 * sizeof(int)>>>(out.data());
    const auto got = out.host();
    EXPECT_STREQ(warploom_emulator_report(), "");
    for (int t = 0; t < 64; ++t) EXPECT_EQ(got[t], (63 - t) * fixed);
  };
  check(dynamic_kernel<3>, 3);
  check(dynamic_kernel<500>, 500);
}

template <class T>
__host__ __device__ T chosen(int which, T v) {
  switch (which) {
    case 0: return v * 3;
    case 1: return v + 17;
    case 2: return v ^ 0x55;
    case 3: return v << 2;
    case 4: return v / 3;
    case 5: return v % 7;
    case 6: return ~v;
    case 9: return v * v;
    default: return 0;
  }
}
__global__ void switch_kernel(unsigned* out) { out[threadIdx.x] = chosen<unsigned>(threadIdx.x % 12, threadIdx.x); }
TEST(Language, JumpTables) {
  const auto got = launched<unsigned>(1, 128, switch_kernel);
  for (unsigned t = 0; t < 128; ++t) EXPECT_EQ(got[t], chosen<unsigned>(t % 12, t)) << t;
}

__host__ __device__ unsigned stirred(unsigned seed) {
  unsigned a[40];
  for (unsigned i = 0; i < 40; ++i) a[i] = seed * (i + 1);
  for (unsigned i = 0; i < 200; ++i) a[(a[i % 40] + i) % 40] += a[(i * 7) % 40] ^ i;
  unsigned sum = 0;
  for (const unsigned v : a) sum = sum * 31 + v;
  return sum;
}
__global__ void stack_kernel(unsigned* out) { out[threadIdx.x] = stirred(threadIdx.x); }
TEST(Language, ArraysOnTheStack) {
  const auto got = launched<unsigned>(1, 64, stack_kernel);
  for (unsigned t = 0; t < 64; ++t) EXPECT_EQ(got[t], stirred(t));
}

__host__ __device__ uint64_t wide(uint64_t t) {
  unsigned __int128 v = (static_cast<unsigned __int128>(t * 0x9e3779b97f4a7c15) << 37) + 12345;
  v = v * (v >> 3) + t;
  const unsigned __int128 q = v / (1000003 + t), r = v % (1000003 + t);
  return static_cast<uint64_t>(q >> 64) ^ static_cast<uint64_t>(q) ^ static_cast<uint64_t>(r) ^ static_cast<uint64_t>(v > q);
}
__global__ void wide_kernel(uint64_t* out) { out[threadIdx.x] = wide(threadIdx.x); }
TEST(Language, Integers128) {
  const auto got = launched<uint64_t>(1, 64, wide_kernel);
  for (uint64_t t = 0; t < 64; ++t) EXPECT_EQ(got[t], wide(t));
}

__global__ void heap_kernel(int* out) {
  const int t = threadIdx.x;
  int* p = static_cast<int*>(malloc((t + 1) * sizeof(int)));
  int* q = new int[8];
  for (int i = 0; i <= t; ++i) p[i] = i;
  for (int i = 0; i < 8; ++i) q[i] = t;
  int sum = 0;
  for (int i = 0; i <= t; ++i) sum += p[i];
  for (int i = 0; i < 8; ++i) sum += q[i];
  free(p);
  delete[] q;
  out[t] = sum;
}
TEST(Language, TheHeap) {
  const auto got = launched<int>(1, 40, heap_kernel);
  for (int t = 0; t < 40; ++t) EXPECT_EQ(got[t], t * (t + 1) / 2 + 8 * t);
}

__global__ void bad_free_kernel(int* p) {
  if (threadIdx.x == 3) free(p + 1);
}
TEST(Language, TheHeapRefusesWhatItDidNotGive) {
  DeviceBuffer<int> p(4);
  bad_free_kernel<<<1, 32>>>(p.data());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("free of what is not allocated"), std::string::npos);
  warploom_emulator_clear();
}

struct Cells {
  int add, sub, least, most, both, either, parity, last, wrapped;
  unsigned least_unsigned;
  unsigned long long wide, wide_most;
  float sum;
  double wide_sum;
  __half half_sum;
  __nv_bfloat16 bfloat_sum;
  __half2 pair_sum;
  unsigned short tickets;
};
__global__ void atomics_kernel(Cells* c) {
  const int t = threadIdx.x + blockIdx.x * blockDim.x;
  atomicAdd(&c->add, t);
  atomicSub(&c->sub, t);
  atomicMin(&c->least, -t);
  atomicMax(&c->most, t);
  atomicMin(&c->least_unsigned, 1000u - t);
  atomicAnd(&c->both, ~(1 << (t % 8)));
  atomicOr(&c->either, 1 << (t % 8 + 8));
  atomicXor(&c->parity, t);
  atomicExch(&c->last, 77);
  atomicInc(reinterpret_cast<unsigned*>(&c->wrapped), 9);
  atomicAdd(&c->wide, 1ull << 33);
  atomicMax(&c->wide_most, static_cast<unsigned long long>(t) << 34);
  atomicAdd(&c->sum, 0.5f);
  atomicAdd(&c->wide_sum, 0.25);
  atomicAdd(&c->half_sum, __half(0.25f));
  atomicAdd(&c->bfloat_sum, __nv_bfloat16(1.0f));
  atomicAdd(&c->pair_sum, __half2(__half(0.5f), __half(1.0f)));
  unsigned short seen = c->tickets == 0 ? 0 : 1, before;
  do {
    before = seen;
    seen = atomicCAS(&c->tickets, before, static_cast<unsigned short>(before + 1));
  } while (seen != before);
}
TEST(Language, Atomics) {
  constexpr int kThreads = 64, kBlocks = 3, n = kThreads * kBlocks;
  Cells start = {};
  start.both = 0xff;
  start.least_unsigned = 5000;
  DeviceBuffer<Cells> cells(std::vector<Cells>{start});
  atomics_kernel<<<kBlocks, kThreads>>>(cells.data());
  const Cells c = cells.host()[0];
  ASSERT_STREQ(warploom_emulator_report(), "");
  int parity = 0;
  for (int t = 0; t < n; ++t) parity ^= t;
  EXPECT_EQ(c.add, n * (n - 1) / 2);
  EXPECT_EQ(c.sub, -n * (n - 1) / 2);
  EXPECT_EQ(c.least, 1 - n);
  EXPECT_EQ(c.most, n - 1);
  EXPECT_EQ(c.least_unsigned, 1001u - n);
  EXPECT_EQ(c.both, 0);
  EXPECT_EQ(c.either, 0xff00);
  EXPECT_EQ(c.parity, parity);
  EXPECT_EQ(c.last, 77);
  EXPECT_EQ(c.wrapped, n % 10);
  EXPECT_EQ(c.wide, static_cast<unsigned long long>(n) << 33);
  EXPECT_EQ(c.wide_most, static_cast<unsigned long long>(n - 1) << 34);
  EXPECT_EQ(c.sum, n / 2.0f);
  EXPECT_EQ(c.wide_sum, n / 4.0);
  EXPECT_EQ(static_cast<float>(c.half_sum), n / 4.0f);
  EXPECT_EQ(static_cast<float>(c.bfloat_sum), static_cast<float>(n));
  EXPECT_EQ(static_cast<float>(c.pair_sum.x), n / 2.0f);
  EXPECT_EQ(static_cast<float>(c.pair_sum.y), static_cast<float>(n));
  EXPECT_EQ(c.tickets, n);
}

__global__ void groups_kernel(int* out) {
  const auto block = cg::this_thread_block();
  const auto warp = cg::tiled_partition<32>(block);
  const auto tile = cg::tiled_partition<8>(warp);
  const int t = threadIdx.x;
  int r = cg::reduce(tile, t, cg::plus<int>());
  r = 1000 * r + cg::inclusive_scan(tile, 1);
  if (t % 3 == 0) {
    const auto some = cg::coalesced_threads();
    r += 100000 * static_cast<int>(some.size()) + static_cast<int>(some.thread_rank());
    r += some.shfl(t, 0);
  }
  const auto label = cg::labeled_partition(warp, t % 4);
  r += cg::reduce(label, 1, cg::plus<int>()) << 24;
  r ^= warp.any(t == 37) ? 1 << 30 : 0;
  out[t] = r;
}
TEST(Language, CooperativeGroups) {
  const auto got = launched<int>(1, 64, groups_kernel);
  for (int t = 0; t < 64; ++t) {
    const int first = t / 8 * 8, warp = t / 32 * 32;
    int r = 1000 * (8 * first + 28) + t % 8 + 1;
    if (t % 3 == 0) {
      int size = 0, rank = 0, leader = -1;
      for (int i = warp; i < warp + 32; ++i)
        if (i % 3 == 0) leader = leader < 0 ? i : leader, rank += i < t, ++size;
      r += 100000 * size + rank + leader;
    }
    r += 8 << 24;
    r ^= warp == 32 ? 1 << 30 : 0;
    EXPECT_EQ(got[t], r) << t;
  }
}

__global__ void reference_kernel(int* p, int* out) {
  cuda::atomic_ref<int, cuda::thread_scope_device> counter(p[0]);
  cuda::atomic_ref<int, cuda::thread_scope_block> most(p[1 + blockIdx.x]);
  counter.fetch_add(2, cuda::memory_order_relaxed);
  most.fetch_max(static_cast<int>(threadIdx.x), cuda::memory_order_acq_rel);
  int expected = 5;
  cuda::atomic_ref<int, cuda::thread_scope_system> flag(p[4]);
  if (flag.compare_exchange_strong(expected, 6, cuda::memory_order_seq_cst))
    out[0] = blockIdx.x * blockDim.x + threadIdx.x + 1;
  cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_device);
}
TEST(Language, AtomicReferences) {
  DeviceBuffer<int> p(std::vector<int>{0, 0, 0, 0, 5}), out(std::vector<int>(1));
  reference_kernel<<<3, 64>>>(p.data(), out.data());
  EXPECT_EQ(p.host(), (std::vector<int>{384, 63, 63, 63, 6})) << warploom_emulator_report();
  EXPECT_GT(out.host()[0], 0);
}

__global__ void lanes_kernel(uint64_t* out) {
  const unsigned t = threadIdx.x, all = 0xffffffff;
  const uint64_t wide = __shfl_xor_sync(all, uint64_t{t} << 40 | t, 5);
  const double d = __shfl_down_sync(all, t * 0.5, 3, 16);
  int matched;
  const unsigned same = __match_any_sync(all, t % 5), every = __match_all_sync(all, t / 64, &matched);
  const unsigned sum = __reduce_add_sync(all, t), most = __reduce_max_sync(all, t ^ 21),
                 bits = __reduce_xor_sync(all, t * 3);
  out[t] = wide + static_cast<uint64_t>(d * 2) * 3 + same * 5ull + every * 7ull + sum * 11ull + most * 13ull + bits * 17ull +
           __ballot_sync(all, t % 2) * 19ull + (__all_sync(all, t < 32) ? 23 : 0) + __popc(__activemask()) * 29ull;
}
TEST(Language, LaneExchange) {
  const auto got = launched<uint64_t>(1, 32, lanes_kernel);
  uint64_t sum = 0, most = 0, bits = 0;
  for (unsigned t = 0; t < 32; ++t) sum += t, most = std::max<uint64_t>(most, t ^ 21), bits ^= t * 3;
  for (unsigned t = 0; t < 32; ++t) {
    const unsigned from = t % 16 + 3 < 16 ? t + 3 : t, other = t ^ 5;
    uint64_t same = 0;
    for (unsigned i = 0; i < 32; ++i) same |= uint64_t{i % 5 == t % 5} << i;
    const uint64_t expected = (uint64_t{other} << 40 | other) + uint64_t{from} * 3 + same * 5 + 0xffffffffull * 7 +
                              sum * 11 + most * 13 + bits * 17 + 0xaaaaaaaaull * 19 + 23 + 32 * 29;
    EXPECT_EQ(got[t], expected) << t;
  }
}

}  // namespace
