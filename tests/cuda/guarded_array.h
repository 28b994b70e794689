// The memory of the CUDA device, for arrays with guard bands.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>

#include "support/guarded_array.h"

namespace warploom::test {

inline void throw_on_cuda_error(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

inline DeviceMemory cuda_memory() {
  return {[](std::size_t bytes) {
            void* memory = nullptr;
            throw_on_cuda_error(cudaMalloc(&memory, bytes));
            return std::shared_ptr<void>(memory, [](void* p) { cudaFree(p); });
          },
          [](void* device, const void* host, std::size_t bytes) {
            throw_on_cuda_error(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
            throw_on_cuda_error(
                cudaStreamSynchronize(nullptr));  // the bytes may arrive after the call; tests have streams of their own
          },
          [](void* host, const void* device, std::size_t bytes) {
            throw_on_cuda_error(cudaDeviceSynchronize());
            throw_on_cuda_error(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost));
          }};
}

/// On the CUDA device.
template <typename T>
class CudaArray : public GuardedArray<T> {
 public:
  explicit CudaArray(std::size_t count, std::size_t shift = 0) : GuardedArray<T>(cuda_memory(), count, shift) {}
  explicit CudaArray(const std::vector<T>& values, std::size_t shift = 0) : GuardedArray<T>(cuda_memory(), values, shift) {}
};

}  // namespace warploom::test
