// What quantised blocks mean, in plain C++: the reference that every kernel is measured against.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace warploom {

/// Row `row` of the matrix as f32. out: [cols].
void dequantize_row(const WeightView& weight, std::int64_t row, std::span<float> out);

/// The first row that holds NaN or an infinity; -1 if none does.
std::int64_t first_row_without_numbers(const WeightView& weight);

}  // namespace warploom
