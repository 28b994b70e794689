// Device memory with guard bands around it, which the destructor checks.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace warploom::test {

inline void throw_on_cuda_error(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

template <typename T>
class GuardedArray {
 public:
  /// Filled with guard bytes. `shift`: elements by which the start is off the allocator's boundary.
  explicit GuardedArray(std::size_t count, std::size_t shift = 0) : count_(count), before_(kBand + shift) {
    throw_on_cuda_error(cudaMalloc(reinterpret_cast<void**>(&memory_), total() * sizeof(T)));
    throw_on_cuda_error(cudaMemset(memory_, kGuard, total() * sizeof(T)));
  }
  explicit GuardedArray(const std::vector<T>& values, std::size_t shift = 0) : GuardedArray(values.size(), shift) {
    throw_on_cuda_error(cudaMemcpy(data(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  GuardedArray(const GuardedArray&) = delete;
  GuardedArray& operator=(const GuardedArray&) = delete;
  ~GuardedArray() {
    std::vector<T> all(total());
    if (cudaMemcpy(all.data(), memory_, total() * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(all.data());
      for (std::size_t i = 0; i < total() * sizeof(T); ++i) {
        if (i / sizeof(T) >= before_ && i / sizeof(T) < before_ + count_) continue;
        if (bytes[i] == kGuard) continue;
        ADD_FAILURE() << "wrote outside the array, element " << static_cast<std::ptrdiff_t>(i / sizeof(T) - before_)
                      << " of " << count_;
        break;
      }
    }
    cudaFree(memory_);
  }

  T* data() const { return memory_ + before_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    throw_on_cuda_error(cudaDeviceSynchronize());
    throw_on_cuda_error(cudaMemcpy(values.data(), data(), count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  static constexpr std::size_t kBand = 64;
  static constexpr unsigned char kGuard = 0xb7;
  std::size_t total() const { return before_ + count_ + kBand; }

  std::size_t count_, before_;
  T* memory_ = nullptr;
};

}  // namespace warploom::test
