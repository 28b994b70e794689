// What quantised blocks mean, in plain C++: the reference that every kernel is measured against.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace warploom {

/// Row `row` of the matrix as f32. out: [cols].
void dequantize_row(const WeightView& weight, std::int64_t row, std::span<float> out);

}  // namespace warploom
