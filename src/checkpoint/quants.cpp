// Values as ggml's reference dequantisation gives them, each product and sum rounded to f32.
#include "checkpoint/quants.h"

#include <cstring>

#include "core/half.h"
#include "core/quant_group.h"

namespace warploom {

namespace {

float float_at(WeightType type, const std::byte* p) {
  if (type == WeightType::f32) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return type == WeightType::f16 ? half_to_float(value) : bfloat16_to_float(value);
}

}  // namespace

void dequantize_row(const WeightView& weight, std::int64_t row, std::span<float> out) {
  const std::byte* from = weight.data + static_cast<std::size_t>(row) * weight.row_bytes();
  if (!is_quantised(weight.type)) {
    for (std::int64_t i = 0; i < weight.cols; ++i)
      out[static_cast<std::size_t>(i)] =
          float_at(weight.type, from + static_cast<std::size_t>(i) * traits(weight.type).block_bytes);
    return;
  }
  for (std::int64_t group = 0; group < weight.cols / kQuantGroupInputs; ++group) {
    const QuantGroup decoded = decode_group(weight.type, from, group);
    float* to = out.data() + group * kQuantGroupInputs;
    for (int i = 0; i < kQuantGroupInputs; ++i) to[i] = value_of(decoded, i);
  }
}

}  // namespace warploom
