// Parameters that travel as arguments of kernels.
#include <numeric>

#include <gtest/gtest.h>

#include "cuda/device_sampling.h"
#include "warploom/cuda/parameters.h"
#include "warploom/error.h"

namespace warploom {
namespace {

std::vector<std::uint8_t> bytes_from(int first, std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  std::iota(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(first));
  return bytes;
}

// Around the sizes at which another launch begins, and at an address without alignment; nothing beside them is written.
TEST(Parameters, ArriveWhole) {
  for (const std::size_t count : {0, 1, 255, 257, 3999, 4000, 4001, 12345}) {
    const test::DeviceArray<std::uint8_t> array(std::vector<std::uint8_t>(count + 2, 99));
    std::vector<std::uint8_t> values = bytes_from(3, count), expected = values;
    cuda::write_parameters(array.data() + 1, values.data(), count, nullptr);
    values.assign(count, 0);  // they were taken already
    expected.insert(expected.begin(), 99);
    expected.push_back(99);
    EXPECT_EQ(array.host(), expected) << count;
  }
}

TEST(Parameters, AGraphKeepsThem) {
  const test::DeviceArray<std::uint8_t> array(std::vector<std::uint8_t>(5000, 0));
  std::vector<std::uint8_t> values = bytes_from(1, 5000);
  const std::vector<std::uint8_t> expected = values;
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  test::throw_on_error(cudaStreamCreate(&stream));
  test::throw_on_error(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cuda::write_parameters(array.data(), values.data(), values.size(), stream);
  test::throw_on_error(cudaStreamEndCapture(stream, &graph));
  values.assign(values.size(), 0);
  test::throw_on_error(cudaGraphInstantiate(&executable, graph, 0));
  test::throw_on_error(cudaGraphLaunch(executable, stream));
  test::throw_on_error(cudaStreamSynchronize(stream));
  EXPECT_EQ(array.host(), expected);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST(Parameters, NullIsRefused) {
  const test::DeviceArray<std::uint8_t> array(std::vector<std::uint8_t>(4, 0));
  const int value = 1;
  EXPECT_THROW(cuda::write_parameters(nullptr, &value, 4, nullptr), InvalidArgument);
  EXPECT_THROW(cuda::write_parameters(array.data(), nullptr, 4, nullptr), InvalidArgument);
  cuda::write_parameters(nullptr, nullptr, 0, nullptr);
}

}  // namespace
}  // namespace warploom
