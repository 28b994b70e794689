// Block layouts as ggml stores them.
#include "core/quant_group.h"

#include <algorithm>
#include <cstring>

#include "core/half.h"
#include "core/quant_block.h"

namespace warploom {

namespace {

template <WeightType type>
bool all_finite(const std::byte* blocks, std::int64_t count) {
  constexpr bool kTwo =
      type == WeightType::q4_1 || type == WeightType::q5_1 || type == WeightType::q4_k || type == WeightType::q5_k;
  constexpr std::size_t kAt = type == WeightType::q6_k ? 208 : 0;
  std::uint32_t carries = 0;  // an exponent of all ones, plus one, gets into the sign's place
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t halves = 0;
    std::memcpy(&halves, blocks + static_cast<std::size_t>(i) * traits(type).block_bytes + kAt, kTwo ? 4 : 2);
    carries |= (halves & 0x7c007c00u) + 0x04000400u;
  }
  return (carries & 0x80008000u) == 0;
}

}  // namespace

bool have_finite_weights(WeightType type, const std::byte* blocks, std::int64_t count) {
  return with_quantised(type, [&]<WeightType kType>() { return all_finite<kType>(blocks, count); });
}

StoredQuantGroup load_group(WeightType type, const std::byte* row, std::int64_t group) {
  return with_quantised(type, [&]<WeightType kType>() {
    constexpr WeightTypeTraits kTraits = traits(kType);
    constexpr std::int64_t kGroups = kTraits.block / kQuantGroupInputs;
    return load_group<kType>(row + static_cast<std::size_t>(group / kGroups) * kTraits.block_bytes,
                             static_cast<int>(group % kGroups));
  });
}

QuantGroup decode_group(WeightType type, const std::byte* row, std::int64_t group) {
  const StoredQuantGroup stored = load_group(type, row, group);
  QuantGroup out;
  std::copy_n(stored.q, kQuantGroupInputs, out.q);
  out.zero_point = stored.zero_point;
  const float d = half_to_float(stored.d), m = half_to_float(stored.m);
  switch (type) {
    case WeightType::q4_k:
    case WeightType::q5_k:
    case WeightType::q6_k:
      for (int j = 0; j < 2; ++j) out.scale[j] = d * static_cast<float>(stored.scale[j]);
      out.min = type == WeightType::q6_k ? -0.0f : -(m * static_cast<float>(stored.min));
      break;
    case WeightType::q4_1:
    case WeightType::q5_1:
      out.scale[0] = out.scale[1] = d;
      out.min = m;
      break;
    default:
      out.scale[0] = out.scale[1] = d;
      out.min = -0.0f;
      break;
  }
  return out;
}

}  // namespace warploom
