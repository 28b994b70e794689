// `warploom-bench --gpu-ops`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_options.h"
#include "gpu/gpu_ops.h"

namespace warploom::bench {

struct GpuCommand {
  GpuOpsOptions ops;
  cli::ModelChoice model;             // with a shape: its decode steps are timed, not single ops
  std::vector<std::int64_t> batches;  // of steps
  std::int64_t context = 32;
  std::string format;
};

/// Prints the report; progress goes to standard error. Throws InvalidArgument, OutOfMemory or BackendError.
void run_gpu_ops(const GpuCommand& command);

}  // namespace warploom::bench
