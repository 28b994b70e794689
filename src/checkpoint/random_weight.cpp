#include "checkpoint/random_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "core/half.h"
#include "core/mix.h"
#include "core/quant_group.h"

namespace warploom {

namespace {

/// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() { return mix(state_ += kGoldenGamma); }

 private:
  std::uint64_t state_;
};

void put_half(std::byte* at, float value) {
  const std::uint16_t bits = float_to_half(value);
  std::memcpy(at, &bits, sizeof bits);
}

/// A block of random bytes becomes one of small weights: its scales are replaced, and offsets cancel the mean of the codes.
struct BlockScale {
  WeightType type;
  float step;  // of the codes, on average

  void put(std::byte* block, std::uint64_t random) const {
    const float d = step * (0.5f + static_cast<float>(random & 255) / 255.0f);
    const float sign = (random & 256) ? 1.0f : -1.0f;
    switch (type) {
      case WeightType::q4_1: put_half(block, d), put_half(block + 2, -7.5f * d); break;
      case WeightType::q5_1: put_half(block, d), put_half(block + 2, -15.5f * d); break;
      case WeightType::q4_k: put_half(block, d), put_half(block + 2, 7.5f * d), equal_minima(block + 4); break;
      case WeightType::q5_k: put_half(block, d), put_half(block + 2, 15.5f * d), equal_minima(block + 4); break;
      case WeightType::q6_k: put_half(block + 208, d); break;  // its 16 scales have signs of their own
      default: put_half(block, sign * d); break;
    }
  }

  // Gives each of the 8 groups the 6-bit minimum that equals its scale.
  static void equal_minima(std::byte* packed) {
    std::memcpy(packed + 4, packed, 4);
    for (int i = 8; i < 12; ++i) packed[i] = (packed[i] & std::byte{15}) | packed[i] << 4;
  }
};

// The root mean square of a weight whose block has the step 1: of uniform codes, times that of the scales within super-blocks.
double rms_of_unit_step(WeightType type) {
  const auto uniform = [](double levels) { return std::sqrt((levels * levels - 1) / 12); };
  const double scale_6_bits = std::sqrt((64.0 * 64 - 1) / 12 + 31.5 * 31.5), scale_8_bits = uniform(256);
  const double spread = std::sqrt(1 + 1.0 / 12);  // steps are uniform in [0.5, 1.5]
  switch (type) {
    case WeightType::q4_0:
    case WeightType::q4_1: return spread * uniform(16);
    case WeightType::q5_0:
    case WeightType::q5_1: return spread * uniform(32);
    case WeightType::q8_0: return spread * uniform(256);
    case WeightType::q4_k: return spread * uniform(16) * scale_6_bits;
    case WeightType::q5_k: return spread * uniform(32) * scale_6_bits;
    case WeightType::q6_k: return spread * uniform(64) * scale_8_bits;
    default: return 1;
  }
}

void fill_blocks(WeightType type, std::byte* row, std::size_t bytes, float rms, Random& random) {
  std::size_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    const std::uint64_t word = random();
    std::memcpy(row + at, &word, 8);
  }
  const std::uint64_t last = random();
  std::memcpy(row + at, &last, bytes - at);
  const BlockScale scale{type, static_cast<float>(rms / rms_of_unit_step(type))};
  const std::size_t block = traits(type).block_bytes;
  for (std::byte* b = row; b < row + bytes; b += block) scale.put(b, random());
}

// Uniform numbers of 16 random bits.
template <typename Store>
void fill_floats(std::int64_t cols, float rms, Random& random, const Store& store) {
  const float factor = rms * std::sqrt(3.0f) / 32768.0f;
  for (std::int64_t i = 0; i < cols; i += 4) {
    const std::uint64_t word = random();
    for (std::int64_t j = i; j < std::min(cols, i + 4); ++j)
      store(j, factor * (0.5f + static_cast<float>(static_cast<std::int16_t>(word >> 16 * (j - i)))));
  }
}

void fill_row(const WeightView& view, std::byte* row, float rms, Random random) {
  const auto put_16 = [row](std::int64_t i, std::uint16_t bits) { std::memcpy(row + 2 * i, &bits, 2); };
  switch (view.type) {
    case WeightType::f32:
      return fill_floats(view.cols, rms, random, [row](std::int64_t i, float v) { std::memcpy(row + 4 * i, &v, 4); });
    case WeightType::f16:
      return fill_floats(view.cols, rms, random, [&](std::int64_t i, float v) { put_16(i, float_to_half(v)); });
    case WeightType::bf16:
      return fill_floats(view.cols, rms, random, [&](std::int64_t i, float v) { put_16(i, float_to_bfloat16(v)); });
    default: return fill_blocks(view.type, row, view.row_bytes(), rms, random);
  }
}

}  // namespace

void fill_random(const WeightView& view, std::byte* out, float rms, std::uint64_t seed, int threads, std::int64_t first) {
  const auto fill = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      fill_row(view, out + static_cast<std::size_t>(r) * view.row_bytes(), rms,
               Random(Random(seed)() + static_cast<std::uint64_t>(first + r) * 0xD1342543DE82EF95u));
  };
  constexpr std::size_t kBytesWorthAThread = std::size_t{1} << 20;
  const auto parts =
      static_cast<std::int64_t>(std::min(static_cast<std::size_t>(threads), 1 + view.bytes() / kBytesWorthAThread));
  std::vector<std::jthread> helpers;
  for (std::int64_t p = 1; p < parts; ++p)
    helpers.emplace_back([&fill, &view, p, parts] { fill(view.rows * p / parts, view.rows * (p + 1) / parts); });
  fill(0, view.rows / parts);
}

}  // namespace warploom
