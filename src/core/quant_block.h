// The bits of GGUF's quantised blocks, as ggml stores them. The compiler knows the type, so that loops over many blocks have no
// branches.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "core/quant_group.h"

namespace warploom {

/// body.operator()<type>() for a quantised type that is known at run time.
template <typename Body>
auto with_quantised(WeightType type, const Body& body) {
  using enum WeightType;
  switch (type) {
    case q4_1: return body.template operator()<q4_1>();
    case q5_0: return body.template operator()<q5_0>();
    case q5_1: return body.template operator()<q5_1>();
    case q8_0: return body.template operator()<q8_0>();
    case q4_k: return body.template operator()<q4_k>();
    case q5_k: return body.template operator()<q5_k>();
    case q6_k: return body.template operator()<q6_k>();
    default: return body.template operator()<q4_0>();
  }
}

namespace quant_block {

using u8 = std::uint8_t;

inline std::uint16_t u16_at(const u8* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// 32 inputs a block; inputs i and i + 16 share a byte, and a 32-bit word holds their fifth bits.
template <WeightType type>
void load_simple(const u8* p, StoredQuantGroup& out) {
  constexpr bool kAffine = type == WeightType::q4_1 || type == WeightType::q5_1;
  constexpr bool kFive = type == WeightType::q5_0 || type == WeightType::q5_1;
  out.d = u16_at(p);
  p += 2;
  if (type == WeightType::q8_0) {
    out.zero_point = 128;
    for (int i = 0; i < 32; ++i) out.q[i] = p[i] ^ 0x80;
    return;
  }
  out.zero_point = kAffine ? 0 : kFive ? 16 : 8;
  if (kAffine) {
    out.m = u16_at(p);
    p += 2;
  }
  const u8* low = kFive ? p + 4 : p;
  for (int i = 0; i < 16; ++i) {
    out.q[i] = low[i] & 15;
    out.q[i + 16] = low[i] >> 4;
  }
  if (!kFive) return;
  std::uint32_t high;
  std::memcpy(&high, p, sizeof high);
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(out.q[i] | ((high >> i) & 1) << 4);
}

// 8 groups a block, with 6-bit scales and minima packed into 12 bytes; two groups share 32 bytes of nibbles.
template <bool kFive>
void load_k4_or_k5(const u8* p, int group, StoredQuantGroup& out) {
  const u8 *scales = p + 4, *high = p + 16, *low = (kFive ? p + 48 : p + 16) + 32 * (group / 2);
  out.d = u16_at(p);
  out.m = u16_at(p + 2);
  if (group < 4) {
    out.scale[0] = scales[group] & 63;
    out.min = scales[group + 4] & 63;
  } else {
    out.scale[0] = (scales[group + 4] & 15) | ((scales[group - 4] >> 6) << 4);
    out.min = (scales[group + 4] >> 4) | ((scales[group] >> 6) << 4);
  }
  out.scale[1] = out.scale[0];
  const int shift = 4 * (group % 2);
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>((low[i] >> shift) & 15);
  if (!kFive) return;
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(out.q[i] | ((high[i] >> group) & 1) << 4);
}

// 8 groups a block, each with two 8-bit scales. Every 128 inputs: the low nibbles of 32 bytes, of the next 32, then the high
// nibbles of both; a byte of `high` holds two more bits of four inputs.
inline void load_k6(const u8* p, int group, StoredQuantGroup& out) {
  const u8 *low = p + 64 * (group / 4) + 32 * (group % 2), *high = p + 128 + 32 * (group / 4), *scales = p + 192;
  out.d = u16_at(p + 208);
  out.zero_point = 32;
  for (int j = 0; j < 2; ++j) out.scale[j] = static_cast<std::int8_t>(scales[2 * group + j]);
  const int nibble = 4 * (group % 4 / 2), pair = 2 * (group % 4);
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(((low[i] >> nibble) & 15) | ((high[i] >> pair) & 3) << 4);
}

}  // namespace quant_block

/// As the function in quant_group.h, for group `group` of one block.
template <WeightType type>
StoredQuantGroup load_group(const std::byte* block, int group) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(block);
  StoredQuantGroup out;
  if constexpr (type == WeightType::q4_k || type == WeightType::q5_k) {
    quant_block::load_k4_or_k5<type == WeightType::q5_k>(p, group, out);
  } else if constexpr (type == WeightType::q6_k) {
    quant_block::load_k6(p, group, out);
  } else {
    quant_block::load_simple<type>(p, out);
  }
  return out;
}

}  // namespace warploom
