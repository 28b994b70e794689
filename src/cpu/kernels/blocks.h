// What every product of packed codes does with a block of 32 inputs: its scales, its codes, and where the sums go.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

WARPLOOM_INLINE F load_half(const std::uint8_t* p) { return load_f16(reinterpret_cast<const std::uint16_t*>(p)); }

// The scales of a panel's blocks, which are read in order.
template <ScaleKind kScales>
class BlockScales {
 public:
  // Reads the scales of the super-block that begins with block b at p, if one does. Returns where the block's own scales are.
  WARPLOOM_INLINE_MEMBER const std::uint8_t* enter(const std::uint8_t* p, std::int64_t b) {
    if constexpr (super_block_scale_bytes(kScales) != 0) {
      if (b % (kSuperBlockInputs / kQuantBlockInputs) == 0) {
        d_ = load_half(p);
        if constexpr (kScales == ScaleKind::super_block_affine) minimum_ = mul(load_half(p + 32), set(-1.0f));
        p += super_block_scale_bytes(kScales);
      }
    }
    return p;
  }
  // The scale of the block, or of its first half, from its own scales at p.
  WARPLOOM_INLINE_MEMBER F first(const std::uint8_t* p) const {
    if constexpr (kScales == ScaleKind::super_block_affine) return mul(d_, load_u8(p));
    if constexpr (kScales == ScaleKind::super_block_symmetric)
      return mul(d_, load_s8(reinterpret_cast<const std::int8_t*>(p)));
    return load_half(p);
  }
  // Its minimum, or the scale of its second half, or 0.
  WARPLOOM_INLINE_MEMBER F second(const std::uint8_t* p) const {
    if constexpr (kScales == ScaleKind::affine) return load_half(p + 32);
    if constexpr (kScales == ScaleKind::super_block_affine) return mul(minimum_, load_u8(p + 16));
    if constexpr (kScales == ScaleKind::super_block_symmetric)
      return mul(d_, load_s8(reinterpret_cast<const std::int8_t*>(p + 16)));
    return zero();
  }

 private:
  F d_ = zero(), minimum_ = zero();
};

// The codes of inputs 4 kStep to 4 kStep + 3 of a block.
template <CodeBits kBits, int kStep>
WARPLOOM_INLINE B load_codes(const std::uint8_t* p) {
  if constexpr (kBits == CodeBits::eight) {
    return load_bytes(p + 64 * kStep);
  } else {
    const B both = load_bytes(p + 64 * (kStep % 4));
    B w = kStep < 4 ? low_nibbles(both) : high_nibbles(both);
    if constexpr (kBits == CodeBits::five) w = add_masked(w, p + 256 + 8 * kStep, 16);
    if constexpr (kBits == CodeBits::six) w = add_pairs_of_bits<kStep % 4>(w, load_bytes(p + 256 + 64 * (kStep / 4)));
    return w;
  }
}

// The panel whose first row is `row`.
WARPLOOM_INLINE const std::uint8_t* panel_at(const PanelProduct& product, std::int64_t row) {
  return reinterpret_cast<const std::uint8_t*>(product.panels) +
         static_cast<std::size_t>(row / kPanelRows) * product.panel_bytes;
}

// Writes a token's sums of the panel whose first row is `row`.
WARPLOOM_INLINE void finish(F sum, const PanelProduct& product, std::int64_t row, std::int64_t token) {
  const float* bias = product.bias ? product.bias + row : nullptr;
  float* out = product.out + token * product.out_stride + row;
  if (product.rows - row >= kLanes) {
    if (bias) sum = add(sum, load(bias));
    store(out, sum);
    return;
  }
  float all[kLanes];
  store(all, sum);
  for (int i = 0; i < product.rows - row; ++i) out[i] = bias ? all[i] + bias[i] : all[i];
}

}  // namespace warploom::cpu::WARPLOOM_ISA
