// Measurements of CUDA ops as a plain table, markdown, JSON or CSV.
#pragma once

#include <string>
#include <vector>

#include "gpu/gpu_ops.h"
#include "machine.h"

namespace warploom::bench {

struct GpuReport {
  Machine machine;
  GpuDevice device;
  std::string model;         // of whole steps; empty: single ops
  std::string modelled_gpu;  // whose times the emulator modelled; empty: they are measured
  std::vector<GpuMeasurement> measurements;
};

/// format: one that check_format accepts.
std::string render(const GpuReport& report, const std::string& format);

}  // namespace warploom::bench
