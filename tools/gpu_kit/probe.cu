// What only silicon can answer, one question a run, as lines of JSON: `gpu_probe device|mma|hist|dependent [--small]`. `hang`, `fault` and
// `wrong` are planted: they show that whoever runs the probes sees each.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device/dependent_launch.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/runtime/launch.cuh"
#include "tools/gpu_emulator/include/emulator/emulator.h"

namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

template <typename T>
class Device {
 public:
  explicit Device(const std::vector<T>& values) : count_(values.size()) {
    check(cudaMalloc(&data_, count_ * sizeof(T)), "cudaMalloc");
    put(values);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { cudaFree(data_); }
  T* data() const { return data_; }
  void put(const std::vector<T>& values) {
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaStreamSynchronize(nullptr), "cudaMemcpy");  // the bytes may arrive after the call
  }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

bool emulated() { return warploom_emulator_modelled != nullptr; }

// Microseconds of one launch: the least of seven by events, or modelled on an H100.
double microseconds(const std::function<void()>& launch) {
  if (emulated()) {
    warploom_emulator_reset_counters();
    warploom_emulator_count(1);
    launch();
    check(cudaDeviceSynchronize(), "the timed kernel");
    warploom_emulator_count(0);
    WarploomModelledTime time = {};
    warploom_emulator_modelled("", "h100", &time);
    return 1e6 * time.total;
  }
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "an event");
  check(cudaEventCreate(&end), "an event");
  float best = INFINITY;
  for (int r = 0; r < 7; ++r) {
    check(cudaEventRecord(begin), "an event");
    launch();
    check(cudaEventRecord(end), "an event");
    check(cudaEventSynchronize(end), "the timed kernel");
    float milliseconds;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "an elapsed time");
    best = std::min(best, milliseconds);
  }
  check(cudaEventDestroy(begin), "an event");
  check(cudaEventDestroy(end), "an event");
  return 1e3 * static_cast<double>(best);
}

int clock_mhz(cudaDeviceAttr which) {
  int khz = 0;
  if (cudaDeviceGetAttribute(&khz, which, 0) != cudaSuccess) static_cast<void>(cudaGetLastError());
  return khz / 1000;
}

void print_device() {
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, 0), "the device");
  int driver = 0, runtime = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(cudaRuntimeGetVersion(&runtime));
  std::printf(
      "{\"probe\": \"device\", \"name\": \"%s\", \"capability\": \"%d.%d\", \"multiprocessors\": %d, \"memory_mib\": %zu, "
      "\"l2_mib\": %.1f, \"maximum_clock_mhz\": %d, \"maximum_memory_clock_mhz\": %d, \"cuda_driver\": %d, "
      "\"cuda_runtime\": %d, \"pci\": \"%08x:%02x:%02x.0\", "
      "\"emulated\": %s}\n",
      p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem >> 20, p.l2CacheSize / 1048576.0,
      clock_mhz(cudaDevAttrClockRate), clock_mhz(cudaDevAttrMemoryClockRate), driver, runtime,
      static_cast<unsigned>(p.pciDomainID), static_cast<unsigned>(p.pciBusID), static_cast<unsigned>(p.pciDeviceID),
      emulated() ? "true" : "false");
}

// ---- mma: a sum stays as it is, bit by bit, when products are added of which one side is zero.

template <typename T>
__device__ std::uint32_t pair_of(float x) {
  std::uint32_t bits;
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pair = __floats2half2_rn(x, x);
    memcpy(&bits, &pair, 4);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(x, x);
    memcpy(&bits, &pair, 4);
  }
  return bits;
}

template <typename T>
__global__ void add_zeros(const float* sums, const float* value, float* out, bool left_is_zero) {
  const std::uint32_t v = pair_of<T>(*value), zero = pair_of<T>(0.0f), left = left_is_zero ? zero : v,
                      right = left_is_zero ? v : zero;
  const std::uint32_t a[4] = {left, left, left, left};
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = sums[4 * threadIdx.x + i];
  warploom::cuda::device::mma<T>(d, a, right, right);
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = d[i];
}

