// Block layouts as ggml stores them; values as its reference dequantisation gives them, each product and sum rounded to f32.
#include "formats/quants.h"

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
float half_at(const u8* p) { return half_to_float(u16_at(p)); }

// 32 elements; element i and i + 16 share a byte, their fifth bits lie in a 32-bit word.
void simple_block(WeightType type, const u8* p, float* out) {
  const float d = half_at(p);
  p += 2;
  if (type == WeightType::q8_0) {
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<std::int8_t>(p[i]));
    return;
  }
  const bool affine = type == WeightType::q4_1 || type == WeightType::q5_1;
  const bool five = type == WeightType::q5_0 || type == WeightType::q5_1;
  float minimum = 0.0f;
  if (affine) {
    minimum = half_at(p);
    p += 2;
  }
  std::uint32_t high = 0;
  if (five) {
    std::memcpy(&high, p, sizeof high);
    p += 4;
  }
  for (int i = 0; i < 32; ++i) {
    int code = i < 16 ? p[i] & 15 : p[i - 16] >> 4;
    if (five) code |= static_cast<int>((high >> i) & 1u) << 4;
    out[i] = affine ? d * static_cast<float>(code) + minimum : d * static_cast<float>(code - (five ? 16 : 8));
  }
}

// 256 elements in 8 groups; 6-bit scales and minima of the groups packed into 12 bytes.
void k4_or_k5_block(bool five, const u8* p, float* out) {
  const float d = half_at(p), dmin = half_at(p + 2);
  const u8* scales = p + 4;
  const u8* high = p + 16;
  const u8* low = five ? p + 48 : p + 16;
  for (int group = 0; group < 8; ++group) {
    int scale, minimum;
    if (group < 4) {
      scale = scales[group] & 63;
      minimum = scales[group + 4] & 63;
    } else {
      scale = (scales[group + 4] & 15) | ((scales[group - 4] >> 6) << 4);
      minimum = (scales[group + 4] >> 4) | ((scales[group] >> 6) << 4);
    }
    const float step = d * static_cast<float>(scale), base = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      const u8 byte = low[32 * (group / 2) + i];
      int code = group % 2 ? byte >> 4 : byte & 15;
      if (five) code |= ((high[i] >> group) & 1) << 4;
      out[32 * group + i] = step * static_cast<float>(code) - base;
    }
  }
}

// 256 elements in 16 groups with 8-bit scales; 4 low bits and 2 high bits apart.
void k6_block(const u8* p, float* out) {
  const u8 *low = p, *high = p + 128, *scales = p + 192;
  const float d = half_at(p + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = i / 128, quarter = i % 128 / 32, column = i % 32;
    const u8 byte = low[64 * part + 32 * (quarter % 2) + column];
    const int nibble = quarter < 2 ? byte & 15 : byte >> 4;
    const int code = nibble | (((high[32 * part + column] >> (2 * quarter)) & 3) << 4);
    out[i] = d * static_cast<float>(static_cast<std::int8_t>(scales[i / 16])) * static_cast<float>(code - 32);
  }
}

}  // namespace

void dequantize_row(const WeightView& weight, std::int64_t row, std::span<float> out) {
  const WeightTypeTraits type = traits(weight.type);
  const auto* p = reinterpret_cast<const u8*>(weight.data) + static_cast<std::size_t>(row) * weight.row_bytes();
  for (std::int64_t at = 0; at < weight.cols; at += type.block, p += type.block_bytes) {
    float* to = out.data() + at;
    switch (weight.type) {
      case WeightType::f32: std::memcpy(to, p, sizeof(float)); break;
      case WeightType::f16: *to = half_at(p); break;
      case WeightType::bf16: *to = bfloat16_to_float(u16_at(p)); break;
      case WeightType::q4_k: k4_or_k5_block(false, p, to); break;
      case WeightType::q5_k: k4_or_k5_block(true, p, to); break;
      case WeightType::q6_k: k6_block(p, to); break;
      default: simple_block(weight.type, p, to); break;
    }
  }
}

}  // namespace warploom
