// Values as ggml's reference dequantisation gives them, each product and sum rounded to f32.
#include "checkpoint/quants.h"

#include <cstring>

#include "core/float_element.h"
#include "core/quant_group.h"

namespace warploom {

namespace {

/// Whether any element has all bits of `exponent`: NaN or an infinity. T may have any alignment.
template <typename T>
bool any_has(const std::byte* from, std::int64_t count, T exponent) {
  bool found = false;
  for (std::int64_t i = 0; i < count; ++i) {
    T bits;
    std::memcpy(&bits, from + static_cast<std::size_t>(i) * sizeof bits, sizeof bits);
    found |= (bits & exponent) == exponent;
  }
  return found;
}

bool is_finite_row(const WeightView& weight, const std::byte* row) {
  switch (weight.type) {
    case WeightType::f32: return !any_has<std::uint32_t>(row, weight.cols, 0x7f800000);
    case WeightType::f16: return !any_has<std::uint16_t>(row, weight.cols, 0x7c00);
    case WeightType::bf16: return !any_has<std::uint16_t>(row, weight.cols, 0x7f80);
    default: break;
  }
  return have_finite_weights(weight.type, row, weight.cols / traits(weight.type).block);
}

}  // namespace

std::int64_t first_row_without_numbers(const WeightView& weight) {
  if (is_quantised(weight.type) &&
      have_finite_weights(weight.type, weight.data, weight.rows * (weight.cols / traits(weight.type).block)))
    return -1;
  for (std::int64_t row = 0; row < weight.rows; ++row)
    if (!is_finite_row(weight, weight.data + static_cast<std::size_t>(row) * weight.row_bytes())) return row;
  return -1;
}

void dequantize_row(const WeightView& weight, std::int64_t row, std::span<float> out) {
  const std::byte* from = weight.data + static_cast<std::size_t>(row) * weight.row_bytes();
  if (!is_quantised(weight.type)) {
    for (std::int64_t i = 0; i < weight.cols; ++i)
      out[static_cast<std::size_t>(i)] = float_at(float_type(weight.type), from, i);
    return;
  }
  for (std::int64_t group = 0; group < weight.cols / kQuantGroupInputs; ++group) {
    const QuantGroup decoded = decode_group(weight.type, from, group);
    float* to = out.data() + group * kQuantGroupInputs;
    for (int i = 0; i < kQuantGroupInputs; ++i) to[i] = value_of(decoded, i);
  }
}

}  // namespace warploom
