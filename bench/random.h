// Random numbers that are the same with every standard library.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

namespace warploom::bench {

class Random {
 public:
  /// Streams of one seed are independent of one another.
  Random(std::uint64_t seed, std::uint64_t stream) {
    std::seed_seq both{seed & 0xffffffff, seed >> 32, stream & 0xffffffff, stream >> 32};
    bits_.seed(both);
  }

  std::uint64_t operator()() { return bits_(); }
  double unit() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }  // uniform in [0, 1)
  double normal() {                                                       // by Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  std::mt19937_64 bits_;
};

}  // namespace warploom::bench
