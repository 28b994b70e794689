// Times what a stream does: by CUDA events on a GPU, by the emulator's model of time on the emulator.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <string>
#include <vector>

#include "bench/gpu/gpu_ops.h"
#include "cuda/runtime/raii.h"

namespace warploom::bench {

/// Null with NVIDIA's runtime.
bool runs_on_emulator();

class GpuTimer {
 public:
  GpuTimer(const GpuOpsOptions& options, std::size_t l2_bytes);

  cudaStream_t stream() const { return stream_.get(); }
  GpuClock clock() const { return clock_; }
  /// Microseconds of each run of `work`, which enqueues the same calls each time, on stream(). Before each run much more than the L2
  /// cache of other data is read, as often as it takes for the host to have enqueued the run meanwhile, so that its time does not show.
  std::vector<double> cold(const std::function<void()>& work);
  /// The mean of ten runs one after the other in a replayed graph, for each replay. Empty on the emulator, whose caches start cold.
  std::vector<double> warm(const std::function<void()>& work);

 private:
  using Event = cuda::Owner<cudaEvent_t, cudaEventDestroy>;
  static Event event();
  void read_other();
  void raise_clocks();
  double between() const;
  double modelled(const std::function<void()>& work) const;

  const int repeats_;
  const std::string modelled_gpu_;
  const GpuClock clock_;
  cuda::Stream stream_;
  Event begin_, end_;
  cuda::DeviceBuffer other_, sink_;
};

}  // namespace warploom::bench
