// Matrices of random weights in every stored type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace warploom {

/// Fills `view.rows` rows, from row `first` of a matrix. The weights have mean 0 (but for half a step of the symmetric types) and
/// about the root mean square `rms`. They depend on the seed and the row, not on the number of threads.
void fill_random(const WeightView& view, std::byte* out, float rms, std::uint64_t seed, int threads, std::int64_t first = 0);

}  // namespace warploom
