// How the tests of an op report: each is run if it was asked for.
#pragma once

#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "bench/gpu/timer.h"
#include "cuda/runtime/check.h"

namespace warploom::bench {

/// To be called after what sets device memory up outside of the timer's stream, which does not wait for the legacy one: copies and fills
/// may return before they are done.
inline void have_arrived() { cuda::check(cudaStreamSynchronize(nullptr), "a benchmark's data"); }

/// Device memory with a copy of `values`.
template <typename T>
class OnDevice {
 public:
  explicit OnDevice(std::span<const T> values)
      : memory_(std::max<std::size_t>(values.size_bytes(), 16), "a benchmark's data") {
    cuda::check(cudaMemcpy(memory_.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
                "a benchmark's data");
    have_arrived();
  }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(std::span<const T>(values)) {}
  T* data() const { return static_cast<T*>(memory_.data()); }

 private:
  cuda::DeviceBuffer memory_;
};

struct GpuRun {
  const GpuOpsOptions& options;
  GpuTimer& timer;
  const GpuProgress& progress;

  bool wants(const std::string& test) const;
  /// Times `work` and reports it. `with_warm`: also with what it reads in the L2 cache.
  void time(const std::string& test, double bytes, double flops, bool with_warm, const std::function<void()>& work) const;
};

void run_sampling(const GpuRun& run);
void run_attention(const GpuRun& run);
void run_products(const GpuRun& run);

}  // namespace warploom::bench
