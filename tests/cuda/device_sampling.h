// Runs the device's sampling on host data, with guard bands around every output.
#pragma once

#include <cuda_runtime_api.h>

#include <span>
#include <vector>

#include "warploom/cuda/sampling.h"

namespace warploom::test {

/// Device memory with a copy of `values`.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::span<const T> values) : size_(values.size()) {
    allocate();
    if (size_ > 0) ok(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(std::span<const T>(values)) {}
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> values(size_);
    if (size_ > 0) ok(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  static void ok(cudaError_t error);
  void allocate() { ok(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<std::size_t>(size_, 1) * sizeof(T))); }

  std::size_t size_;
  T* data_ = nullptr;
};

void throw_on_error(cudaError_t error);

template <typename T>
void DeviceArray<T>::ok(cudaError_t error) {
  throw_on_error(error);
}

/// What each row got: argmax, num_kept and weights too, the rest as wanted. parts as in SampleArgs.
std::vector<SampleResult> sample_on_device(const LogitsView& logits, std::span<const SamplingInput> rows, int parts,
                                           const SampleOutputs& wants = {.logprob = true, .filtered_logprob = true});

}  // namespace warploom::test
