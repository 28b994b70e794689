// Benchmarks of single CUDA ops. They are a module of their own that warploom-bench loads, so that it starts where there is no CUDA.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "warploom/export.h"

namespace warploom::bench {

struct GpuOpsOptions {
  int gpu = 0;                    // which one, as the driver counts
  std::vector<std::string> only;  // parts of names of tests; empty: all
  bool small = false;             // sizes that take an emulator seconds
  int repeats = 9;                // of each test
  std::string modelled_gpu;       // whose times the emulator models: one that check_modelled_gpu() takes
};

enum class GpuClock : std::uint8_t {
  events,  // of the CUDA runtime
  model,   // the emulator's, of GpuOpsOptions::modelled_gpu
  host,    // whole steps, from the host's side
};
const char* name(GpuClock clock);

struct GpuMeasurement {
  std::string test;  // e.g. "sample 64 f32 peaked top-k 50"
  std::string l2;    // "cold": other data was read before each run; "warm": the run before had the same data
  GpuClock clock = GpuClock::events;
  double bytes = 0;          // that the op has to move at least; 0: not stated
  double flops = 0;          // of products; 0: none
  std::vector<double> runs;  // microseconds

  double median() const;
  double gb_per_s() const { return bytes / median() * 1e-3; }
  double tflop_per_s() const { return flops / median() * 1e-6; }
};

/// What the device is, and what it reaches in this process. 0: not known.
struct GpuDevice {
  std::string name;
  int multiprocessors = 0, capability = 0;                 // 90: 9.0
  int driver = 0, runtime = 0;                             // 13000: 13.0
  double clock_mhz = 0, memory_clock_mhz = 0, l2_mib = 0;  // the highest clocks by the driver
  bool emulated = false;
  double read_gb_per_s = 0, copy_gb_per_s = 0;  // measured on memory that no cache holds
  double matrix_tflop_per_s = 0;                // measured: a large product of f16
};

using GpuProgress = std::function<void(const GpuMeasurement&)>;

/// The module's one symbol: fills in the device, then runs each test and reports it. Throws InvalidArgument, OutOfMemory, BackendError.
extern "C" WARPLOOM_EXPORT void warploom_gpu_ops(const GpuOpsOptions& options, GpuDevice& device,
                                                 const GpuProgress& progress);

}  // namespace warploom::bench
