// CUB's block- and warp-wide algorithms against the standard library.
#include <algorithm>
#include <functional>
#include <numeric>

#include "cub_test.h"

namespace {

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

template <int kThreads>
__global__ void sums_kernel(const int* in, int* block_sum, int* warp_max, int* warp_prefix) {
  using Reduce = cub::BlockReduce<int, kThreads>;
  using Warp = cub::WarpReduce<int>;
  using WarpScan = cub::WarpScan<int>;
  __shared__ typename Reduce::TempStorage block;
  __shared__ typename Warp::TempStorage warp[kThreads / 32];
  __shared__ typename WarpScan::TempStorage scan[kThreads / 32];
  const int i = blockIdx.x * kThreads + threadIdx.x, w = threadIdx.x / 32;
  const int v = in[i];
  const int sum = Reduce(block).Sum(v);
  if (threadIdx.x == 0) block_sum[blockIdx.x] = sum;
  const int most = Warp(warp[w]).Reduce(v, cuda::maximum<>{});
  if (threadIdx.x % 32 == 0) warp_max[i / 32] = most;
  int prefix;
  WarpScan(scan[w]).InclusiveSum(v, prefix);
  warp_prefix[i] = prefix;
}
TEST(CubBlock, ReductionsAndWarpScans) {
  constexpr int kThreads = 96, kBlocks = 7, n = kThreads * kBlocks;
  const auto values = random_values<int>(n, 9, 0xffff);
  DeviceBuffer<int> in(values), sums(kBlocks), most(n / 32), prefixes(n);
  sums_kernel<kThreads><<<kBlocks, kThreads>>>(in.data(), sums.data(), most.data(), prefixes.data());
  const auto s = sums.host(), m = most.host(), p = prefixes.host();
  for (int b = 0; b < kBlocks; ++b)
    EXPECT_EQ(s[b], std::accumulate(values.begin() + b * kThreads, values.begin() + (b + 1) * kThreads, 0));
  for (int w = 0; w < n / 32; ++w) {
    EXPECT_EQ(m[w], *std::max_element(values.begin() + 32 * w, values.begin() + 32 * (w + 1)));
    for (int i = 32 * w, sum = 0; i < 32 * (w + 1); ++i) ASSERT_EQ(p[i], sum += values[i]);
  }
}

}  // namespace
