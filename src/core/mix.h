// Mixing the bits of an integer.
#pragma once

#include <cstdint>

namespace warploom {

/// What SplitMix64 (Steele, Lea, Flood 2014) adds to its state at each step.
inline constexpr std::uint64_t kGoldenGamma = 0x9E3779B97F4A7C15u;

/// Its finaliser: a bijection in which every bit of the result depends on every bit of `z`.
constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace warploom
