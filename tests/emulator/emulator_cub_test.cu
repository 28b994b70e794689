// CUB's device-wide algorithms against the standard library, over odd sizes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cub/cub.cuh>
#include <numeric>
#include <random>

#include "emulated_device.h"

namespace {

const size_t kSizes[] = {0, 1, 2, 31, 33, 1000, 4097, 70001};

template <class T>
std::vector<T> random_values(size_t n, uint64_t seed, uint64_t mask = ~0ull) {
  std::mt19937_64 random(seed);
  std::vector<T> values(n);
  for (T& v : values) {
    if constexpr (std::is_floating_point_v<T>)
      v = static_cast<T>(static_cast<int64_t>(random()) >> 40);
    else
      v = static_cast<T>(random() & mask);
  }
  return values;
}

// Calls a CUB algorithm twice: for its scratch size, then in earnest.
template <class F>
void run(F f) {
  size_t bytes = 0;
  ASSERT_EQ(f(nullptr, bytes), cudaSuccess);
  DeviceBuffer<char> scratch(bytes + 1);
  ASSERT_EQ(f(scratch.data(), bytes), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << warploom_emulator_report();
}

template <class T>
class Cub : public testing::Test {};
using Types = testing::Types<int, uint64_t, float>;
TYPED_TEST_SUITE(Cub, Types);

TYPED_TEST(Cub, RadixSortPairs) {
  using T = TypeParam;
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    const auto keys = random_values<T>(n, n + 1, 0xffff00ff00ff);
    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    DeviceBuffer<T> k(keys), k_out(n);
    DeviceBuffer<uint32_t> v(order), v_out(n);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceRadixSort::SortPairsDescending(p, bytes, k.data(), k_out.data(), v.data(), v_out.data(),
                                                       static_cast<int>(n));
    });
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return keys[a] > keys[b]; });
    EXPECT_EQ(v_out.host(), order);
  }
}

TYPED_TEST(Cub, Scan) {
  using T = TypeParam;
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    auto values = random_values<T>(n, n + 2, 0xffff);
    if constexpr (std::is_floating_point_v<T>)
      for (T& v : values) v = std::fmod(v, T{16});  // sums stay exact
    DeviceBuffer<T> in(values), out(n);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceScan::InclusiveSum(p, bytes, in.data(), out.data(), static_cast<int>(n));
    });
    std::vector<T> expected(n);
    std::inclusive_scan(values.begin(), values.end(), expected.begin());
    EXPECT_EQ(out.host(), expected);
  }
}

TYPED_TEST(Cub, Reduce) {
  using T = TypeParam;
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    auto values = random_values<T>(n, n + 3, 0xffff);
    if constexpr (std::is_floating_point_v<T>)
      for (T& v : values) v = std::fmod(v, T{16});
    DeviceBuffer<T> in(values), out(1);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceReduce::Sum(p, bytes, in.data(), out.data(), static_cast<int>(n));
    });
    EXPECT_EQ(out.host()[0], std::accumulate(values.begin(), values.end(), T{}));
    if (n == 0) continue;
    run([&](void* p, size_t& bytes) {
      return cub::DeviceReduce::Max(p, bytes, in.data(), out.data(), static_cast<int>(n));
    });
    EXPECT_EQ(out.host()[0], *std::max_element(values.begin(), values.end()));
  }
}

TYPED_TEST(Cub, SelectIf) {
  using T = TypeParam;
  const auto keep = [](T v) { return static_cast<int64_t>(v) % 3 == 0; };
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    const auto values = random_values<T>(n, n + 4, 0xffffff);
    std::vector<int> flags(n);
    for (size_t i = 0; i < n; ++i) flags[i] = keep(values[i]);
    DeviceBuffer<T> in(values), out(n);
    DeviceBuffer<int> flag(flags), count(1);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceSelect::Flagged(p, bytes, in.data(), flag.data(), out.data(), count.data(), static_cast<int>(n));
    });
    std::vector<T> expected;
    std::copy_if(values.begin(), values.end(), std::back_inserter(expected), keep);
    ASSERT_EQ(count.host()[0], static_cast<int>(expected.size()));
    std::vector<T> got(expected.size());
    EXPECT_CUDA(cudaMemcpy(got.data(), out.data(), got.size() * sizeof(T), cudaMemcpyDeviceToHost));
    EXPECT_EQ(got, expected);
  }
}

