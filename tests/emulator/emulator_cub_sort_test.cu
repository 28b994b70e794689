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
