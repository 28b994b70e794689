// Memory: allocation, copies, fills, symbols. Copies check both sides against the sanitiser's shadow.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "graph.h"
#include "holdings.h"
#include "memory.h"
#include "runtime.h"

namespace emulator {
namespace {

std::map<uint64_t, size_t>& pinned() {
  static auto* const blocks = new std::map<uint64_t, size_t>;
  return *blocks;
}

// True where all bytes are allocated; a failed check stops the device as an access by a kernel would.
bool check(uint64_t address, size_t bytes, const char* what) {
  const Memory& m = memory();
  bool ok = m.holds(address) && (bytes == 0 || m.holds(address + bytes - 1));
  size_t at = 0;
  for (const uint8_t* shadow = m.shadow(address); ok && at < bytes; ++at)
    if ((shadow[at] & kUninitialised) == 0) break;
  if (ok && at == bytes) return true;
  set_device_error(cudaErrorIllegalAddress,
                   std::string(what) + " of " + std::to_string(bytes) + " bytes: " + m.describe(address + at));
  return false;
}

void copy(uint64_t to, uint64_t from, size_t bytes) {
  if (bytes == 0) return;
  const bool to_device = is_device_address(reinterpret_cast<void*>(to)),
             from_device = is_device_address(reinterpret_cast<void*>(from));
  if (from_device && !check(from, bytes, "copy from device memory")) return;
  if (to_device && !check(to, bytes, "copy to device memory")) return;
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  if (!to_device) return;
  if (from_device)
    std::memmove(memory().shadow(to), memory().shadow(from), bytes);  // what is uninitialised stays so
  else
    memory().mark(to, bytes, kInitialised);
}

cudaError_t check_kind(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool d = is_device_address(to), s = is_device_address(from);
  switch (kind) {
    case cudaMemcpyHostToDevice: return d && !s ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyDeviceToHost: return !d && s ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyDeviceToDevice: return d && s ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyHostToHost: return !d && !s ? cudaSuccess : cudaErrorInvalidValue;
    default: return cudaSuccess;
  }
}

cudaError_t copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                      cudaMemcpyKind kind, cudaStream_t stream, bool async) {
  WARPLOOM_RUNTIME_LOCK;
  if (device_error() != cudaSuccess) return result(device_error());
  if (width == 0 || height == 0) return cudaSuccess;
  if (height > 1 && (width > to_pitch || width > from_pitch)) return result(cudaErrorInvalidPitchValue);
  if (const cudaError_t error = check_kind(to, from, kind); error != cudaSuccess) return result(error);
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  const uint64_t d = reinterpret_cast<uint64_t>(to), s = reinterpret_cast<uint64_t>(from);
  // A pageable host source is read before the call returns; a pageable destination is written before it returns.
  const bool capturing = resolve(stream)->capture != nullptr;  // a graph's copies read when the graph runs
  if (async && !capturing && !is_device_address(from) && !is_pinned(from)) {
    std::vector<uint8_t> staged(width * height);
    for (size_t y = 0; y < height; ++y)
      std::memcpy(&staged[y * width], static_cast<const uint8_t*>(from) + y * from_pitch, width);
    auto rows = [=, staged = std::move(staged)] {
      for (size_t y = 0; y < height; ++y) copy(d + y * to_pitch, reinterpret_cast<uint64_t>(&staged[y * width]), width);
    };
    enqueue(stream, {cudaGraphNodeTypeMemcpy, std::move(rows), nullptr});
  } else {
    auto rows = [=] {
      for (size_t y = 0; y < height; ++y) copy(d + y * to_pitch, s + y * from_pitch, width);
    };
    enqueue(stream, {cudaGraphNodeTypeMemcpy, rows, nullptr});
  }
  const bool pageable_destination = !is_device_address(to) && !is_pinned(to);
  return !async || (pageable_destination && !capturing) ? wait_for_stream(stream) : cudaSuccess;
}

cudaError_t fill(void* to, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream, bool async) {
  WARPLOOM_RUNTIME_LOCK;
  if (device_error() != cudaSuccess) return result(device_error());
  if (width == 0 || height == 0) return cudaSuccess;
  if (!is_device_address(to) && !is_pinned(to)) return result(cudaErrorInvalidValue);
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  auto rows = [=] {
    for (size_t y = 0; y < height; ++y) {
      const uint64_t row = reinterpret_cast<uint64_t>(to) + y * pitch;
      if (is_device_address(to)) {
        if (!check(row, width, "fill")) return;
        memory().mark(row, width, kInitialised);
      }
      std::memset(reinterpret_cast<void*>(row), value, width);
    }
  };
  enqueue(stream, {cudaGraphNodeTypeMemset, rows, nullptr});
  return async ? cudaSuccess : wait_for_stream(stream);
}

cudaError_t copy_symbol(const void* symbol, void* host, size_t count, size_t offset, cudaMemcpyKind kind,
                        cudaStream_t stream, bool to_symbol, bool async) {
  WARPLOOM_RUNTIME_LOCK;
  uint64_t address;
  size_t size;
  if (!find_symbol(symbol, address, size)) return result(cudaErrorInvalidSymbol);
  if (offset + count > size) return result(cudaErrorInvalidValue);
  void* device = reinterpret_cast<void*>(address + offset);
  return to_symbol ? copy_rows(device, count, host, count, count, 1, kind, stream, async)
                   : copy_rows(host, count, device, count, count, 1, kind, stream, async);
}

}  // namespace

