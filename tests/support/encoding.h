// Floating-point numbers as a type holds them, and as its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "core/half.h"
#include "warploom/types.h"

namespace warploom::test {

/// Half the distance between neighbouring numbers, relative to the number: the error that one rounding to the type can make.
inline double rounding(DType type) { return type == DType::f32 ? 0x1p-24 : type == DType::f16 ? 0x1p-11 : 0x1p-8; }

/// type: f16 or bf16.
inline std::uint16_t to_16_bits(float value, DType type) {
  return type == DType::f16 ? float_to_half(value) : float_to_bfloat16(value);
}
inline float from_16_bits(std::uint16_t bits, DType type) {
  return type == DType::f16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

inline float rounded(float value, DType type) {
  return type == DType::f32 ? value : from_16_bits(to_16_bits(value, type), type);
}

inline std::vector<std::byte> encoded(std::span<const float> values, DType type) {
  const auto size = static_cast<std::size_t>(bytes_of(type));
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = type == DType::f32 ? std::uint16_t{0} : to_16_bits(values[i], type);
    std::memcpy(bytes.data() + size * i, type == DType::f32 ? static_cast<const void*>(&values[i]) : &half, size);
  }
  return bytes;
}

inline std::vector<float> decoded(std::span<const std::byte> bytes, DType type) {
  const auto size = static_cast<std::size_t>(bytes_of(type));
  std::vector<float> values(bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t half = 0;
    std::memcpy(type == DType::f32 ? static_cast<void*>(&values[i]) : &half, bytes.data() + size * i, size);
    if (type != DType::f32) values[i] = from_16_bits(half, type);
  }
  return values;
}

}  // namespace warploom::test
