// Random matrices of every weight type, as a file would hold them.
#pragma once

#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "core/half.h"
#include "core/tensor.h"

namespace warploom::test {

inline constexpr WeightType kAllWeightTypes[] = {WeightType::f32,  WeightType::f16,  WeightType::bf16, WeightType::q4_0,
                                                 WeightType::q4_1, WeightType::q5_0, WeightType::q5_1, WeightType::q8_0,
                                                 WeightType::q4_k, WeightType::q5_k, WeightType::q6_k};

struct RandomWeight {
  std::vector<std::byte> bytes;
  WeightView view;

  RandomWeight(std::mt19937& rng, WeightType type, std::int64_t rows, std::int64_t cols) {
    view.type = type;
    view.rows = rows;
    view.cols = cols;
    view.name = "random";
    bytes.resize(view.bytes());
    for (std::byte& b : bytes) b = static_cast<std::byte>(rng());
    std::uniform_real_distribution<float> scale(-0.01f, 0.01f);
    // A K-quant's block is scaled once more by numbers of 6 or 8 bits.
    const float shrink = traits(type).block == 256 ? 1.0f / 64 : 1.0f;
    const auto half = [&](std::size_t at) {
      const std::uint16_t h = float_to_half(shrink * scale(rng));
      std::memcpy(bytes.data() + at, &h, sizeof h);
    };
    const std::size_t block = traits(type).block_bytes;
    for (std::size_t at = 0; at < bytes.size(); at += block) {
      switch (type) {
        case WeightType::f32: {
          const float f = 10.0f * scale(rng);
          std::memcpy(bytes.data() + at, &f, sizeof f);
          break;
        }
        case WeightType::bf16: {
          const std::uint16_t b = float_to_bfloat16(10.0f * scale(rng));
          std::memcpy(bytes.data() + at, &b, sizeof b);
          break;
        }
        case WeightType::q6_k: half(at + 208); break;
        case WeightType::q4_1:
        case WeightType::q5_1:
        case WeightType::q4_k:
        case WeightType::q5_k: half(at), half(at + 2); break;
        default: half(at); break;
      }
    }
    view.data = bytes.data();
  }
};

}  // namespace warploom::test
