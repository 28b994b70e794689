// Device memory in the order of a stream: neither taking it nor giving it back waits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

namespace warploom::python {

/// Makes a GPU the current one while this lives. Throws BackendError if there is none of this number.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int device_, before_ = 0;
};

/// `bytes` of the current device's memory, for work on `stream`; null if bytes is 0. What is given back is kept for later
/// calls. Throws OutOfMemory or BackendError.
class StreamMemory {
 public:
  StreamMemory() = default;
  StreamMemory(std::size_t bytes, cudaStream_t stream);
  StreamMemory(StreamMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), stream_(other.stream_) {}
  StreamMemory& operator=(StreamMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(stream_, other.stream_);
    return *this;
  }
  /// Its stream must still be there.
  ~StreamMemory();

  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

}  // namespace warploom::python
