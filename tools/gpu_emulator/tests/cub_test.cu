// CUB's device-wide scans, reductions, selections and histograms against the standard library, over odd sizes.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cub_test.h"

namespace {

template <class T>
class Cub : public testing::Test {};
using Types = testing::Types<int, uint64_t, float, double, uint8_t>;
TYPED_TEST_SUITE(Cub, Types);

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
    std::inclusive_scan(values.begin(), values.end(), expected.begin(), [](T a, T b) { return static_cast<T>(a + b); });
    EXPECT_EQ(out.host(), expected);
    run([&](void* p, size_t& bytes) {
      return cub::DeviceScan::ExclusiveScan(p, bytes, in.data(), out.data(), cuda::maximum<>{}, T{3}, static_cast<int>(n));
    });
    std::exclusive_scan(values.begin(), values.end(), expected.begin(), T{3}, [](T a, T b) { return std::max(a, b); });
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
    EXPECT_EQ(out.host()[0],
              std::accumulate(values.begin(), values.end(), T{}, [](T a, T b) { return static_cast<T>(a + b); }));
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

}  // namespace
