// Copies and fills, of symbols too.
#include <algorithm>

#include "copies.h"
#include "dependent_launch.h"
#include "memory.h"
#include "runtime.h"

namespace emulator {
namespace {

uint64_t host_launch = 0;  // of cuBLAS's kernels, the one that runs

// At once, or in the stream's order; always as a node where the stream is being captured, which reads when the graph runs.
cudaError_t start_copy(const Copy& copy, cudaMemcpyKind kind, cudaStream_t stream, bool async) {
  if (device_error() != cudaSuccess) return result(device_error());
  if (copy.box.empty()) return cudaSuccess;
  if (const cudaError_t error = check_copy(copy, kind); error != cudaSuccess) return result(error);
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  // A pageable host source is read before the call returns; a pageable destination is written before it returns.
  const bool capturing = resolve(stream)->capture != nullptr;
  const auto pageable = [](const Side& side) {
    const auto* p = reinterpret_cast<const void*>(side.address);
    return !is_device_address(p) && !is_pinned(p);
  };
  const auto* to = reinterpret_cast<const void*>(copy.to.address);
  if (!async && !capturing && pageable(copy.from) && is_device_address(to) && !is_managed(to)) {
    // CUDA runtime API, "API synchronization behavior": the stream is waited for before, and the call returns once the source has been read.
    // The bytes arrive later, for which a stream that does not wait for this one does not wait.
    if (const cudaError_t error = wait_for_stream(stream); error != cudaSuccess) return error;
    if (!check_target(copy)) return result(device_error());
    enqueue(stream, copy_work_now(copy));
    return cudaSuccess;
  }
  enqueue(stream, async && !capturing && pageable(copy.from) ? copy_work_now(copy) : copy_work(copy));
  return !async || (pageable(copy.to) && !capturing) ? wait_for_stream(stream) : cudaSuccess;
}
cudaError_t copy_rows(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                      cudaMemcpyKind kind, cudaStream_t stream, bool async) {
  return start_copy(
      {{reinterpret_cast<uint64_t>(to), to_pitch, 0}, {reinterpret_cast<uint64_t>(from), from_pitch, 0}, {width, height, 1}},
      kind, stream, async);
}
cudaError_t copy_volume(const cudaMemcpy3DParms* p, cudaStream_t stream, bool async) {
  if (p->srcArray != nullptr || p->dstArray != nullptr) return result(cudaErrorNotSupported);
  return start_copy(copy_of(*p), p->kind, stream, async);
}

cudaError_t start_fill(void* to, size_t pitch, size_t slice, int value, Box box, cudaStream_t stream, bool async) {
  if (device_error() != cudaSuccess) return result(device_error());
  if (box.empty()) return cudaSuccess;
  const Fill fill{{reinterpret_cast<uint64_t>(to), pitch, slice}, box, static_cast<uint32_t>(value), 1};
  if (const cudaError_t error = check_fill(fill); error != cudaSuccess) return result(error);
  if (const cudaError_t error = check_stream(stream); error != cudaSuccess) return error;
  enqueue(stream, fill_work(fill));
  return async ? cudaSuccess : wait_for_stream(stream);
}
cudaError_t fill(void* to, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream, bool async) {
  return start_fill(to, pitch, 0, value, {width, height, 1}, stream, async);
}
cudaError_t fill_volume(const cudaPitchedPtr& to, int value, const cudaExtent& e, cudaStream_t stream, bool async) {
  return start_fill(to.ptr, to.pitch, to.pitch * to.ysize, value, {e.width, e.height, e.depth}, stream, async);
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

bool is_device_address(const void* p) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  return memory().holds(address) && !memory().host.holds(address, 1);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void warploom_emulator_limit_memory(size_t bytes) { memory().heap->set_limit(bytes); }

// For the emulated cuBLAS, which is a library of its own.
void warploom_emulator_enqueue(cudaStream_t stream, const std::function<void()>& work) {
  WARPLOOM_RUNTIME_LOCK;
  auto record = std::make_shared<LaunchRecord>();
  const auto run = [work, record] {
    host_launch = record->unfinished = next_launch_id();
    work();
  };
  enqueue(stream, {cudaGraphNodeTypeKernel, run, nullptr, record});
}
bool warploom_emulator_check(const void* p, size_t bytes, int kind, const char* who) {
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  if (bytes == 0) return true;
  if (!check_allocated(address, bytes, who)) return false;
  remember_access(host_launch, address, bytes, kind == 1);
  uint8_t* shadow = memory().shadow(address);
  if (kind == 1) {
    memory().mark(address, bytes, kInitialised);
  } else if (std::find(shadow, shadow + bytes, kUninitialised) != shadow + bytes) {
    set_device_error(cudaErrorLaunchFailure, std::string(who) + ": uninitialised, " + memory().describe(address));
    return false;
  }
  return true;
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

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* p) {
  WARPLOOM_ENTRY;
  return copy_volume(p, nullptr, false);
}
cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* p, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_volume(p, stream, true);
}
cudaError_t cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) {
  WARPLOOM_ENTRY;
  return copy_rows(d, n, s, n, n, 1, cudaMemcpyDeviceToDevice, nullptr, false);
}
cudaError_t cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return copy_rows(d, n, s, n, n, 1, cudaMemcpyDeviceToDevice, stream, true);
}
cudaError_t cudaMemset3D(cudaPitchedPtr to, int value, cudaExtent extent) {
  WARPLOOM_ENTRY;
  return fill_volume(to, value, extent, nullptr, false);
}
cudaError_t cudaMemset3DAsync(cudaPitchedPtr to, int value, cudaExtent extent, cudaStream_t stream) {
  WARPLOOM_ENTRY;
  return fill_volume(to, value, extent, stream, true);
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
