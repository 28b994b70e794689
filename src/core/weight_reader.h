// Brings into memory what a weight's views name.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace warploom {

/// Not thread-safe.
class WeightReader {
 public:
  /// The same parts, all with data, until the next call. Throws what their sources throw.
  std::span<const WeightView> read(std::span<const WeightView> parts) {
    parts_.assign(parts.begin(), parts.end());
    std::size_t bytes = 0;
    for (const WeightView& part : parts_)
      if (!part.data) bytes += part.bytes();
    std::byte* to = memory_for(bytes);
    for (WeightView& part : parts_) {
      if (part.data) continue;
      part.source->read(part, 0, part.rows, to);
      part.data = to;
      to += part.bytes();
    }
    return parts_;
  }

 private:
  /// Kept for the next parts, unless they are much smaller.
  std::byte* memory_for(std::size_t bytes) {
    if (bytes > memory_bytes_ || bytes < memory_bytes_ / 8) {
      memory_.reset();
      memory_bytes_ = 0;
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      memory_bytes_ = bytes;
    }
    return memory_.get();
  }

  std::vector<WeightView> parts_;
  std::unique_ptr<std::byte[]> memory_;
  std::size_t memory_bytes_ = 0;
};

}  // namespace warploom
