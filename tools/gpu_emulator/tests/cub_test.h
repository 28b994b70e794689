// What the tests of CUB's algorithms share: sizes, inputs, and the call for the scratch size.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>
#include <cub/cub.cuh>
#include <random>
#include <type_traits>

#include "emulated_device.h"

const size_t kSizes[] = {0, 1, 2, 31, 33, 1000, 4097, 70001, 262221, (1 << 20) - 1, 1 << 20};

template <class T>
std::vector<T> random_values(size_t n, uint64_t seed, uint64_t mask = ~0ull) {
  std::mt19937_64 random(seed);
  std::vector<T> values(n);
  for (T& v : values) {
    if constexpr (std::is_same_v<T, __half>)
      v = T(static_cast<float>(static_cast<int64_t>(random()) >> 53));  // whole numbers that a half holds
    else if constexpr (std::is_floating_point_v<T>)
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
