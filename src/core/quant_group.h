// Quantised blocks of GGUF, decoded 32 inputs at a time: the one reading of their bits that those who need codes and scales
// share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace warploom {

inline constexpr int kQuantGroupInputs = 32;

/// Weight i is scale[i / 16] * (code[i] - zero) + minimum, each operation rounded to f32 as ggml's reference does.
struct QuantGroup {
  std::uint8_t code[kQuantGroupInputs];
  int zero = 0;
  float scale[2];
  float minimum;  // -0 where the type has none: adding it changes nothing
};

constexpr bool is_quantised(WeightType type) { return traits(type).block > 1; }

/// Group `group` (of 32 inputs) of a row of blocks; `type` is a quantised one.
QuantGroup decode_group(WeightType type, const std::byte* row, std::int64_t group);

/// The weights of a group.
inline float value_of(const QuantGroup& group, int input) {
  return group.scale[input / 16] * static_cast<float>(group.code[input] - group.zero) + group.minimum;
}

}  // namespace warploom
