// A weight matrix as a model file stores it: row-major, each row a whole number of blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/dtype.h"

namespace warploom {

struct WeightView;

/// Where rows are read from when they are needed.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// Copies the rows [first, first + count) of one of its views. out: [count * view.row_bytes()]. Throws ModelError if they cannot
  /// be read or a weight is NaN or infinite. Several threads may call it at once.
  virtual void read(const WeightView& view, std::int64_t first, std::int64_t count, std::byte* out) const = 0;
};

struct WeightView {
  WeightType type = WeightType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;            // a multiple of traits(type).block
  const std::byte* data = nullptr;  // rows * row_bytes() bytes, any alignment; null if `source` has them
  std::string_view name;            // for messages
  const WeightSource* source = nullptr;

  std::size_t row_bytes() const { return static_cast<std::size_t>(cols / traits(type).block) * traits(type).block_bytes; }
  std::size_t bytes() const { return static_cast<std::size_t>(rows) * row_bytes(); }
};

}  // namespace warploom
