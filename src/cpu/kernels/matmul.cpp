// Panels of 16 output rows, one or two, times 1 to kTile tokens. The dot products of a block of 32 inputs are exact integers. Times the
// block's scale and then the token's they are added to one float sum per (token, row), block after block. The operations are the same for
// every tile size, so a token's result does not depend on the other tokens.
#include "cpu/kernels/matmul.h"

#include <type_traits>

#include "cpu/kernels/block_products.h"
#include "cpu/kernels/panels.h"
#include "cpu/kernels/strips.h"
#include "cpu/kernels/tiles.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

#if defined(__AMX_INT8__)
// Fewer tokens, and fewer of a last group, are sooner done by vectors.
constexpr int kMinTileTokens = 25, kMinGroupTokens = 9;
#endif

// kTokens tokens of a group, from `token` on, times kPanels panels, from `row` on. A function of its own: inside its caller, the
// compiler kept that one's variables in registers that the loop needs.
template <CodeBits kBits, ScaleKind kScales, int kPanels, int kTokens>
__attribute__((noinline)) void quantised_tile(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  const std::int64_t count = product.cols / kQuantBlockInputs, stride = product.out_stride;
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * count;
  const int slot = static_cast<int>(token % kTokenGroup);
  float* out = product.out + token * stride + row;
  F sums[kPanels][kTokens];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sums[i][t] = zero();
      __builtin_prefetch(out + t * stride + i * kPanelRows, 1);
    }
  }
  for_blocks<kBits, kScales, kPanels>(
      product, row, token, [&](const auto& blocks, std::int64_t b) __attribute__((always_inline)) {
        add_blocks<kBits, kScales, kTokens>(blocks, inputs[b], slot, sums);
      });
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) finish(sums[i][t], product, row + i * kPanelRows, token + t);
  }
}

// `tokens` of a group, from `token` on, times one panel. Of the last tile, if it is not full, what the other slots hold does not matter.
template <CodeBits kBits, ScaleKind kScales>
__attribute__((noinline)) void quantised_group(const PanelProduct& product, std::int64_t row, std::int64_t token,
                                               int tokens) {
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * (product.cols / kQuantBlockInputs);
  alignas(64) float sums[kTokenGroup][kLanes];
  for (int t = 0; t < kTokenGroup; ++t) store(sums[t], zero());
  for (int t = 0; t < tokens; ++t) __builtin_prefetch(product.out + (token + t) * product.out_stride + row, 1);
  for_blocks<kBits, kScales, 1>(
      product, row, token, [&](const auto& packed, std::int64_t b) __attribute__((always_inline)) {
        UnpackedBlock<kBits, kScales> block[1];
        block[0].unpack(packed[0]);
        for (int slot = 0; slot < tokens; slot += kTile) {
          F tile[1][kTile];
#pragma GCC unroll 8
          for (int t = 0; t < kTile; ++t) tile[0][t] = load(sums[slot + t]);
          add_blocks<kBits, kScales>(block, inputs[b], slot, tile);
#pragma GCC unroll 8
          for (int t = 0; t < kTile; ++t) store(sums[slot + t], tile[0][t]);
        }
      });
  for (int t = 0; t < tokens; ++t) finish(load(sums[t]), product, row, token + t);
}

// Adds the products of a strip's `count` blocks with kTile tokens, from `slot` of a group on, to sums.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
__attribute__((noinline)) void add_strip(const UnpackedBlock<kBits, kScales> (*strip)[kPanels], int count,
                                         const ActivationBlock* inputs, int slot,
                                         const float (&sums)[kPanels][kTile][kLanes], const TileOut& out) {
  F tile[kPanels][kTile];
  load_tile<kPanels>(sums, tile);
  for (int b = 0; b < count; ++b) add_blocks<kBits, kScales>(strip[b], inputs[b], slot, tile);
  store_tile<kPanels>(tile, out);
}

// Some blocks of each panel. `inputs`: of a group of tokens that multiply_strips() begins with.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
class BlockStrip {
 public:
  static constexpr int kMaxUnits = 8;
  WARPLOOM_INLINE_MEMBER BlockStrip(const PanelProduct& product, std::int64_t row, const ActivationBlock* inputs)
      : inputs_(inputs), count_(product.cols / kQuantBlockInputs) {
    for (int i = 0; i < kPanels; ++i) packed_[i] = PackedBlock<kBits, kScales>(panel_at(product, row + i * kPanelRows));
  }
  WARPLOOM_INLINE_MEMBER void unpack(std::int64_t first, int length) {
    for (int b = 0; b < length; ++b) {
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) {
        packed_[i].enter(first + b);
        blocks_[b][i].unpack(packed_[i]);
        packed_[i].leave();
      }
    }
  }
  WARPLOOM_INLINE_MEMBER void add(std::int64_t first, int length, int begin, const float (&sums)[kPanels][kTile][kLanes],
                                  const TileOut& out) const {
    add_strip<kBits, kScales>(blocks_, length, inputs_ + begin / kTokenGroup * count_ + first, begin % kTokenGroup, sums,
                              out);
  }

 private:
  PackedBlock<kBits, kScales> packed_[kPanels];
  UnpackedBlock<kBits, kScales> blocks_[kMaxUnits][kPanels];
  const ActivationBlock* inputs_;
  std::int64_t count_;
};

