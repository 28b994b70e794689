// `warploom-bench --gpu-ops`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_options.h"
#include "gpu/gpu_ops.h"

namespace warploom::bench {

struct GpuCommand {
  GpuOpsOptions ops;                  // but for the GPU
  cli::ModelChoice model;             // the GPU; with a shape: its decode steps are timed, not single ops
  std::vector<std::int64_t> batches;  // of steps
  std::int64_t context = 32;
  std::string format;
};

/// Prints the names of the tests of single ops. Throws InvalidArgument.
void list_gpu_ops(const GpuOpsOptions& options);

/// Prints the report; progress goes to standard error. Names are checked before a GPU is looked for. Throws InvalidArgument,
/// OutOfMemory or BackendError.
void run_gpu_ops(GpuCommand command);

}  // namespace warploom::bench
