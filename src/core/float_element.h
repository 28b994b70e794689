// Weights that are stored as floats, read one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "core/half.h"
#include "warploom/types.h"

namespace warploom {

/// The element type of a weight that is not quantised.
constexpr DType float_type(WeightType type) {
  return type == WeightType::f32 ? DType::f32 : type == WeightType::f16 ? DType::f16 : DType::bf16;
}

/// Element i of a row, which may have any alignment.
inline float float_at(DType type, const std::byte* row, std::int64_t i) {
  if (type == DType::f32) {
    float value;
    std::memcpy(&value, row + 4 * i, sizeof value);
    return value;
  }
  std::uint16_t value;
  std::memcpy(&value, row + 2 * i, sizeof value);
  return type == DType::f16 ? half_to_float(value) : bfloat16_to_float(value);
}

}  // namespace warploom
