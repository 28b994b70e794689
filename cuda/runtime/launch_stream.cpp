#include "cuda/runtime/launch_stream.h"

#include "cuda/runtime/check.h"

namespace warploom::cuda {

bool can_launch_dependent(int gpu, const void* kernel) {
  constexpr int kLeastMajor = 9, kLeastCode = 90;
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu), "asking what the GPU is");
  if (major < kLeastMajor) return false;
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), "asking what a kernel was compiled for");
  return attributes.ptxVersion >= kLeastCode;
}

void launch_kernel(const void* kernel, const char* what, dim3 grid, unsigned threads, void** arguments,
                   std::size_t shared_bytes, const LaunchStream& stream) {
  if (!stream.dependent)
    return check(cudaLaunchKernel(kernel, grid, dim3(threads), arguments, shared_bytes, stream.stream), what);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  check(cudaLaunchKernelExC(&config, kernel, arguments), what);
}

}  // namespace warploom::cuda
