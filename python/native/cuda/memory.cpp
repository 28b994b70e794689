#include "native/cuda/memory.h"

#include <cstdint>
#include <map>
#include <mutex>

#include "cuda/runtime/check.h"

namespace warploom::python {

using cuda::check;

namespace {

// A pool of our own, so that how much is kept is set for nobody else. It lives as long as the process.
cudaMemPool_t pool_of(int device) {
  static auto* const mutex = new std::mutex;
  static auto* const pools = new std::map<int, cudaMemPool_t>;
  const std::lock_guard lock(*mutex);
  const auto found = pools->find(device);
  if (found != pools->end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  check(cudaMemPoolCreate(&pool, &properties), "creating a pool of device memory");
  std::uint64_t kept = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept), "setting up a pool of device memory");
  return pools->emplace(device, pool).first->second;
}

}  // namespace

OnDevice::OnDevice(int device) : device_(device) {
  check(cudaGetDevice(&before_), "asking for the current GPU");
  if (device_ != before_) check(cudaSetDevice(device_), "choosing a GPU");
}

OnDevice::~OnDevice() {
  if (device_ != before_) static_cast<void>(cudaSetDevice(before_));
}

StreamMemory::StreamMemory(std::size_t bytes, cudaStream_t stream) : stream_(stream) {
  if (bytes == 0) return;
  void* memory = nullptr;
  cudaStreamCaptureStatus capturing{};
  check(cudaStreamIsCapturing(stream, &capturing), "asking whether the stream is captured");
  // A graph has memory of its own, and no pool may be created while it is captured.
  if (capturing != cudaStreamCaptureStatusNone) {
    check(cudaMallocAsync(&memory, bytes, stream), "allocating memory for sampling");
  } else {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    check(cudaMallocFromPoolAsync(&memory, bytes, pool_of(device), stream), "allocating memory for sampling");
  }
  data_ = static_cast<std::byte*>(memory);
}

StreamMemory::~StreamMemory() {
  if (data_) static_cast<void>(cudaFreeAsync(data_, stream_));
}

}  // namespace warploom::python
