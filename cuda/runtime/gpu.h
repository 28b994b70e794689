// Whether a GPU can run the kernels, and what to do if not.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace warploom::cuda {

/// What CUDA's runtime says of a machine and of one of its GPUs.
struct GpuFacts {
  cudaError_t error = cudaSuccess;  // of asking for their number
  int driver = 0;                   // the version of CUDA that the driver knows, 12040: 12.4; 0: there is no driver
  int gpus = 0;
  int gpu = 0;               // which one, from 0
  std::string name;          // its name
  int major = 0, minor = 0;  // its compute capability
};

/// Empty if that GPU can run the kernels; else what is wrong and what to do about it. Throws InvalidArgument if there are GPUs, but
/// none of that number.
std::string why_unusable(const GpuFacts& facts);

/// The same of a GPU of this machine, as the driver counts. Throws BackendError too.
std::string why_unusable(int gpu);

}  // namespace warploom::cuda
