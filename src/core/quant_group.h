// GGUF's quantised blocks, read 32 inputs at a time. quant_block.h reads their bits, for a type that is known when it is compiled.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace warploom {

inline constexpr int kQuantGroupInputs = 32;

/// The fields of a group as the file stores them, for packing without rounding. d and m are bits of f16.
///   Q4_0, Q5_0, Q8_0: weight i is d * (q[i] - zero_point)
///   Q4_1, Q5_1:       weight i is d * q[i] + m
///   Q4_K, Q5_K:       weight i is (d * scale[0]) * q[i] - m * min; d and m belong to the super-block of 256 inputs
///   Q6_K:             weight i is (d * scale[i / 16]) * (q[i] - zero_point); d belongs to the super-block
struct StoredQuantGroup {
  std::uint8_t q[kQuantGroupInputs];
  int zero_point = 0;
  std::uint16_t d = 0, m = 0;
  int scale[2] = {0, 0};
  int min = 0;
};

/// Weight i is scale[i / 16] * (q[i] - zero_point) + min. Each operation is rounded to f32, as in ggml's reference.
struct QuantGroup {
  std::uint8_t q[kQuantGroupInputs];
  int zero_point = 0;
  float scale[2];
  float min;  // -0 if the type has none: adding it changes nothing
};

constexpr bool is_quantised(WeightType type) { return traits(type).block > 1; }

/// Group `group` of a row of blocks; `type` must be quantised.
StoredQuantGroup load_group(WeightType type, const std::byte* row, std::int64_t group);
QuantGroup decode_group(WeightType type, const std::byte* row, std::int64_t group);

/// True if every scale and minimum of `count` blocks is a finite number, so that their weights are.
bool have_finite_weights(WeightType type, const std::byte* blocks, std::int64_t count);

/// One weight of a group.
inline float value_of(const QuantGroup& group, int input) {
  return group.scale[input / 16] * static_cast<float>(group.q[input] - group.zero_point) + group.min;
}

}  // namespace warploom