TEST(CubLarge, RadixSortKeys) {
  const size_t n = (1 << 20) + 1;
  auto keys = random_values<float>(n, 8);
  DeviceBuffer<float> in(keys), out(n);
  run([&](void* p, size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(p, bytes, in.data(), out.data(), static_cast<int>(n));
  });
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(out.host(), keys);
}

TEST(CubHistogram, EvenBins) {
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    const auto values = random_values<int>(n, n + 5, 0x3ff);
    DeviceBuffer<int> in(values), bins(100);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceHistogram::HistogramEven(p, bytes, in.data(), bins.data(), 101, 0, 1000, static_cast<int>(n));
    });
    std::vector<int> expected(100);
    for (const int v : values)
      if (v < 1000) ++expected[v / 10];
    EXPECT_EQ(bins.host(), expected);
  }
}

TEST(CubSegmented, RadixSortKeys) {
  const size_t n = 20000;
  const auto values = random_values<float>(n, 6);
  const std::vector<int> ends{0, 0, 1, 100, 5000, 5000, 12345, 20000};
  DeviceBuffer<float> in(values), out(n);
  DeviceBuffer<int> offsets(ends);
  run([&](void* p, size_t& bytes) {
    return cub::DeviceSegmentedRadixSort::SortKeys(p, bytes, in.data(), out.data(), static_cast<int>(n),
                                                   static_cast<int>(ends.size()) - 1, offsets.data(), offsets.data() + 1);
  });
  auto expected = values;
  for (size_t i = 0; i + 1 < ends.size(); ++i) std::sort(expected.begin() + ends[i], expected.begin() + ends[i + 1]);
  EXPECT_EQ(out.host(), expected);
}

template <int kThreads, int kItems>
__global__ void block_kernel(const float* in, float* sorted, int* ranks) {
  using Load = cub::BlockLoad<float, kThreads, kItems, cub::BLOCK_LOAD_TRANSPOSE>;
  using Sort = cub::BlockRadixSort<float, kThreads, kItems>;
  using Store = cub::BlockStore<float, kThreads, kItems, cub::BLOCK_STORE_WARP_TRANSPOSE>;
  using Scan = cub::BlockScan<int, kThreads>;
  __shared__ union {
    typename Load::TempStorage load;
    typename Sort::TempStorage sort;
    typename Store::TempStorage store;
    typename Scan::TempStorage scan;
  } shared;
  float v[kItems];
  const size_t first = static_cast<size_t>(blockIdx.x) * kThreads * kItems;
  Load(shared.load).Load(in + first, v);
  __syncthreads();
  Sort(shared.sort).SortDescending(v);
  __syncthreads();
  int above[kItems];
  for (int i = 0; i < kItems; ++i) above[i] = v[i] > 0;
  Store(shared.store).Store(sorted + first, v);  // moves the items about
  __syncthreads();
  Scan(shared.scan).ExclusiveSum(above, above);
  for (int i = 0; i < kItems; ++i) ranks[first + threadIdx.x * kItems + i] = above[i];
}

TEST(CubBlock, LoadSortStoreScan) {
  constexpr int kThreads = 128, kItems = 9, kTile = kThreads * kItems, kBlocks = 5;
  const auto values = random_values<float>(kTile * kBlocks, 7);
  DeviceBuffer<float> in(values), out(values.size());
  DeviceBuffer<int> ranks(values.size());
  block_kernel<kThreads, kItems><<<kBlocks, kThreads>>>(in.data(), out.data(), ranks.data());
  auto expected = values;
  for (int b = 0; b < kBlocks; ++b)
    std::sort(expected.begin() + b * kTile, expected.begin() + (b + 1) * kTile, std::greater<>());
  EXPECT_EQ(out.host(), expected) << warploom_emulator_report();
  const auto r = ranks.host();
  for (int b = 0; b < kBlocks; ++b) {
    int count = 0;
    for (int i = b * kTile; i < (b + 1) * kTile; ++i) {
      ASSERT_EQ(r[i], count);
      count += expected[i] > 0;
    }
  }
}

}  // namespace
