// Thread-instructions a second, sanitiser on: `emulator_speed` prints the best of three runs of two kernels.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <vector>

extern "C" unsigned long long warploom_emulator_lane_instructions();

namespace {

__global__ void saxpy_kernel(int n, float a, const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

constexpr int kThreads = 256, kItems = 8, kTile = kThreads * kItems;
__global__ void block_sort_kernel(const float* in, float* out) {
  using Sort = cub::BlockRadixSort<float, kThreads, kItems>;
  using Load = cub::BlockLoad<float, kThreads, kItems, cub::BLOCK_LOAD_TRANSPOSE>;
  __shared__ union {
    typename Sort::TempStorage sort;
    typename Load::TempStorage load;
  } shared;
  float v[kItems];
  Load(shared.load).Load(in + blockIdx.x * kTile, v);
  __syncthreads();
  Sort(shared.sort).Sort(v);
  for (int i = 0; i < kItems; ++i) out[blockIdx.x * kTile + threadIdx.x * kItems + i] = v[i];
}

template <class F>
void measure(const char* name, F launch) {
  double best = 0;
  for (int run = 0; run < 3; ++run) {
    const unsigned long long before = warploom_emulator_lane_instructions();
    const auto start = std::chrono::steady_clock::now();
    launch();
    if (cudaDeviceSynchronize() != cudaSuccess) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(warploom_emulator_lane_instructions() - before) / seconds);
  }
  std::printf("%-10s %5.0f million thread-instructions a second\n", name, best * 1e-6);
}

}  // namespace

int main() {
  const int n = 1 << 24, tiles = 512;
  float *x, *y;
  if (cudaMalloc(&x, n * sizeof(float)) != cudaSuccess || cudaMalloc(&y, n * sizeof(float)) != cudaSuccess) return 1;
  cudaMemset(x, 0, n * sizeof(float));
  cudaMemset(y, 0, n * sizeof(float));
  std::vector<float> keys(tiles * kTile);
  unsigned state = 1;
  for (float& k : keys) k = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8);
  cudaMemcpy(x, keys.data(), keys.size() * sizeof(float), cudaMemcpyHostToDevice);
  measure("saxpy", [&] { saxpy_kernel<<<n / 256, 256>>>(n, 2.0f, x, y); });
  measure("block sort", [&] { block_sort_kernel<<<tiles, kThreads>>>(x, y); });
  return 0;
}
