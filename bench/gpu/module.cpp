// The module's entry: the device, its own rates, then the ops.
#include <algorithm>
#include <cmath>

#include "bench/gpu/op_tests.h"
#include "bench/gpu/read.h"
#include "bench/gpu/run.h"
#include "checkpoint/random_weight.h"
#include "cuda/backend/matmul/matmul.h"
#include "cuda/runtime/gpu.h"
#include "warploom/error.h"

namespace warploom::bench {

namespace {

double attribute(cudaDeviceAttr which, int gpu) {
  int value = 0;
  if (cudaDeviceGetAttribute(&value, which, gpu) == cudaSuccess) return value;
  static_cast<void>(cudaGetLastError());  // not every driver knows every clock
  return 0;
}

GpuDevice describe(int gpu) {
  GpuDevice device;
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, gpu), "asking what the GPU is");
  device.name = properties.name;
  device.multiprocessors = properties.multiProcessorCount;
  device.capability = 10 * properties.major + properties.minor;
  device.clock_mhz = 1e-3 * attribute(cudaDevAttrClockRate, gpu);
  device.memory_clock_mhz = 1e-3 * attribute(cudaDevAttrMemoryClockRate, gpu);
  device.l2_mib = attribute(cudaDevAttrL2CacheSize, gpu) / 1048576.0;
  device.emulated = runs_on_emulator();
  if (!device.emulated) static_cast<void>(cudaDriverGetVersion(&device.driver));
  static_cast<void>(cudaRuntimeGetVersion(&device.runtime));
  return device;
}

void measure_memory(const GpuRun& run, GpuDevice& device) {
  const std::size_t bytes = run.options.small ? std::size_t{1} << 20 : std::size_t{1} << 30;
  const cuda::DeviceBuffer from(bytes, "a copy's source"), to(bytes, "a copy's target"), sink(4, "a sink");
  cuda::check(cudaMemset(from.data(), 0, bytes), "a copy's source");
  have_arrived();
  const auto best = [&](double moved, const std::function<void()>& work) {
    const std::vector<double> runs = run.timer.cold(work);
    const double us = *std::min_element(runs.begin(), runs.end());
    return us > 0 ? moved / us * 1e-3 : 0.0;
  };
  const auto size = static_cast<double>(bytes);
  device.read_gb_per_s =
      best(size, [&] { read_all(from.data(), bytes, static_cast<std::uint32_t*>(sink.data()), run.timer.stream()); });
  // The model knows nothing of copies.
  if (!device.emulated)
    device.copy_gb_per_s = best(2 * size, [&] {
      cuda::check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, run.timer.stream()), "a copy");
    });
}

// The model knows nothing of cuBLASLt.
void measure_matrix(const GpuRun& run, GpuDevice& device) {
  if (device.emulated) return;
  const std::int64_t side = 8192;
  WeightView view{WeightType::f16, side, side, nullptr, "a large product's"};
  std::vector<std::byte> data(view.bytes());
  view.data = data.data();
  fill_random(view, data.data(), 0.05f, 1, 8);
  cuda::Matmul matmul({DType::f16, true, false}, run.timer.stream());
  const auto weight = matmul.load_weight({&view, 1});
  const OnDevice<std::uint16_t> x(std::vector<std::uint16_t>(static_cast<std::size_t>(side * side), 0x3400));
  const cuda::DeviceBuffer out(static_cast<std::size_t>(side * side) * sizeof(float), "a large product");
  const std::vector<double> runs = run.timer.cold([&] {
    matmul.run(MatmulArgs{weight.get(), x.data(), nullptr, side, static_cast<float*>(out.data())});
  });
  device.matrix_tflop_per_s =
      2.0 * std::pow(static_cast<double>(side), 3) / *std::min_element(runs.begin(), runs.end()) * 1e-6;
}

}  // namespace

bool GpuRun::wants(const std::string& test) const { return is_wanted(test, options.only); }

void GpuRun::time(const std::string& test, double bytes, double flops, bool with_warm,
                  const std::function<void()>& work) const {
  progress({test, "cold", timer.clock(), bytes, flops, timer.cold(work)});
  if (!with_warm) return;
  const std::vector<double> warm = timer.warm(work);
  if (!warm.empty()) progress({test, "warm", timer.clock(), bytes, flops, warm});
}

extern "C" void warploom_gpu_ops(const GpuOpsOptions& options, GpuDevice& device, const GpuProgress& progress) {
  if (const std::string why = cuda::why_unusable(options.gpu); !why.empty()) throw BackendError("device cuda: " + why);
  cuda::check(cudaSetDevice(options.gpu), "choosing the GPU");
  device = describe(options.gpu);
  GpuTimer timer(options, static_cast<std::size_t>(device.l2_mib * 1048576.0));
  const GpuRun run{options, timer, progress};
  measure_memory(run, device);
  measure_matrix(run, device);
  run_sampling(run);
  run_attention(run);
  run_products(run);
}

}  // namespace warploom::bench
