// Products of many tokens go through panels in strips: some inputs of each of kPanels panels, which are unpacked once for all tokens, while
// sums wait in memory.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels/panels.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

// From kMinStripTokens on that pays.
inline constexpr int kStripTokens = 64, kMinStripTokens = 24;

// Where a tile's sums are written to: token t of panel i at p + i * panel_stride + t * token_stride.
struct TileOut {
  float* p;
  std::int64_t panel_stride, token_stride;
};

template <int kPanels>
WARPLOOM_INLINE void load_tile(const float (&sums)[kPanels][kTile][kLanes], F (&tile)[kPanels][kTile]) {
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) tile[i][t] = load(sums[i][t]);
  }
}
template <int kPanels>
WARPLOOM_INLINE void store_tile(const F (&tile)[kPanels][kTile], const TileOut& out) {
  float* p = out.p;
#pragma GCC unroll 8
  for (int t = 0; t < kTile; ++t, p += out.token_stride) {
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) store(p + i * out.panel_stride, tile[i][t]);
  }
}

// The strip that follows [begin, end) of each panel, in bytes, of which each of `tiles` fetches a part. Behind the last one follow the
// next panels.
template <int kPanels>
class FetchStrip {
 public:
  FetchStrip(const PanelProduct& product, std::int64_t row, std::int64_t begin, std::int64_t end, std::int64_t panel,
             int tiles)
      : where_(product.plan.fetch), panel_bytes_(product.panel_bytes) {
    next_ = panel_at(product, row) + (end < panel ? static_cast<std::size_t>(end) : kPanels * panel_bytes_);
    lines_ = (end - begin + 64 * tiles - 1) / (64 * tiles);
  }
  // Inlined, since compilers drop calls of functions that do nothing but fetch.
  WARPLOOM_INLINE_MEMBER void in_tile(int tile) const {
    for (int i = 0; i < kPanels; ++i) {
      const std::uint8_t* p = next_ + static_cast<std::size_t>(i) * panel_bytes_ + tile * lines_ * 64;
      for (std::int64_t line = 0; line < lines_; ++line) fetch_lines<64>(p + 64 * line, where_);
    }
  }

 private:
  Fetch where_;
  std::size_t panel_bytes_;
  const std::uint8_t* next_;
  std::int64_t lines_;
};

// Where a tile's results go.
template <int kPanels>
WARPLOOM_INLINE void fetch_results(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  for (int t = 0; t < kTile; ++t) {
    for (int i = 0; i < kPanels; ++i)
      __builtin_prefetch(product.out + (token + t) * product.out_stride + row + i * kPanelRows, 1);
  }
}

// Whole tiles of tokens, up to kStripTokens of them, from `token` on, times kPanels panels of `count` units of kUnitBytes. A strip has up
// to Strip::kMaxUnits of them:
//   void unpack(std::int64_t first, int length)
//   void add(std::int64_t first, int length, int begin, sums, const TileOut& out)   to sums of the tile of tokens from token + begin on
template <int kPanels, std::int64_t kUnitBytes, typename Strip>
WARPLOOM_INLINE void multiply_strips(const PanelProduct& product, std::int64_t row, std::int64_t token, int tokens,
                                     std::int64_t count, Strip& strip) {
  const std::int64_t strips = (count + Strip::kMaxUnits - 1) / Strip::kMaxUnits, units = (count + strips - 1) / strips;
  const int tiles = tokens / kTile;
  const bool direct = !product.bias && product.rows - row >= kPanels * kPanelRows;  // sums are results
  alignas(64) static constexpr float kZeros[kPanels][kTile][kLanes] = {};
  alignas(64) float sums[kStripTokens / kTile][kPanels][kTile][kLanes];
  for (std::int64_t first = 0; first < count; first += units) {
    const int length = static_cast<int>(count - first < units ? count - first : units);
    const bool last = first + length == count;
    strip.unpack(first, length);
    const FetchStrip<kPanels> fetch(product, row, first * kUnitBytes, (first + length) * kUnitBytes, count * kUnitBytes,
                                    tiles);
    for (int tile = 0; tile < tiles; ++tile) {
      const int begin = tile * kTile;
      fetch.in_tile(tile);
      if (last) fetch_results<kPanels>(product, row, token + begin);
      const TileOut out =
          last && direct ? TileOut{product.out + (token + begin) * product.out_stride + row, kPanelRows, product.out_stride}
                         : TileOut{sums[tile][0][0], kTile * kLanes, kLanes};
      strip.add(first, length, begin, first == 0 ? kZeros : sums[tile], out);
      if (!last || direct) continue;
      for (int i = 0; i < kPanels; ++i) {
        for (int t = 0; t < kTile; ++t) finish(load(sums[tile][i][t]), product, row + i * kPanelRows, token + begin + t);
      }
    }
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
