// A view of a weight matrix as a model file stores it: row-major, each row a whole number of blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/dtype.h"

namespace warploom {

struct WeightView {
  WeightType type = WeightType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;            // a multiple of traits(type).block
  const std::byte* data = nullptr;  // rows * row_bytes() bytes, any alignment
  std::string_view name;            // for messages

  std::size_t row_bytes() const { return static_cast<std::size_t>(cols / traits(type).block) * traits(type).block_bytes; }
  std::size_t bytes() const { return static_cast<std::size_t>(rows) * row_bytes(); }
};

}  // namespace warploom
