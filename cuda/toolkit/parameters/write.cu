// Writes bytes to device memory that come as the kernel's own argument.
//
// Shapes:   at most 4,000 bytes a launch.
// Layout:   a thread writes every 256th byte.
// Bytes:    each once.
// Launch:   one block of 256 threads.
// Capture:  yes: the graph keeps the bytes.
// Numerics: exact.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "cuda/runtime/check.h"
#include "warploom/cuda/parameters.h"
#include "warploom/error.h"

namespace warploom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::size_t kBytes = 4000;  // all arguments of a kernel together have 4,096

struct Chunk {
  std::uint8_t* to;
  std::uint32_t bytes;
  std::uint8_t from[kBytes];
};

__global__ void __launch_bounds__(kThreads) write_kernel(const __grid_constant__ Chunk chunk) {
  for (std::uint32_t i = threadIdx.x; i < chunk.bytes; i += kThreads) chunk.to[i] = chunk.from[i];
}

}  // namespace

void write_parameters(void* device, const void* host, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  if (!device || !host)
    throw InvalidArgument(std::string(device ? "host" : "device") + " is null; it must be memory of " +
                          std::to_string(bytes) + " bytes");
  for (std::size_t done = 0; done < bytes; done += kBytes) {
    Chunk chunk;
    chunk.to = static_cast<std::uint8_t*>(device) + done;
    chunk.bytes = static_cast<std::uint32_t>(std::min(kBytes, bytes - done));
    std::memcpy(chunk.from, static_cast<const std::uint8_t*>(host) + done, chunk.bytes);
    void* arguments[] = {&chunk};
    check(cudaLaunchKernel(reinterpret_cast<const void*>(write_kernel), dim3(1), dim3(kThreads), arguments, 0, stream),
          "launching write_kernel");
  }
}

}  // namespace warploom::cuda