// `token` begins a group.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
void quantised_strips(const PanelProduct& product, std::int64_t row, std::int64_t token, int tokens) {
  const std::int64_t count = product.cols / kQuantBlockInputs;
  BlockStrip<kBits, kScales, kPanels> strip(product, row, product.inputs + token / kTokenGroup * count);
  multiply_strips<kPanels, kBlockBytes<kBits, kScales>>(product, row, token, tokens, count, strip);
}

#if defined(__AMX_INT8__)
// As many tokens as tiles are good for; returns how many.
template <CodeBits kBits, ScaleKind kScales>
std::int64_t tile_tokens(const PanelProduct& product, std::int64_t row) {
  std::int64_t token = 0;
  if (product.tokens < kMinTileTokens) return token;
  const TileRegisters registers(kScales == ScaleKind::super_block_symmetric ? 16 : 32);
  while (product.tokens - token >= kMinGroupTokens) {
    int count = static_cast<int>(product.tokens - token < kTileTokens ? product.tokens - token : kTileTokens);
    if (count % kTokenGroup < kMinGroupTokens) count -= count % kTokenGroup;
    tile_panel<kBits, kScales>(product, row, token, count);
    token += count;
  }
  return token;
}
#endif

// kPanels panels, from `row` on, times all tokens. Tiles do not reach from one group into the next.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
void quantised_panels(const PanelProduct& product, std::int64_t row) {
  std::int64_t token = 0;
#if defined(__AMX_INT8__)
  if constexpr (kPanels == 1) token = tile_tokens<kBits, kScales>(product, row);
#endif
  const auto tile = [&](auto count) {
    quantised_tile<kBits, kScales, kPanels, count()>(product, row, token);
    token += count();
  };
  while (token < product.tokens) {
    const std::int64_t rest = product.tokens - token, group = kTokenGroup - token % kTokenGroup,
                       left = rest < group ? rest : group;
    if constexpr (kPanels == 1 && kMinUnpackedTokens<kBits> != 0) {
      if (left >= kMinUnpackedTokens<kBits>) {
        quantised_group<kBits, kScales>(product, row, token, static_cast<int>(left));
        token += left;
        continue;
      }
    }
    if constexpr (kPanels == 2 && kBits != CodeBits::eight) {
      if (rest >= kMinStripTokens && group == kTokenGroup) {
        const std::int64_t count = rest < kStripTokens ? rest - rest % kTile : kStripTokens;
        quantised_strips<kBits, kScales, kPanels>(product, row, token, static_cast<int>(count));
        token += count;
        continue;
      }
    }
    if (left >= kTile)
      tile(std::integral_constant<int, kTile>{});
    else if (kTile > 4 && left >= 4)
      tile(std::integral_constant<int, 4>{});
    else if (left >= 2)
      tile(std::integral_constant<int, 2>{});
    else
      tile(std::integral_constant<int, 1>{});
  }
}

template <CodeBits kBits, ScaleKind kScales>
void quantised_product(const PanelProduct& product) {
  std::int64_t row = 0;
#if defined(__AVX512VNNI__)
#if defined(__AMX_INT8__)
  const bool pairs = product.plan.pairs && product.tokens < kMinTileTokens;
#else
  const bool pairs = product.plan.pairs;
#endif
  if (pairs) {
    for (; row + kPanelRows < product.rows; row += 2 * kPanelRows) quantised_panels<kBits, kScales, 2>(product, row);
  }
#endif
  for (; row < product.rows; row += kPanelRows) quantised_panels<kBits, kScales, 1>(product, row);
}

}  // namespace

void multiply_quantised(const PanelProduct& product) {
#define WARPLOOM_CASE(bits_, scales_)                                                        \
  if (product.format.bits == CodeBits::bits_ && product.format.scales == ScaleKind::scales_) \
    return quantised_product<CodeBits::bits_, ScaleKind::scales_>(product);
  WARPLOOM_CASE(four, affine)                // Q4_1
  WARPLOOM_CASE(eight, symmetric)            // Q8_0
  WARPLOOM_CASE(four, symmetric)             // Q4_0
  WARPLOOM_CASE(five, symmetric)             // Q5_0
  WARPLOOM_CASE(five, affine)                // Q5_1
  WARPLOOM_CASE(four, super_block_affine)    // Q4_K
  WARPLOOM_CASE(five, super_block_affine)    // Q5_K
  WARPLOOM_CASE(six, super_block_symmetric)  // Q6_K
#undef WARPLOOM_CASE
  __builtin_unreachable();
}

}  // namespace warploom::cpu::WARPLOOM_ISA
