// CUB's radix sorts against the standard library, over odd sizes and several types of keys and values.
#include <algorithm>
#include <numeric>

#include "cub_test.h"

namespace {

template <class T>
auto wide(T v) {
  if constexpr (std::is_same_v<T, __half>)
    return static_cast<float>(v);
  else
    return v;
}

template <class K, class V>
struct Pair {
  using Key = K;
  using Value = V;
};
template <class T>
class CubSort : public testing::Test {};
using Pairs = testing::Types<Pair<int, uint32_t>, Pair<uint64_t, uint32_t>, Pair<float, uint64_t>, Pair<double, uint32_t>,
                             Pair<uint8_t, uint32_t>, Pair<int16_t, uint64_t>, Pair<__half, uint32_t>>;
TYPED_TEST_SUITE(CubSort, Pairs);

// The values are places, so that they show whether the sort was stable.
TYPED_TEST(CubSort, Pairs) {
  using T = typename TypeParam::Key;
  using V = typename TypeParam::Value;
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    const auto keys = random_values<T>(n, n + 1, 0xffff00ff00ff);
    std::vector<V> order(n);
    std::iota(order.begin(), order.end(), V{});
    DeviceBuffer<T> k(keys), k_out(n);
    DeviceBuffer<V> v(order), v_out(n);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceRadixSort::SortPairsDescending(p, bytes, k.data(), k_out.data(), v.data(), v_out.data(),
                                                       static_cast<int>(n));
    });
    std::stable_sort(order.begin(), order.end(), [&](V a, V b) { return wide(keys[a]) > wide(keys[b]); });
    EXPECT_EQ(v_out.host(), order);
  }
}

TEST(CubSortKeys, OverAMillion) {
  const size_t n = (1 << 20) + 1;
  auto keys = random_values<float>(n, 8);
  DeviceBuffer<float> in(keys), out(n);
  run([&](void* p, size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(p, bytes, in.data(), out.data(), static_cast<int>(n));
  });
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(out.host(), keys);
}

// They read one key past the last in shared memory and drop it: no fault.
struct Less {
  __device__ bool operator()(int a, int b) const { return a < b; }
};
TEST(CubMergeSort, Pairs) {
  for (const size_t n : {0, 1, 33, 4097, 70001}) {
    SCOPED_TRACE(n);
    const auto keys = random_values<int>(n, n + 1, 0xff);
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    DeviceBuffer<int> k(keys), v(order);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceMergeSort::StableSortPairs(p, bytes, k.data(), v.data(), static_cast<int>(n), Less{});
    });
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] < keys[b]; });
    EXPECT_EQ(v.host(), order);
  }
}
__global__ void warp_merge_sort_kernel(int* keys) {
  using Sort = cub::WarpMergeSort<int, 4, 32>;
  __shared__ Sort::TempStorage storage[2];
  int mine[4];
  for (int i = 0; i < 4; ++i) mine[i] = keys[4 * threadIdx.x + i];
  Sort(storage[threadIdx.x / 32]).Sort(mine, Less{});
  for (int i = 0; i < 4; ++i) keys[4 * threadIdx.x + i] = mine[i];
}
TEST(CubMergeSort, Warps) {
  auto keys = random_values<int>(256, 3);
  DeviceBuffer<int> k(keys);
  warp_merge_sort_kernel<<<1, 64>>>(k.data());
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << warploom_emulator_report();
  std::sort(keys.begin(), keys.begin() + 128);
  std::sort(keys.begin() + 128, keys.end());
  EXPECT_EQ(k.host(), keys);
}

TEST(CubSortSegments, Keys) {
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

}  // namespace