// `planted`: compares with what a wrong device would have to give.
template <typename T>
void probe_mma(const char* type, float largest, int first, bool planted) {
  std::mt19937 rng(1);
  Device<float> sums(std::vector<float>(128)), out(std::vector<float>(128)), value(std::vector<float>(1));
  int cases = 0, differ = 0, lowest = 0;
  for (int exponent = first; exponent <= 20; ++exponent)
    for (const float v : {largest, 3.5f, 1.0f, -6e-5f, 6e-8f})
      for (const bool left_is_zero : {true, false}) {
        std::vector<float> want(128);
        for (float& x : want)
          x = std::ldexp(1.0f + static_cast<float>(rng() >> 9) * 0x1p-23f, exponent) * (rng() & 1 ? -1.0f : 1.0f);
        sums.put(want);
        value.put({v});
        add_zeros<T><<<1, 32>>>(sums.data(), value.data(), out.data(), left_is_zero);
        check(cudaGetLastError(), "the kernel add_zeros");
        if (planted) want[5] *= 2.0f;
        ++cases;
        if (std::memcmp(out.host().data(), want.data(), 512) == 0) continue;
        if (differ++ == 0) lowest = exponent;
      }
  std::printf("{\"probe\": \"mma\", \"type\": \"%s\", \"cases\": %d, \"differ\": %d, \"lowest_exponent\": %d}\n", type,
              cases, differ, lowest);
}

// ---- hist: atomics on shared memory of 64 bits (a loop of compare and swap), of two words with a carry, and of 32 bits.

enum class Atomic { wide, carried, narrow };
constexpr int kBins = 2048, kThreads = 512;

template <Atomic kAtomic>
__global__ void __launch_bounds__(kThreads, 2) count_bins(const std::uint16_t* bins, int count, unsigned long long* out) {
  __shared__ unsigned long long wide[kAtomic == Atomic::wide ? kBins : 1];
  __shared__ unsigned low[kAtomic == Atomic::wide ? 1 : kBins], high[kAtomic == Atomic::carried ? kBins : 1];
  for (int i = threadIdx.x; i < kBins; i += kThreads) {
    if constexpr (kAtomic == Atomic::wide) wide[i] = 0;
    if constexpr (kAtomic != Atomic::wide) low[i] = 0;
    if constexpr (kAtomic == Atomic::carried) high[i] = 0;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const unsigned bin = bins[i];
    if constexpr (kAtomic == Atomic::wide) atomicAdd(&wide[bin], 0x9e3779b9ull);
    if constexpr (kAtomic == Atomic::carried) {
      const unsigned old = atomicAdd(&low[bin], 0x9e3779b9u);
      if (old + 0x9e3779b9u < old) atomicAdd(&high[bin], 1u);
    }
    if constexpr (kAtomic == Atomic::narrow) atomicAdd(&low[bin], 1u);
  }
  __syncthreads();
  unsigned long long sum = 0;
  for (int i = threadIdx.x; i < kBins; i += kThreads) {
    if constexpr (kAtomic == Atomic::wide) sum += wide[i];
    if constexpr (kAtomic == Atomic::carried) sum += (static_cast<unsigned long long>(high[i]) << 32) + low[i];
    if constexpr (kAtomic == Atomic::narrow) sum += low[i] * 0x9e3779b9ull;
  }
  atomicAdd(&out[blockIdx.x], sum);
}

// The first eleven bits of ordered floats, or as named.
std::vector<std::uint16_t> bins_of(const std::string& what, int count) {
  std::mt19937_64 rng(3);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  std::vector<std::uint16_t> bins(static_cast<std::size_t>(count));
  for (std::uint16_t& bin : bins) {
    const float x = normal(rng);
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const std::uint32_t digits = (bits & 0x80000000u ? ~bits : bits | 0x80000000u) >> 21;
    bin = static_cast<std::uint16_t>(what == "uniform" ? rng() % kBins : what == "one bin" ? 7 : digits);
  }
  return bins;
}

void probe_hist(bool small) {
  const int count = small ? 4096 : 128256;
  for (const char* what : {"uniform", "first digits", "one bin"}) {
    const Device<std::uint16_t> bins(bins_of(what, count));
    for (const int blocks : small ? std::vector<int>{2} : std::vector<int>{64, 264}) {
      Device<unsigned long long> out(std::vector<unsigned long long>(static_cast<std::size_t>(blocks)));
      const auto time = [&](auto kernel) {
        const double us = microseconds([&] {
          kernel<<<blocks, kThreads>>>(bins.data(), count, out.data());
          check(cudaGetLastError(), "the kernel count_bins");
        });
        for (const unsigned long long sum : out.host())
          if (sum == 0 || sum % (static_cast<unsigned long long>(count) * 0x9e3779b9ull) != 0)
            throw std::runtime_error("a histogram lost counts");
        out.put(std::vector<unsigned long long>(static_cast<std::size_t>(blocks)));
        return us;
      };
      const double wide = time(count_bins<Atomic::wide>), carried = time(count_bins<Atomic::carried>),
                   narrow = time(count_bins<Atomic::narrow>);
      std::printf(
          "{\"probe\": \"hist\", \"keys\": \"%s\", \"blocks\": %d, \"u64_us\": %.2f, \"carried_us\": %.2f, \"u32_us\": "
          "%.2f}\n",
          what, blocks, wide, carried, narrow);
    }
  }
}

