// Products of panels of floats: each input of a token times 16 weights of a panel, one or two, in order.
#include <type_traits>

#include "cpu/kernels/matmul.h"
#include "cpu/kernels/panels.h"
#include "cpu/kernels/strips.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

template <DType kType>
inline constexpr std::int64_t kInputBytes = kPanelRows*(kType == DType::f32 ? 4 : 2);  // of a panel

template <DType kType>
WARPLOOM_INLINE F load_weights(const std::uint8_t* panel, std::int64_t input) {
  const std::uint8_t* p = panel + input * kInputBytes<kType>;
  if constexpr (kType == DType::f32) return load(reinterpret_cast<const float*>(p));
  if constexpr (kType == DType::f16) return load_f16(reinterpret_cast<const std::uint16_t*>(p));
  if constexpr (kType == DType::bf16) return load_bf16(reinterpret_cast<const std::uint16_t*>(p));
}

// x: an input of the first token, rows `stride` apart.
template <int kPanels, int kTokens>
WARPLOOM_INLINE void add_input(const F (&weights)[kPanels], const float* x, std::int64_t stride,
                               F (&sums)[kPanels][kTokens]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const F input = set(x[t * stride]);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) sums[i][t] = fma(weights[i], input, sums[i][t]);
  }
}

template <DType kType, int kPanels, int kTokens>
__attribute__((noinline)) void float_tile(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  constexpr int kAtOnce = 4;  // inputs, whole cache lines of them
  const std::uint8_t* panels[kPanels];
  for (int i = 0; i < kPanels; ++i) panels[i] = panel_at(product, row + i * kPanelRows);
  const std::int64_t cols = product.cols, units = cols / kAtOnce;
  const float* x = product.x + token * cols;
  F sums[kPanels][kTokens];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[i][t] = zero();
  }
  const auto add = [&](std::int64_t k) __attribute__((always_inline)) {
    F weights[kPanels];
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) weights[i] = load_weights<kType>(panels[i], k);
    add_input(weights, x + k, cols, sums);
  };
  const FetchAhead<kAtOnce * kInputBytes<kType>, kPanels> fetch(product, row, token, units);
  for (std::int64_t unit = 0; unit < units; ++unit) {
    fetch.at(unit);
#pragma GCC unroll 4
    for (int k = 0; k < kAtOnce; ++k) add(unit * kAtOnce + k);
  }
  for (std::int64_t k = units * kAtOnce; k < cols; ++k) add(k);
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) finish(sums[i][t], product, row + i * kPanelRows, token + t);
  }
}

// Some inputs of each panel.
template <DType kType, int kPanels>
class FloatStrip {
 public:
  static constexpr int kMaxUnits = 128;
  WARPLOOM_INLINE_MEMBER FloatStrip(const PanelProduct& product, std::int64_t row, std::int64_t token)
      : x_(product.x + token * product.cols), stride_(product.cols) {
    for (int i = 0; i < kPanels; ++i) panels_[i] = panel_at(product, row + i * kPanelRows);
  }
  WARPLOOM_INLINE_MEMBER void unpack(std::int64_t first, int length) {
    for (int k = 0; k < length; ++k) {
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) store(weights_[k][i], load_weights<kType>(panels_[i], first + k));
    }
  }
  __attribute__((noinline)) void add(std::int64_t first, int length, int begin, const float (&sums)[kPanels][kTile][kLanes],
                                     const TileOut& out) const {
    const float* x = x_ + begin * stride_ + first;
    F tile[kPanels][kTile];
    load_tile<kPanels>(sums, tile);
    for (int k = 0; k < length; ++k) {
      F weights[kPanels];
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) weights[i] = load(weights_[k][i]);
      add_input(weights, x + k, stride_, tile);
    }
    store_tile<kPanels>(tile, out);
  }

 private:
  alignas(64) float weights_[kMaxUnits][kPanels][kLanes];
  const std::uint8_t* panels_[kPanels];
  const float* x_;
  std::int64_t stride_;
};

// kPanels panels, from `row` on, times all tokens.
template <DType kType, int kPanels>
void float_panels(const PanelProduct& product, std::int64_t row) {
  std::int64_t token = 0;
  if constexpr (kPanels == 2) {
    while (product.tokens - token >= kMinStripTokens) {
      const std::int64_t rest = product.tokens - token, count = rest < kStripTokens ? rest - rest % kTile : kStripTokens;
      FloatStrip<kType, kPanels> strip(product, row, token);
      multiply_strips<kPanels, kInputBytes<kType>>(product, row, token, static_cast<int>(count), product.cols, strip);
      token += count;
    }
  }
  const auto tile = [&](auto count) {
    float_tile<kType, kPanels, count()>(product, row, token);
    token += count();
  };
  while (token + kTile <= product.tokens) tile(std::integral_constant<int, kTile>{});
  if (kTile > 4 && token + 4 <= product.tokens) tile(std::integral_constant<int, 4>{});
  if (token + 2 <= product.tokens) tile(std::integral_constant<int, 2>{});
  if (token < product.tokens) tile(std::integral_constant<int, 1>{});
}

template <DType kType>
void float_product(const PanelProduct& product) {
  std::int64_t row = 0;
#if defined(__AVX512F__)
  if (product.plan.pairs) {
    for (; row + kPanelRows < product.rows; row += 2 * kPanelRows) float_panels<kType, 2>(product, row);
  }
#endif
  for (; row < product.rows; row += kPanelRows) float_panels<kType, 1>(product, row);
}

}  // namespace

void multiply_float(const PanelProduct& product) {
  switch (product.format.dtype) {
    case DType::f32: return float_product<DType::f32>(product);
    case DType::f16: return float_product<DType::f16>(product);
    case DType::bf16: return float_product<DType::bf16>(product);
    case DType::int8: break;  // no weights are of it
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