bool is_device_address(const void* p) { return memory().holds(reinterpret_cast<uint64_t>(p)); }
bool is_pinned(const void* p) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  auto after = pinned().upper_bound(address);
  return after != pinned().begin() && address < (--after)->first + after->second;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void warploom_emulator_limit_memory(size_t bytes) { memory().heap->set_limit(bytes); }

// For the emulated cuBLAS, which is a library of its own.
void warploom_emulator_enqueue(cudaStream_t stream, const std::function<void()>& work) {
  WARPLOOM_RUNTIME_LOCK;
  enqueue(stream, {cudaGraphNodeTypeKernel, work, nullptr});
}
bool warploom_emulator_check(const void* p, size_t bytes, int kind, const char* who) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  if (bytes == 0) return true;
  if (!check(address, bytes, who)) return false;
  uint8_t* shadow = memory().shadow(address);
  if (kind == 1) {
    memory().mark(address, bytes, kInitialised);
  } else if (std::find(shadow, shadow + bytes, kUninitialised) != shadow + bytes) {
    set_device_error(cudaErrorLaunchFailure, std::string(who) + ": uninitialised, " + memory().describe(address));
    return false;
  }
  return true;
}

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  WARPLOOM_DEVICE_ENTRY;
  if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
  *p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (*p == nullptr) return result(cudaErrorMemoryAllocation);
  pinned()[reinterpret_cast<uint64_t>(*p)] = bytes;
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
  const cudaError_t error = result(device_error());
  if (pinned().erase(reinterpret_cast<uint64_t>(p)) == 0) return result(cudaErrorInvalidValue);
  drop(Held::kPinnedMemory, p);
  std::free(p);
  return error;
}
cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  WARPLOOM_ENTRY;
  pinned()[reinterpret_cast<uint64_t>(p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* p) {
  WARPLOOM_ENTRY;
  return pinned().erase(reinterpret_cast<uint64_t>(p)) != 0 ? cudaSuccess : result(cudaErrorHostMemoryNotRegistered);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  WARPLOOM_ENTRY;
  *attributes = {};
  const bool device = is_device_address(p);
  attributes->type = device ? cudaMemoryTypeDevice : is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  attributes->devicePointer = device ? const_cast<void*>(p) : nullptr;
  attributes->hostPointer = device ? nullptr : const_cast<void*>(p);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  return copy_rows(d, n, s, n, n, 1, kind, nullptr, false);
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind kind, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_rows(d, n, s, n, n, 1, kind, stream, true);
}
cudaError_t cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t width, size_t height, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  return copy_rows(d, dp, s, sp, width, height, kind, nullptr, false);
}
cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_rows(d, dp, s, sp, width, height, kind, stream, true);
}
cudaError_t cudaMemset(void* p, int value, size_t n) {
  WARPLOOM_ENTRY;
  return fill(p, n, value, n, 1, nullptr, false);
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return fill(p, n, value, n, 1, stream, true);
}
cudaError_t cudaMemset2D(void* p, size_t pitch, int value, size_t width, size_t height) {
  WARPLOOM_ENTRY;
  return fill(p, pitch, value, width, height, nullptr, false);
}
cudaError_t cudaMemset2DAsync(void* p, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return fill(p, pitch, value, width, height, stream, true);
}

cudaError_t cudaGetSymbolAddress(void** p, const void* symbol) {
  WARPLOOM_ENTRY;
  uint64_t address;
  size_t size;
  if (!find_symbol(symbol, address, size)) return result(cudaErrorInvalidSymbol);
  *p = reinterpret_cast<void*>(address);
  return cudaSuccess;
}
cudaError_t cudaGetSymbolSize(size_t* size, const void* symbol) {
  WARPLOOM_ENTRY;
  uint64_t address;
  return find_symbol(symbol, address, *size) ? cudaSuccess : result(cudaErrorInvalidSymbol);
}
cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* source, size_t count, size_t offset, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  return copy_symbol(symbol, const_cast<void*>(source), count, offset, kind, nullptr, true, false);
}
cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t count, size_t offset, cudaMemcpyKind kind) {
  WARPLOOM_ENTRY;
  return copy_symbol(symbol, to, count, offset, kind, nullptr, false, false);
}
cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* source, size_t count, size_t offset, cudaMemcpyKind kind,
                                    cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_symbol(symbol, const_cast<void*>(source), count, offset, kind, stream, true, true);
}
cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t count, size_t offset, cudaMemcpyKind kind,
                                      cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_symbol(symbol, to, count, offset, kind, stream, false, true);
}

}  // extern "C"
