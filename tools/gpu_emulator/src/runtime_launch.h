// A kernel with its configuration and arguments, checked and ready to run: of a launch, or of a graph's node.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "dependent_launch.h"
#include "runtime.h"

namespace emulator {

struct KernelLaunch {
  Kernel* kernel = nullptr;
  const void* function = nullptr;  // as the caller named it
  dim3 grid, block;
  size_t shared = 0;
  bool cooperative = false;
  bool programmatic = false;    // may begin before the kernel ahead of it has ended
  std::vector<uint8_t> params;  // laid out as the kernel expects them
  std::shared_ptr<LaunchRecord> record = std::make_shared<LaunchRecord>();
  std::shared_ptr<LaunchRecord> before;  // of that kernel, if it need not have ended

  void run(bool in_graph) const;   // on the device, now
  std::vector<void*> arguments();  // where each one lies in params
};

// Checks what the runtime checks, and copies the arguments. Throws std::runtime_error where the kernel's PTX is not
// supported.
cudaError_t prepare(const void* function, dim3 grid, dim3 block, void** args, size_t shared, bool cooperative,
                    KernelLaunch& launch);

}  // namespace emulator
