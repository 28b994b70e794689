// Memory that the host and kernels share: pinned, registered, managed. What the host writes there is not seen, so all of it
// counts as initialised.
#include <map>

#include "holdings.h"
#include "memory.h"
#include "runtime.h"

namespace emulator {
namespace {

std::map<uint64_t, size_t>& registered() {
  static auto* const ranges = new std::map<uint64_t, size_t>;
  return *ranges;
}
std::map<uint64_t, size_t>& managed() {
  static auto* const ranges = new std::map<uint64_t, size_t>;
  return *ranges;
}
bool within(const std::map<uint64_t, size_t>& ranges, const void* p) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  const auto after = ranges.upper_bound(address);
  return after != ranges.begin() && address - std::prev(after)->first < std::prev(after)->second;
}

}  // namespace

bool is_pinned(const void* p) { return memory().host.holds(reinterpret_cast<uint64_t>(p), 1) || within(registered(), p); }
bool is_managed(const void* p) { return within(managed(), p); }
void forget_managed(const void* p) { managed().erase(reinterpret_cast<uint64_t>(p)); }

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  WARPLOOM_DEVICE_ENTRY;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  constexpr uint64_t kPage = 4096;
  const uint64_t address = memory().hosts->allocate(bytes, kPage, kInitialised);
  if (address == 0) return result(cudaErrorMemoryAllocation);
  *p = reinterpret_cast<void*>(address);
  hold(Held::kPinnedMemory, *p, bytes);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  WARPLOOM_ENTRY;
  return cudaHostAlloc(p, bytes, 0);
}
cudaError_t cudaFreeHost(void* p) {
  WARPLOOM_ENTRY;
  if (p == nullptr) return cudaSuccess;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  finish_work();
  if (!memory().hosts->release(reinterpret_cast<uint64_t>(p))) return result(cudaErrorInvalidValue);
  drop(Held::kPinnedMemory, p);
  return result(device_error());
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  WARPLOOM_ENTRY;
  if (!is_pinned(host)) return result(cudaErrorInvalidValue);
  if (within(registered(), host)) return result(cudaErrorNotSupported);  // it lies outside of what kernels reach
  *device = host;
  return cudaSuccess;
}
cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  WARPLOOM_ENTRY;
  if (!is_pinned(host)) return result(cudaErrorInvalidValue);
  *flags = cudaHostAllocMapped;
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  WARPLOOM_ENTRY;
  if (within(registered(), p)) return result(cudaErrorHostMemoryAlreadyRegistered);
  registered()[reinterpret_cast<uint64_t>(p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* p) {
  WARPLOOM_ENTRY;
  return registered().erase(reinterpret_cast<uint64_t>(p)) != 0 ? cudaSuccess : result(cudaErrorHostMemoryNotRegistered);
}

// The host reaches device memory as it is; that it must wait for kernels first is not checked.
cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned) {
  WARPLOOM_DEVICE_ENTRY;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  if (bytes == 0) return result(cudaErrorInvalidValue);
  if (const cudaError_t error = allocate_device(p, bytes); error != cudaSuccess) return error;
  const uint64_t address = reinterpret_cast<uint64_t>(*p);
  memory().mark(address, bytes, kInitialised);
  managed()[address] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMemPrefetchAsync(const void* p, size_t, cudaMemLocation, unsigned, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  return is_managed(p) ? cudaSuccess : result(cudaErrorInvalidValue);
}
cudaError_t cudaMemAdvise(const void* p, size_t, cudaMemoryAdvise, cudaMemLocation) {
  WARPLOOM_ENTRY;
  return is_managed(p) ? cudaSuccess : result(cudaErrorInvalidValue);
}
cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void* p, size_t, unsigned) {
  WARPLOOM_ENTRY;
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  return is_managed(p) ? cudaSuccess : result(cudaErrorInvalidValue);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  WARPLOOM_ENTRY;
  const bool device = is_device_address(p), shared = is_managed(p), pinned = is_pinned(p);
  *attributes = {};
  attributes->type = shared   ? cudaMemoryTypeManaged
                     : device ? cudaMemoryTypeDevice
                     : pinned ? cudaMemoryTypeHost
                              : cudaMemoryTypeUnregistered;
  const bool reached = device || memory().host.holds(reinterpret_cast<uint64_t>(p), 1);
  attributes->devicePointer = reached ? const_cast<void*>(p) : nullptr;
  attributes->hostPointer = !device || shared ? const_cast<void*>(p) : nullptr;
  return cudaSuccess;
}

}  // extern "C"
