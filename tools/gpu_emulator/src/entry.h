// What every entry point of the runtime does first: lock, remember who calls, and fail where a fault was injected.
#pragma once

#include <cuda_runtime_api.h>

#include <mutex>

namespace emulator {

std::recursive_mutex& runtime_mutex();
#define WARPLOOM_RUNTIME_LOCK const std::lock_guard<std::recursive_mutex> lock(emulator::runtime_mutex())

cudaError_t result(cudaError_t error);  // remembers it as the host thread's last error where it is one

// The error that was injected for this call of an entry point; cudaSuccess most often. Counts the call.
cudaError_t injected(const char* entry_point);

class Entry {
 public:
  Entry(const char* entry_point, const void* caller);
  ~Entry();
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  cudaError_t error() const { return error_; }
  static const void* caller();  // of the entry point at hand, in the program

 private:
  cudaError_t error_ = cudaSuccess;
};

// The first line of an entry point that returns a cudaError_t. Entry points that call others count once.
#define WARPLOOM_ENTRY                                                      \
  WARPLOOM_RUNTIME_LOCK;                                                    \
  const emulator::Entry entry_point(__func__, __builtin_return_address(0)); \
  if (entry_point.error() != cudaSuccess) return emulator::result(entry_point.error())

// The first line of one that makes something or gives the device work: a fault of the device is its answer from then on.
#define WARPLOOM_DEVICE_ENTRY \
  WARPLOOM_ENTRY;             \
  if (emulator::device_error() != cudaSuccess) return emulator::result(emulator::device_error())

}  // namespace emulator
