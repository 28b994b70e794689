#include "cuda/runtime/raii.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/runtime/check.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {

// cudaErrorMemoryAllocation is no fault of the device: the error is taken back from the runtime, and work can go on.
void check_allocation(cudaError_t error, std::size_t bytes, const char* what, const char* where) {
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw OutOfMemory(fmt::format("{}: cannot allocate {} bytes of {}", what, bytes, where));
  }
  check(error, what);
}

}  // namespace

Stream create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return Stream(stream);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes, const char* what) : bytes_(bytes) {
  void* memory = nullptr;
  check_allocation(cudaMalloc(&memory, std::max<std::size_t>(bytes, 1)), bytes, what, "device memory");
  memory_ = Owner<void*, cudaFree>(memory);
}

PinnedBuffer::PinnedBuffer(std::size_t bytes, const char* what) : bytes_(bytes) {
  void* memory = nullptr;
  check_allocation(cudaHostAlloc(&memory, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault), bytes, what,
                   "pinned memory");
  memory_ = Owner<void*, cudaFreeHost>(memory);
}

}  // namespace warploom::cuda
