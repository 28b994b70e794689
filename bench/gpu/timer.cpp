#include "bench/gpu/timer.h"

#include <algorithm>
#include <chrono>

#include "bench/gpu/read.h"
#include "cuda/runtime/check.h"
#include "tools/gpu_emulator/include/emulator/emulator.h"

namespace warploom::bench {

using cuda::check;

bool runs_on_emulator() { return warploom_emulator_modelled != nullptr; }

GpuTimer::Event GpuTimer::event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "an event");
  return Event(event);
}

GpuTimer::GpuTimer(const GpuOpsOptions& options, std::size_t l2_bytes)
    : repeats_(options.repeats),
      modelled_gpu_(options.modelled_gpu),
      clock_(runs_on_emulator() ? GpuClock::model : GpuClock::events),
      stream_(cuda::create_stream()),
      begin_(event()),
      end_(event()) {
  if (clock_ == GpuClock::model) return;
  constexpr std::size_t kLeast = std::size_t{512} << 20;  // 60 us or more: longer than the host takes to enqueue most calls
  other_ = cuda::DeviceBuffer(std::max(4 * l2_bytes, kLeast), "what empties the L2 cache");
  sink_ = cuda::DeviceBuffer(sizeof(std::uint32_t), "a sink");
  check(cudaMemsetAsync(other_.data(), 0, other_.bytes(), stream()), "what empties the L2 cache");
}

void GpuTimer::read_other() { read_all(other_.data(), other_.bytes(), static_cast<std::uint32_t*>(sink_.data()), stream()); }

// A GPU that had nothing to do while the host prepared a test has lowered its clocks, and takes some milliseconds to raise them again.
void GpuTimer::raise_clocks() {
  constexpr std::chrono::milliseconds kEnough(30);
  const auto end = std::chrono::steady_clock::now() + kEnough;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 10; ++i) read_other();
    check(cudaStreamSynchronize(stream()), "what raises the clocks");
  }
}

double GpuTimer::between() const {
  float milliseconds = 0;
  check(cudaEventSynchronize(end_.get()), "the timed work");
  check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "an elapsed time");
  return 1e3 * static_cast<double>(milliseconds);
}

double GpuTimer::modelled(const std::function<void()>& work) const {
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  work();
  check(cudaStreamSynchronize(stream()), "the counted work");
  warploom_emulator_count(0);
  WarploomModelledTime time = {};
  warploom_emulator_modelled("", modelled_gpu_.c_str(), &time);
  return 1e6 * time.total;
}

std::vector<double> GpuTimer::cold(const std::function<void()>& work) {
  if (clock_ == GpuClock::model) return {modelled(work)};
  constexpr int kMostReads = 64;  // some 10 ms: what takes longer to enqueue waits for the GPU itself
  raise_clocks();
  std::vector<double> runs;
  int reads = 1;
  for (int r = -2; r < repeats_; ++r) {
    for (int i = 0; i < reads; ++i) read_other();
    check(cudaEventRecord(begin_.get(), stream()), "an event");
    work();
    check(cudaEventRecord(end_.get(), stream()), "an event");
    const cudaError_t begun = cudaEventQuery(begin_.get());
    if (begun != cudaErrorNotReady) check(begun, "an event");
    static_cast<void>(cudaGetLastError());
    const double us = between();
    if (r < 0) continue;                               // what is loaded or allocated at the first call
    if (begun == cudaSuccess && reads < kMostReads) {  // the GPU may have waited for the host
      runs.clear();
      reads *= 2;
      r = -1;
      continue;
    }
    runs.push_back(us);
  }
  return runs;
}

std::vector<double> GpuTimer::warm(const std::function<void()>& work) {
  if (clock_ == GpuClock::model) return {};
  constexpr int kInner = 10;
  work();  // what a capture forbids happens at the first call
  check(cudaStreamSynchronize(stream()), "the first run");
  cudaGraph_t raw = nullptr;
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "a capture");
  for (int i = 0; i < kInner; ++i) work();
  check(cudaStreamEndCapture(stream(), &raw), "a capture");
  const cuda::Graph graph(raw);
  cudaGraphExec_t instance = nullptr;
  check(cudaGraphInstantiate(&instance, graph.get(), 0), "a graph");
  const cuda::GraphExec exec(instance);
  raise_clocks();
  std::vector<double> runs;
  for (int r = -2; r < repeats_; ++r) {
    check(cudaEventRecord(begin_.get(), stream()), "an event");
    check(cudaGraphLaunch(exec.get(), stream()), "a graph");
    check(cudaEventRecord(end_.get(), stream()), "an event");
    const double us = between() / kInner;
    if (r >= 0) runs.push_back(us);
  }
  return runs;
}

}  // namespace warploom::bench
