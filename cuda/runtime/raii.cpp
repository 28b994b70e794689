#include "cuda/runtime/raii.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/runtime/check.h"
#include "cuda/runtime/free_memory.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

// After cudaErrorMemoryAllocation the device is fine: the runtime's last error is cleared, and work can continue.
void check_allocation(cudaError_t error, std::size_t bytes, const char* what, bool on_device) {
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw OutOfMemory(fmt::format("{}: cannot allocate {} bytes ({:.1f} MiB) of {}{}", what, bytes,
                                  static_cast<double>(bytes) / (1 << 20), on_device ? "device memory" : "pinned memory",
                                  on_device ? free_memory() : ""));
  }
  check(error, what);
}

}  // namespace

bool is_unloading() {
  int device = 0;
  return cudaGetDevice(&device) == cudaErrorCudartUnloading;
}

Stream create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return Stream(stream);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes, const char* what) : bytes_(bytes) {
  void* memory = nullptr;
  check_allocation(cudaMalloc(&memory, std::max<std::size_t>(bytes, 1)), bytes, what, true);
  memory_ = Owner<void*, cudaFree>(memory);
}

PinnedBuffer::PinnedBuffer(std::size_t bytes, const char* what) : bytes_(bytes) {
  void* memory = nullptr;
  check_allocation(cudaHostAlloc(&memory, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault), bytes, what, false);
  memory_ = Owner<void*, cudaFreeHost>(memory);
}

}  // namespace warploom::cuda
