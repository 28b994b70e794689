// Products on AMX: a tile instruction takes the codes of a block times the inputs of 16 tokens. The packed layout (cpu/packed.h) is
// already that of its operands: rows of 4 inputs by 16 lanes for the codes, rows of 32 inputs for the tokens. The integers are exact,
// and vectors add them in the order of the blocks, so the sums have the same bits as everywhere.
#pragma once

#include "cpu/kernels/blocks.h"
#include "cpu/simd.h"

#if defined(__AMX_INT8__)

namespace warploom::cpu::WARPLOOM_ISA {

static_assert(kTokenGroup == 16);  // rows of a tile

// The compiler's own intrinsics take register numbers as literals alone.
template <int kTile>
WARPLOOM_INLINE void load_tile(const void* p, std::int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kTile), "r"(p), "r"(stride) : "memory");
}
template <int kTile>
WARPLOOM_INLINE void store_tile(void* p, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(kTile), "r"(p), "r"(stride) : "memory");
}
template <int kTile>
WARPLOOM_INLINE void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
// kSum += signed x times unsigned codes.
template <int kSum, int kX, int kCodes>
WARPLOOM_INLINE void multiply_tiles() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kX), "i"(kCodes));
}

// While it lives, the tile registers of this thread are in use: 0 to 3 for sums, 4 and 5 for tokens, 6 and 7 for codes.
class TileRegisters {
 public:
  // A product runs over `inputs`, 32 or 16.
  explicit TileRegisters(int inputs) {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } shapes;
    for (int r = 0; r < 8; ++r) {
      shapes.row_bytes[r] = static_cast<std::uint16_t>(r < 4 || r > 5 ? 64 : inputs);
      shapes.rows[r] = static_cast<std::uint8_t>(r < 6 ? kTokenGroup : inputs / 4);
    }
    asm volatile("ldtilecfg %0" ::"m"(shapes));
  }
  ~TileRegisters() { asm volatile("tilerelease"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Some blocks of a panel, whose sums, codes and inputs fit the first cache together: floating-point vectors are half as fast near
// tile instructions, so that these multiply a strip first, and vectors add it then.
inline constexpr int kStripBlocks = 9;
struct alignas(64) Strip {
  std::uint8_t codes[kStripBlocks][8][64];
  float first_scale[kStripBlocks][kLanes], second_scale[kStripBlocks][kLanes];
};
struct alignas(64) StripSums {
  std::uint32_t products[2 * kStripBlocks][kTokenGroup][kLanes];  // two's complement
};

template <CodeBits kBits, int kStep = 0>
WARPLOOM_INLINE void unpack_codes(const std::uint8_t* p, std::uint8_t (&codes)[8][64]) {
  _mm512_store_si512(codes[kStep], load_codes<kBits, kStep>(p).v);
  if constexpr (kStep < 7) unpack_codes<kBits, kStep + 1>(p, codes);
}

// Blocks [first, first + count) of the panel, from p on. Returns where the next one begins.
template <CodeBits kBits, ScaleKind kScales>
WARPLOOM_INLINE const std::uint8_t* unpack_strip(const std::uint8_t* p, std::int64_t first, int count,
                                                 BlockScales<kScales>& scales, Strip& strip) {
  for (int b = 0; b < count; ++b) {
    p = scales.enter(p, first + b);
    store(strip.first_scale[b], scales.first(p));
    store(strip.second_scale[b], scales.second(p));
    unpack_codes<kBits>(p + block_scale_bytes(kScales), strip.codes[b]);
    p += block_scale_bytes(kScales) + block_code_bytes(kBits);
  }
  return p;
}

// A block, or half of one if halves have scales of their own: what one product covers.
template <bool kHalves>
class Products {
 public:
  Products(const ActivationBlock* in, const Strip& strip, StripSums& sums) : in_(in), strip_(strip), sums_(sums) {}
  // Tiles of sums are clear before and after. A sum is stored two products later, which does not wait for it then.
  WARPLOOM_INLINE_MEMBER void run(int blocks) {
    const int count = kHalves ? 2 * blocks : blocks;
    for (int i = 0; i < count + 2; i += 4) {
      step<0>(i, count);
      step<1>(i + 1, count);
      step<2>(i + 2, count);
      step<3>(i + 3, count);
    }
  }

 private:
  template <int kSum>
  WARPLOOM_INLINE_MEMBER void step(int i, int count) {
    if (i < count) multiply<kSum>(i);
    if (i >= 2 && i < count + 2) {
      store_tile<(kSum + 2) % 4>(sums_.products[i - 2], 64);
      clear_tile<(kSum + 2) % 4>();
    }
  }
  template <int kSum>
  WARPLOOM_INLINE_MEMBER void multiply(int i) {
    constexpr int kX = 4 + kSum % 2, kCodes = 6 + kSum % 2;
    const int b = kHalves ? i / 2 : i, half = kHalves ? i % 2 : 0;
    load_tile<kX>(in_[b].q[0] + 16 * half, kQuantBlockInputs);
    load_tile<kCodes>(strip_.codes[b][4 * half], 64);
    multiply_tiles<kSum, kX, kCodes>();
  }

  const ActivationBlock* in_;
  const Strip& strip_;
  StripSums& sums_;
};

template <CodeBits kBits, ScaleKind kScales>
WARPLOOM_INLINE void add_block(const ActivationBlock& in, const Strip& strip, const StripSums& sums, int b,
                               F (&sum)[kTokenGroup]) {
  constexpr std::int32_t kOffset = 1 << (static_cast<int>(kBits) - 1);
  constexpr bool kHalves = kScales == ScaleKind::super_block_symmetric;
  const F first_scale = load(strip.first_scale[b]), second_scale = load(strip.second_scale[b]);
#pragma GCC unroll 16
  for (int t = 0; t < kTokenGroup; ++t) {
    const F d = set(in.d[t]);
    I first = load(sums.products[kHalves ? 2 * b : b][t]);
    if constexpr (kHalves) {
      const I second = add(load(sums.products[2 * b + 1][t]), set_int(-kOffset * in.second_sum[t]));
      const F half = mul(to_float(add(first, set_int(-kOffset * in.first_sum[t]))), first_scale);
      sum[t] = fma(fma(to_float(second), second_scale, half), d, sum[t]);
    } else {
      if constexpr (kScales == ScaleKind::symmetric)
        first = add(first, set_int(-kOffset * (in.first_sum[t] + in.second_sum[t])));
      sum[t] = fma(mul(to_float(first), first_scale), d, sum[t]);
      if constexpr (kScales != ScaleKind::symmetric) sum[t] = fma(second_scale, set(in.ds[t]), sum[t]);
    }
  }
}

// The strip's part of the sums of one group of tokens.
template <CodeBits kBits, ScaleKind kScales>
WARPLOOM_INLINE void add_strip(const ActivationBlock* in, const Strip& strip, int blocks, float (*out)[kLanes]) {
  constexpr bool kHalves = kScales == ScaleKind::super_block_symmetric;
  StripSums sums;
  Products<kHalves>(in, strip, sums).run(blocks);

  F sum[kTokenGroup];
#pragma GCC unroll 16
  for (int t = 0; t < kTokenGroup; ++t) sum[t] = load(out[t]);
  for (int b = 0; b < blocks; ++b) add_block<kBits, kScales>(in[b], strip, sums, b, sum);
#pragma GCC unroll 16
  for (int t = 0; t < kTokenGroup; ++t) store(out[t], sum[t]);
}

// `tokens`, up to kTileTokens, from `token` on; of a last group that is not full, what the other slots hold does not matter.
inline constexpr int kTileTokens = 64;
template <CodeBits kBits, ScaleKind kScales>
void tile_panel(const PanelProduct& product, std::int64_t row, std::int64_t token, int tokens) {
  const std::int64_t blocks = product.cols / kQuantBlockInputs;
  const std::uint8_t* p = panel_at(product, row);
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * blocks;
  alignas(64) float sums[kTileTokens][kLanes];
  Strip strip;
  const int groups = (tokens + kTokenGroup - 1) / kTokenGroup;
  for (int t = 0; t < groups * kTokenGroup; ++t) store(sums[t], zero());
  for (int t = 0; t < tokens; ++t) __builtin_prefetch(product.out + (token + t) * product.out_stride + row, 1);
  BlockScales<kScales> scales;
  for (std::int64_t first = 0; first < blocks; first += kStripBlocks) {
    const int count = static_cast<int>(blocks - first < kStripBlocks ? blocks - first : kStripBlocks);
    p = unpack_strip<kBits, kScales>(p, first, count, scales, strip);
    // The next strip follows, also that of the next panel.
    const int ahead = kStripBlocks * static_cast<int>(block_scale_bytes(kScales) + block_code_bytes(kBits)),
              share = ahead / groups;
    for (int g = 0; g < groups; ++g) {
      for (int at = g * share; at < (g + 1) * share + 64; at += 64) __builtin_prefetch(p + at);
      add_strip<kBits, kScales>(inputs + g * blocks + first, strip, count, sums + g * kTokenGroup);
    }
  }
  for (int t = 0; t < tokens; ++t) finish(load(sums[t]), product, row, token + t);
}

}  // namespace warploom::cpu::WARPLOOM_ISA

#endif
