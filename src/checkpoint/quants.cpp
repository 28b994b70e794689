// Values as ggml's reference dequantisation gives them, each product and sum rounded to f32.
#include "checkpoint/quants.h"

#include "core/float_element.h"
#include "core/quant_group.h"

namespace warploom {

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
