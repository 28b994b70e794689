// Element types of weights and the sizes of their blocks in GGUF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace warploom {

enum class WeightType : std::uint8_t { f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k };

struct WeightTypeTraits {
  std::string_view name;    // as GGUF tools print it
  std::int64_t block;       // elements a block
  std::size_t block_bytes;  // bytes a block
};

constexpr WeightTypeTraits traits(WeightType type) {
  switch (type) {
    case WeightType::f32: return {"F32", 1, 4};
    case WeightType::f16: return {"F16", 1, 2};
    case WeightType::bf16: return {"BF16", 1, 2};
    case WeightType::q4_0: return {"Q4_0", 32, 18};
    case WeightType::q4_1: return {"Q4_1", 32, 20};
    case WeightType::q5_0: return {"Q5_0", 32, 22};
    case WeightType::q5_1: return {"Q5_1", 32, 24};
    case WeightType::q8_0: return {"Q8_0", 32, 34};
    case WeightType::q4_k: return {"Q4_K", 256, 144};
    case WeightType::q5_k: return {"Q5_K", 256, 176};
    case WeightType::q6_k: return {"Q6_K", 256, 210};
  }
  return {"?", 1, 0};
}

}  // namespace warploom