// ---- dependent: kernels that may begin before the one ahead has ended, launched one by one, and captured in a graph that is replayed.

constexpr int kChain = 8, kSkip = 77;  // kSkip: the exit status that says that there is nothing to do here

// As the kernels of a step: what the one ahead wrote is read, and what it read is written, after the wait.
__global__ void add_one(const int* from, int* to, int count) {
  warploom::cuda::device::wait_for_launch_ahead();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) to[i] = from[i] + 1;
  warploom::cuda::device::allow_next_launch();
}

// The first one waits as usual, as a step's first kernel does, which stands behind a copy.
void launch_chain(int* one, int* other, int count, cudaStream_t stream, const char* what) {
  const auto blocks = static_cast<unsigned>((count + kThreads - 1) / kThreads);
  for (int k = 0; k < kChain; ++k)
    warploom::cuda::launch(add_one, what, blocks, kThreads, 0, {stream, k > 0}, k % 2 ? other : one, k % 2 ? one : other,
                           count);
}

int probe_dependent(bool small) {
  if (!warploom::cuda::can_launch_dependent(0, reinterpret_cast<const void*>(add_one))) {
    int major = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "the compute capability");
    if (major < 9) return std::fprintf(stderr, "a GPU before compute capability 9.0 has none\n"), kSkip;
    return std::fprintf(stderr, "this program holds no code of compute capability 9.0 or above: build it with --arch\n"), 1;
  }
  const int count = small ? 1 << 12 : 1 << 22, replays = small ? 2 : 100;
  Device<int> one(std::vector<int>(static_cast<std::size_t>(count))),
      other(std::vector<int>(static_cast<std::size_t>(count)));
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  const auto wrong = [&](int want) {
    check(cudaStreamSynchronize(stream), "the kernels add_one");
    int differ = 0;
    for (const int x : one.host()) differ += x != want;
    return differ;
  };
  launch_chain(one.data(), other.data(), count, stream, "a dependent launch");
  const int launched = wrong(kChain);
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
  launch_chain(one.data(), other.data(), count, stream, "a dependent launch in a capture");
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "capturing dependent launches");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0), "a graph of dependent launches");
  for (int r = 0; r < replays; ++r) check(cudaGraphLaunch(exec, stream), "replaying dependent launches");
  const int replayed = wrong(kChain * (1 + replays));
  std::printf(
      "{\"probe\": \"dependent\", \"values\": %d, \"launched_wrong\": %d, \"replays\": %d, \"replayed_wrong\": %d}\n", count,
      launched, replays, replayed);
  check(cudaGraphExecDestroy(exec), "a graph");
  check(cudaGraphDestroy(graph), "a graph");
  check(cudaStreamDestroy(stream), "a stream");
  return 0;
}

// ---- planted

__global__ void spin(volatile int* never) {
  while (*never == 0) {
  }
}
void hang() {
  const Device<int> never(std::vector<int>(1));
  spin<<<1, 1>>>(never.data());
  check(cudaDeviceSynchronize(), "the kernel spin");
}

__global__ void write_to(int* nowhere) { *nowhere = 1; }
void fault() {
  write_to<<<1, 1>>>(nullptr);
  check(cudaDeviceSynchronize(), "the kernel write_to");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string what = argc > 1 ? argv[1] : "";
  const bool small = argc > 2 && std::string(argv[2]) == "--small";
  const char* usage = "usage: gpu_probe device|mma|hist|dependent|hang|fault|wrong [--small]";
  if (what == "--help" || what == "-h") return std::puts(usage), 0;
  if (argc > (small ? 3 : 2)) return std::fprintf(stderr, "error: \"%s\" is no option; %s\n", argv[small ? 3 : 2], usage), 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (what == "device")
    print_device();
  else if (what == "mma")
    probe_mma<__half>("f16", 65504.0f, small ? 0 : -126, false),
        probe_mma<__nv_bfloat16>("bf16", 3e38f, small ? 0 : -126, false);
  else if (what == "wrong")
    probe_mma<__half>("f16", 65504.0f, 18, true);
  else if (what == "hist")
    probe_hist(small);
  else if (what == "dependent")
    return probe_dependent(small);
  else if (what == "hang")
    hang();
  else if (what == "fault")
    fault();
  else
    return std::fprintf(stderr, "error: \"%s\" is no probe; %s\n", what.c_str(), usage), 2;
  return 0;
} catch (const std::exception& e) {
  return std::fprintf(stderr, "error: %s\n", e.what()), 1;
}
