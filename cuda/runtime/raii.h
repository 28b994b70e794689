// Owners of CUDA runtime objects: move-only. Destructors never throw, even after the device has failed.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

namespace warploom::cuda {

/// Whether the program ends and CUDA is gone already: nothing is to be released then, and some libraries crash if asked to.
bool is_unloading();

/// Owns a handle, which `destroy` releases.
template <typename Handle, auto destroy>
class Owner {
 public:
  Owner() = default;
  explicit Owner(Handle handle) : handle_(handle) {}
  Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner& operator=(Owner&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owner() {
    if (handle_ && !is_unloading()) static_cast<void>(destroy(handle_));
  }
  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
};

using Stream = Owner<cudaStream_t, cudaStreamDestroy>;
using Graph = Owner<cudaGraph_t, cudaGraphDestroy>;
using GraphExec = Owner<cudaGraphExec_t, cudaGraphExecDestroy>;

/// Throws BackendError.
Stream create_stream();

/// Device memory. Throws OutOfMemory with its purpose `what` and size if the allocation fails.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(std::size_t bytes, const char* what);
  void* data() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  Owner<void*, cudaFree> memory_;
  std::size_t bytes_ = 0;
};

/// Page-locked host memory, so that copies can run asynchronously. Throws like DeviceBuffer.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(std::size_t bytes, const char* what);
  void* data() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  Owner<void*, cudaFreeHost> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace warploom::cuda
