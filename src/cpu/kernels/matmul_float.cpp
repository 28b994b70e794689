// Products of panels of floats: each input of a token times 16 weights, in order.
#include <type_traits>

#include "cpu/kernels/matmul.h"
#include "cpu/kernels/panels.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

template <DType kType>
WARPLOOM_INLINE F load_weights(const std::byte* panel, std::int64_t input) {
  if constexpr (kType == DType::f32) return load(reinterpret_cast<const float*>(panel) + input * kLanes);
  if constexpr (kType == DType::f16) return load_f16(reinterpret_cast<const std::uint16_t*>(panel) + input * kLanes);
  if constexpr (kType == DType::bf16) return load_bf16(reinterpret_cast<const std::uint16_t*>(panel) + input * kLanes);
}

template <DType kType, int kTokens>
WARPLOOM_INLINE void float_tile(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  const std::byte* panel = reinterpret_cast<const std::byte*>(panel_at(product, row));
  const std::int64_t cols = product.cols;
  const float* x = product.x + token * cols;
  const Fetch fetch = product.plan.fetch;
  F sum[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sum[t] = zero();
  constexpr std::size_t kRowBytes = kLanes * (kType == DType::f32 ? 4 : 2);
  for (std::int64_t k = 0; k < cols; ++k) {
    fetch_lines<kRowBytes>(panel + static_cast<std::size_t>(k) * kRowBytes + kFetchAhead, fetch);
    const F w = load_weights<kType>(panel, k);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[t] = fma(w, set(x[t * cols + k]), sum[t]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) finish(sum[t], product, row, token + t);
}

template <DType kType>
void float_product(const PanelProduct& product) {
  for (std::int64_t row = 0; row < product.rows; row += kPanelRows) {
    std::int64_t token = 0;
    const auto tile = [&](auto count) __attribute__((always_inline)) {
      float_tile<kType, count()>(product, row, token);
      token += count();
    };
    while (token + kTile <= product.tokens) tile(std::integral_constant<int, kTile>{});
    if (kTile > 4 && token + 4 <= product.tokens) tile(std::integral_constant<int, 4>{});
    if (token + 2 <= product.tokens) tile(std::integral_constant<int, 2>{});
    if (token < product.tokens) tile(std::integral_constant<int, 1>{});
  }
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
