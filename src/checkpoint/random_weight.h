// Matrices of random weights in every stored type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace warploom {

/// Fills a matrix of `view`'s type and size. The weights have mean 0 (but for half a step of the symmetric types) and about the
/// root mean square `rms`. They depend on the seed, not on the number of threads.
void fill_random(const WeightView& view, std::byte* out, float rms, std::uint64_t seed, int threads);

}  // namespace warploom
