// Block layouts as ggml stores them.
#include "core/quant_group.h"

#include <cstring>

#include "core/half.h"

namespace warploom {

namespace {

using u8 = std::uint8_t;

float half_at(const u8* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return half_to_float(value);
}

// 32 inputs a block; inputs i and i + 16 share a byte, their fifth bits lie in a 32-bit word.
void decode_simple(WeightType type, const u8* p, QuantGroup& out) {
  const bool affine = type == WeightType::q4_1 || type == WeightType::q5_1;
  const bool five = type == WeightType::q5_0 || type == WeightType::q5_1;
  out.scale[0] = out.scale[1] = half_at(p);
  p += 2;
  if (type == WeightType::q8_0) {
    out.zero = 128;
    for (int i = 0; i < 32; ++i) out.code[i] = p[i] ^ 0x80;
    return;
  }
  out.zero = affine ? 0 : five ? 16 : 8;
  if (affine) {
    out.minimum = half_at(p);
    p += 2;
  }
  std::uint32_t high = 0;
  if (five) {
    std::memcpy(&high, p, sizeof high);
    p += 4;
  }
  for (int i = 0; i < 16; ++i) {
    out.code[i] = static_cast<u8>((p[i] & 15) | ((high >> i) & 1) << 4);
    out.code[i + 16] = static_cast<u8>((p[i] >> 4) | ((high >> (i + 16)) & 1) << 4);
  }
}

// 8 groups a block, with 6-bit scales and minima packed into 12 bytes; two groups share 32 bytes of nibbles.
void decode_k4_or_k5(bool five, const u8* p, int group, QuantGroup& out) {
  const u8 *scales = p + 4, *high = p + 16, *low = (five ? p + 48 : p + 16) + 32 * (group / 2);
  int scale, minimum;
  if (group < 4) {
    scale = scales[group] & 63;
    minimum = scales[group + 4] & 63;
  } else {
    scale = (scales[group + 4] & 15) | ((scales[group - 4] >> 6) << 4);
    minimum = (scales[group + 4] >> 4) | ((scales[group] >> 6) << 4);
  }
  out.zero = 0;
  out.scale[0] = out.scale[1] = half_at(p) * static_cast<float>(scale);
  out.minimum = -(half_at(p + 2) * static_cast<float>(minimum));
  const int shift = 4 * (group % 2);
  for (int i = 0; i < 32; ++i) out.code[i] = static_cast<u8>((low[i] >> shift) & 15);
  if (!five) return;
  for (int i = 0; i < 32; ++i) out.code[i] = static_cast<u8>(out.code[i] | ((high[i] >> group) & 1) << 4);
}

// 8 groups a block, each with two 8-bit scales. 128 inputs at a time: low nibbles of 32 bytes, of the next 32, then the high
// nibbles; two more bits of each in a byte of `high`.
void decode_k6(const u8* p, int group, QuantGroup& out) {
  const u8 *low = p + 64 * (group / 4) + 32 * (group % 2), *high = p + 128 + 32 * (group / 4), *scales = p + 192;
  const float d = half_at(p + 208);
  out.zero = 32;
  for (int j = 0; j < 2; ++j) out.scale[j] = d * static_cast<float>(static_cast<std::int8_t>(scales[2 * group + j]));
  const int nibble = 4 * (group % 4 / 2), pair = 2 * (group % 4);
  for (int i = 0; i < 32; ++i) out.code[i] = static_cast<u8>(((low[i] >> nibble) & 15) | ((high[i] >> pair) & 3) << 4);
}

}  // namespace

QuantGroup decode_group(WeightType type, const std::byte* row, std::int64_t group) {
  const WeightTypeTraits t = traits(type);
  const std::int64_t groups = t.block / kQuantGroupInputs;
  const auto* block = reinterpret_cast<const u8*>(row) + static_cast<std::size_t>(group / groups) * t.block_bytes;
  const int within = static_cast<int>(group % groups);
  QuantGroup out;
  out.minimum = -0.0f;
  switch (type) {
    case WeightType::q4_k: decode_k4_or_k5(false, block, within, out); break;
    case WeightType::q5_k: decode_k4_or_k5(true, block, within, out); break;
    case WeightType::q6_k: decode_k6(block, within, out); break;
    default: decode_simple(type, block, out); break;
  }
  return out;
}

}  // namespace warploom
