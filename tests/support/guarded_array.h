// Device memory with guard bands around it, which the destructor checks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace warploom::test {

/// How a test reaches the memory of a device.
struct DeviceMemory {
  std::function<std::shared_ptr<void>(std::size_t bytes)> alloc;
  std::function<void(void* device, const void* host, std::size_t bytes)> upload;
  std::function<void(void* host, const void* device, std::size_t bytes)> download;  // after all work given so far
};

template <typename T>
class GuardedArray {
 public:
  /// Filled with guard bytes. `shift`: elements between the start and an allocator's boundary.
  GuardedArray(DeviceMemory memory, std::size_t count, std::size_t shift = 0)
      : memory_(std::move(memory)), before_(kBand + shift * sizeof(T)), bytes_(count * sizeof(T)) {
    const std::vector<std::byte> guards(before_ + bytes_ + kBand, kGuard);
    owner_ = memory_.alloc(guards.size());
    memory_.upload(owner_.get(), guards.data(), guards.size());
  }
  GuardedArray(DeviceMemory memory, const std::vector<T>& values, std::size_t shift = 0)
      : GuardedArray(std::move(memory), values.size(), shift) {
    if (bytes_ > 0) memory_.upload(data(), values.data(), bytes_);
  }
  GuardedArray(const GuardedArray&) = delete;
  GuardedArray& operator=(const GuardedArray&) = delete;
  ~GuardedArray() {
    std::vector<std::byte> all(before_ + bytes_ + kBand);
    try {
      memory_.download(all.data(), owner_.get(), all.size());
    } catch (const std::exception& error) {
      ADD_FAILURE() << "guard bands cannot be read: " << error.what();
      return;
    }
    for (std::size_t i = 0; i < all.size(); i = i + 1 == before_ ? before_ + bytes_ : i + 1) {
      if (all[i] == kGuard) continue;
      ADD_FAILURE() << "byte " << static_cast<std::ptrdiff_t>(i) - static_cast<std::ptrdiff_t>(before_)
                    << " was written; the array has " << bytes_;
      return;
    }
  }

  void write(const std::vector<T>& values) { memory_.upload(data(), values.data(), bytes_); }
  T* data() const { return reinterpret_cast<T*>(static_cast<std::byte*>(owner_.get()) + before_); }
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    memory_.download(values.data(), data(), bytes_);
    return values;
  }

 private:
  static constexpr std::size_t kBand = 256;
  static constexpr std::byte kGuard{0xff};  // NaN in every type of floating-point numbers: who reads a band cannot hide it

  DeviceMemory memory_;
  std::size_t before_, bytes_;
  std::shared_ptr<void> owner_;
};

}  // namespace warploom::test
