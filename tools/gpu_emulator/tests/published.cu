// CUB's algorithms, modelled, beside what their authors measured: `emulator_published [LARGEST]` prints a table of the cases of at
// most 2^LARGEST elements (20 takes a minute, 24 some ten).
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_transform.cuh>
#include <cuda/std/tuple>
#include <functional>
#include <string>
#include <vector>

#include "emulator/emulator.h"

namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n%s\n", cudaGetErrorString(error),
               warploom_emulator_report != nullptr ? warploom_emulator_report() : "");
  std::exit(1);
}

template <class T>
struct Buffer {
  explicit Buffer(size_t size) { check(cudaMalloc(&data, size * sizeof(T))); }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    check(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data = nullptr;
};

template <class T>
std::vector<T> random_values(size_t size) {
  std::vector<T> values(size);
  unsigned state = 1;
  for (T& v : values) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<T>(state >> 7 ^ state << 16);
  }
  return values;
}

// A call of CUB: first asks for the size of its memory, then runs, counted.
template <class F>
void call(F f) {
  size_t bytes = 0;
  check(f(nullptr, bytes));
  Buffer<char> memory(bytes + 1);
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  check(f(memory.data, bytes));
  check(cudaDeviceSynchronize());
  warploom_emulator_count(0);
}

struct Twice {
  __device__ signed char operator()(signed char v) const { return static_cast<signed char>(2 * v); }
};
struct Triad {
  __device__ signed char operator()(signed char a, signed char b) const { return static_cast<signed char>(a + 2 * b); }
};

using Bytes = signed char;

void reduce(int n) {
  Buffer<int> in(random_values<int>(n)), out(1);
  call([&](void* m, size_t& b) { return cub::DeviceReduce::Sum(m, b, in.data, out.data, n); });
}
void transform_reduce(int n) {
  Buffer<Bytes> in(random_values<Bytes>(n)), out(1);
  call([&](void* m, size_t& b) {
    return cub::DeviceReduce::TransformReduce(m, b, in.data, out.data, n, cuda::std::plus<>{}, Twice{}, Bytes{0});
  });
}
void scan(int n) {
  Buffer<Bytes> in(random_values<Bytes>(n)), out(n);
  call([&](void* m, size_t& b) { return cub::DeviceScan::ExclusiveSum(m, b, in.data, out.data, n); });
}
void sort(int n) {
  Buffer<unsigned> in(random_values<unsigned>(n)), out(n);
  call([&](void* m, size_t& b) { return cub::DeviceRadixSort::SortKeys(m, b, in.data, out.data, n); });
}
void transform(int n) {
  Buffer<Bytes> in(random_values<Bytes>(n)), out(n);
  call([&](void* m, size_t& b) {
    return m == nullptr ? (b = 1, cudaSuccess) : cub::DeviceTransform::Transform(in.data, out.data, n, Twice{});
  });
}
void triad(int n) {
  Buffer<Bytes> x(random_values<Bytes>(n)), y(random_values<Bytes>(n)), out(n);
  call([&](void* m, size_t& b) {
    return m == nullptr ? (b = 1, cudaSuccess)
                        : cub::DeviceTransform::Transform(cuda::std::make_tuple(x.data, y.data), out.data, n, Triad{});
  });
}

struct Case {
  const char* name;
  void (*run)(int);
  const char* gpu;
  int log2;
  double us;  // published
  const char* source;
};
constexpr Case kCases[] = {
    {"DeviceReduce::Sum, i32", reduce, "h200", 16, 5.354, "cccl#9722"},
    {"DeviceReduce::Sum, i32", reduce, "h200", 20, 7.126, "cccl#9722"},
    {"DeviceReduce::Sum, i32", reduce, "h200", 24, 25.729, "cccl#9722"},
    {"DeviceReduce::TransformReduce, i8", transform_reduce, "h100", 16, 7.186, "cccl#9761"},
    {"DeviceReduce::TransformReduce, i8", transform_reduce, "h100", 20, 9.735, "cccl#9761"},
    {"DeviceReduce::TransformReduce, i8", transform_reduce, "h100", 24, 15.510, "cccl#9761"},
    {"DeviceTransform, i8, 1 input", transform, "a100", 16, 9.516, "cccl#7019"},
    {"DeviceTransform, i8, 1 input", transform, "a100", 20, 10.127, "cccl#7019"},
    {"DeviceTransform, i8, 1 input", transform, "a100", 24, 31.874, "cccl#7019"},
    {"DeviceTransform, i8, 2 inputs", triad, "rtx5090", 16, 4.096, "cccl#9881"},
    {"DeviceTransform, i8, 2 inputs", triad, "rtx5090", 20, 6.141, "cccl#9881"},
    {"DeviceScan::ExclusiveSum, i8", scan, "a100", 16, 11.206, "cccl#302"},
    {"DeviceScan::ExclusiveSum, i8", scan, "a100", 20, 15.281, "cccl#302"},
    {"DeviceScan::ExclusiveSum, i8", scan, "a100", 24, 68.364, "cccl#302"},
    // Published for 2^28 keys alone: 29.4 G keys/s, here as if time were in proportion.
    {"DeviceRadixSort::SortKeys, u32", sort, "a100", 22, 142.7, "arXiv:2206.01784"},
};

}  // namespace

int main(int argc, char** argv) {
  const int largest = argc > 1 ? std::atoi(argv[1]) : 20;
  if (warploom_emulator_count == nullptr) return std::fprintf(stderr, "not on the emulator\n"), 1;
  std::printf(
      "| algorithm | GPU | elements | published us | modelled us | modelled / published | launches | of it launching | "
      "dependences | fetching | source |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n");
  for (const Case& c : kCases) {
    if (c.log2 > largest) continue;
    c.run(1 << c.log2);
    WarploomModelledTime t = {};
    WarploomCounters counts = {};
    warploom_emulator_modelled("", c.gpu, &t);
    warploom_emulator_counters("", &counts);
    std::printf("| %s | %s | 2^%d | %.1f | %.1f | %.2f | %llu | %.1f | %.1f | %.1f | %s |\n", c.name, c.gpu, c.log2, c.us,
                1e6 * t.total, 1e6 * t.total / c.us, static_cast<unsigned long long>(counts.launches), 1e6 * t.launch,
                1e6 * t.latency, 1e6 * t.fetch, c.source);
    std::fflush(stdout);
    if (std::getenv("WARPLOOM_PUBLISHED_PROFILE") != nullptr) std::fputs(warploom_emulator_profile(c.gpu), stdout);
  }
  return 0;
}
