#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

namespace warploom::test {

/// Whether a and b are as long and hold the same bits: unlike ==, this tells 0 from -0 and finds a NaN equal to itself.
inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<std::uint32_t, float>, std::bit_cast<std::uint32_t, float>);
}

}  // namespace warploom::test
