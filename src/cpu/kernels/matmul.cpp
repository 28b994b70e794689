// Panels of 16 output rows, one or two, times 1 to kTile tokens. The dot products of a block of 32 inputs are exact integers, which are
// added to one float sum per (token, row), block after block. The operations are the same for every tile size, so a token's
// result does not depend on the other tokens.
#include "cpu/kernels/matmul.h"

#include <type_traits>

#include "cpu/kernels/block_products.h"
#include "cpu/kernels/panels.h"
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

// Where a tile's results go.
template <int kPanels>
WARPLOOM_INLINE void fetch_results(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  for (int t = 0; t < kTile; ++t) {
    for (int i = 0; i < kPanels; ++i)
      __builtin_prefetch(product.out + (token + t) * product.out_stride + row + i * kPanelRows, 1);
  }
}
template <int kPanels>
WARPLOOM_INLINE void finish_tile(const float (&sums)[kPanels][kTile][kLanes], const PanelProduct& product, std::int64_t row,
                                 std::int64_t token) {
  for (int i = 0; i < kPanels; ++i) {
    for (int t = 0; t < kTile; ++t) finish(load(sums[i][t]), product, row + i * kPanelRows, token + t);
  }
}

// Where a tile's sums are written to: token t of panel i at p + i * panel_stride + t * token_stride.
struct TileOut {
  float* p;
  std::int64_t panel_stride, token_stride;
};

// Adds the products of a strip's `count` blocks with kTile tokens, from `slot` of a group on, to sums.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
__attribute__((noinline)) void add_strip(const UnpackedBlock<kBits, kScales> (*strip)[kPanels], int count,
                                         const ActivationBlock* inputs, int slot,
                                         const float (&sums)[kPanels][kTile][kLanes], const TileOut& out) {
  F sum[kPanels][kTile];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) sum[i][t] = load(sums[i][t]);
  }
  for (int b = 0; b < count; ++b) add_blocks<kBits, kScales>(strip[b], inputs[b], slot, sum);
  float* p = out.p;
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t, p += out.token_stride) {
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) store(p + i * out.panel_stride, sum[i][t]);
  }
}

// The next blocks of each panel, from block `first` on.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
WARPLOOM_INLINE void unpack_strip(PackedBlock<kBits, kScales> (&packed)[kPanels], std::int64_t first, int count,
                                  UnpackedBlock<kBits, kScales> (*strip)[kPanels]) {
  for (int b = 0; b < count; ++b) {
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      packed[i].enter(first + b);
      strip[b][i].unpack(packed[i]);
      packed[i].leave();
    }
  }
}

// Whole tiles of tokens, up to kStripTokens of them, from `token` on, which begins a group.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
void quantised_strips(const PanelProduct& product, std::int64_t row, std::int64_t token, int tokens) {
  const std::int64_t count = product.cols / kQuantBlockInputs;
  const std::int64_t strips = (count + kMaxStripBlocks - 1) / kMaxStripBlocks, blocks = (count + strips - 1) / strips;
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * count;
  PackedBlock<kBits, kScales> packed[kPanels];
  for (int i = 0; i < kPanels; ++i) packed[i] = PackedBlock<kBits, kScales>(panel_at(product, row + i * kPanelRows));
  UnpackedBlock<kBits, kScales> strip[kMaxStripBlocks][kPanels];
  const int tiles = tokens / kTile;
  const bool direct = !product.bias && product.rows - row >= kPanels * kPanelRows;  // sums are results
  alignas(64) static constexpr float kZeros[kPanels][kTile][kLanes] = {};
  alignas(64) float sums[kStripTokens / kTile][kPanels][kTile][kLanes];
  for (std::int64_t first = 0; first < count; first += blocks) {
    const int length = static_cast<int>(count - first < blocks ? count - first : blocks);
    const bool last = first + length == count;
    unpack_strip<kBits, kScales>(packed, first, length, strip);
    const FetchStrip<kBits, kScales, kPanels> fetch(product, row, first, length, tiles);
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = tile * kTile;
      fetch.in_tile(tile);
      if (last) fetch_results<kPanels>(product, row, token + begin);
      const TileOut out =
          last && direct ? TileOut{product.out + (token + begin) * product.out_stride + row, kPanelRows, product.out_stride}
                         : TileOut{sums[tile][0][0], kTile * kLanes, kLanes};
      add_strip<kBits, kScales>(strip, length, inputs + begin / kTokenGroup * count + first, begin % kTokenGroup,
                                first == 0 ? kZeros : sums[tile], out);
      if (last && !direct) finish_tile<kPanels>(sums[tile], product, row, token + begin);
    }
  }
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
