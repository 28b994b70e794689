// Block layouts as ggml stores them.
#include "core/quant_group.h"

#include <algorithm>
#include <cstring>

#include "core/half.h"

namespace warploom {

namespace {

using u8 = std::uint8_t;

std::uint16_t u16_at(const u8* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// 32 inputs a block; inputs i and i + 16 share a byte, and a 32-bit word holds their fifth bits.
void load_simple(WeightType type, const u8* p, StoredQuantGroup& out) {
  const bool affine = type == WeightType::q4_1 || type == WeightType::q5_1;
  const bool five = type == WeightType::q5_0 || type == WeightType::q5_1;
  out.d = u16_at(p);
  p += 2;
  if (type == WeightType::q8_0) {
    out.zero_point = 128;
    for (int i = 0; i < 32; ++i) out.q[i] = p[i] ^ 0x80;
    return;
  }
  out.zero_point = affine ? 0 : five ? 16 : 8;
  if (affine) {
    out.m = u16_at(p);
    p += 2;
  }
  const u8* low = five ? p + 4 : p;
  for (int i = 0; i < 16; ++i) {
    out.q[i] = low[i] & 15;
    out.q[i + 16] = low[i] >> 4;
  }
  if (!five) return;
  std::uint32_t high;
  std::memcpy(&high, p, sizeof high);
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(out.q[i] | ((high >> i) & 1) << 4);
}

// 8 groups a block, with 6-bit scales and minima packed into 12 bytes; two groups share 32 bytes of nibbles.
void load_k4_or_k5(bool five, const u8* p, int group, StoredQuantGroup& out) {
  const u8 *scales = p + 4, *high = p + 16, *low = (five ? p + 48 : p + 16) + 32 * (group / 2);
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
  if (!five) return;
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(out.q[i] | ((high[i] >> group) & 1) << 4);
}

// 8 groups a block, each with two 8-bit scales. Every 128 inputs: the low nibbles of 32 bytes, of the next 32, then the high
// nibbles of both; a byte of `high` holds two more bits of four inputs.
void load_k6(const u8* p, int group, StoredQuantGroup& out) {
  const u8 *low = p + 64 * (group / 4) + 32 * (group % 2), *high = p + 128 + 32 * (group / 4), *scales = p + 192;
  out.d = u16_at(p + 208);
  out.zero_point = 32;
  for (int j = 0; j < 2; ++j) out.scale[j] = static_cast<std::int8_t>(scales[2 * group + j]);
  const int nibble = 4 * (group % 4 / 2), pair = 2 * (group % 4);
  for (int i = 0; i < 32; ++i) out.q[i] = static_cast<u8>(((low[i] >> nibble) & 15) | ((high[i] >> pair) & 3) << 4);
}

bool is_finite_half(const u8* p) { return (u16_at(p) & 0x7c00) != 0x7c00; }

}  // namespace

bool has_finite_weights(WeightType type, const std::byte* block) {
  const auto* p = reinterpret_cast<const u8*>(block);
  switch (type) {
    case WeightType::q4_1:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k: return is_finite_half(p) && is_finite_half(p + 2);
    case WeightType::q6_k: return is_finite_half(p + 208);
    default: return is_finite_half(p);
  }
}

StoredQuantGroup load_group(WeightType type, const std::byte* row, std::int64_t group) {
  const WeightTypeTraits t = traits(type);
  const std::int64_t groups = t.block / kQuantGroupInputs;
  const auto* block = reinterpret_cast<const u8*>(row) + static_cast<std::size_t>(group / groups) * t.block_bytes;
  const int within = static_cast<int>(group % groups);
  StoredQuantGroup out;
  switch (type) {
    case WeightType::q4_k: load_k4_or_k5(false, block, within, out); break;
    case WeightType::q5_k: load_k4_or_k5(true, block, within, out); break;
    case WeightType::q6_k: load_k6(block, within, out); break;
    default: load_simple(type, block, out); break;
  }
  return out;
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
