// How products go through panels: block by block, while what follows is fetched.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels/blocks.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

// The maximum number of tokens in a tile.
#if defined(__AVX512F__)
inline constexpr int kTile = 8;  // 8 code vectors and 8 sums fit in the 32 registers
#else
inline constexpr int kTile = 4;
#endif

// Fetches kBytes from p on. Each line must be fetched: gaps are slower than no fetching at all.
template <std::size_t kBytes>
WARPLOOM_INLINE void fetch_lines(const void* p, Fetch fetch) {
  const auto* bytes = static_cast<const std::byte*>(p);
  if (fetch == Fetch::second_cache) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBytes; i += 64) __builtin_prefetch(bytes + i, 0, 2);
  } else if (fetch == Fetch::first_cache) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBytes; i += 64) __builtin_prefetch(bytes + i, 0, 3);
  }
}
inline constexpr std::int64_t kFetchAhead = 8192;  // bytes; 4 to 32 KiB are alike

// A block and its part of a super-block's scales.
template <CodeBits kBits, ScaleKind kScales>
inline constexpr std::int64_t kBlockBytes = block_scale_bytes(kScales) + block_code_bytes(kBits) +
                                            super_block_scale_bytes(kScales) * kQuantBlockInputs / kSuperBlockInputs;

// A block as it lies in a panel: the codes that Dot takes at a step, and the scales.
template <CodeBits kBits, ScaleKind kScales>
class PackedBlock {
 public:
  PackedBlock() = default;
  // The first block of a panel, then from block to block: enter(0), leave(), enter(1), ...
  WARPLOOM_INLINE_MEMBER explicit PackedBlock(const std::uint8_t* panel) : p_(panel) {}
  WARPLOOM_INLINE_MEMBER void enter(std::int64_t b) { p_ = scales_.enter(p_, b); }
  WARPLOOM_INLINE_MEMBER void leave() { p_ += block_scale_bytes(kScales) + block_code_bytes(kBits); }

  template <int kStep>
  WARPLOOM_INLINE_MEMBER B codes() const {
    return load_codes<kBits, kStep>(p_ + block_scale_bytes(kScales));
  }
  WARPLOOM_INLINE_MEMBER F first() const { return scales_.first(p_); }
  WARPLOOM_INLINE_MEMBER F second() const { return scales_.second(p_); }

 private:
  const std::uint8_t* p_;  // its own scales
  BlockScales<kScales> scales_;
};

// From how many tokens on a block of one panel is unpacked once for all of a group, and not for every tile: if that takes as long as the
// products of a token or two. 0: never.
template <CodeBits kBits>
inline constexpr int kMinUnpackedTokens =
#if defined(__AVX512VNNI__)
    0;
#elif defined(__AVX512F__)
    kBits == CodeBits::six ? 12 : 0;
#elif defined(__AVX2__)
    kBits == CodeBits::six     ? 8
    : kBits == CodeBits::eight ? 0
                               : 12;
#else
    0;
#endif

// What the tiles of kPanels panels, from `row` on, fetch while the one that begins with `token` goes through panels of `count` units of
// kBytes: of blocks, or of some inputs.
template <std::int64_t kBytes, int kPanels>
class FetchAhead {
 public:
  WARPLOOM_INLINE_MEMBER FetchAhead(const PanelProduct& product, std::int64_t row, std::int64_t token, std::int64_t count)
      : where_(product.plan.fetch), from_(panel_at(product, row)), panel_bytes_(product.panel_bytes) {
    if constexpr (kPanels == 1) {
      from_ += kFetchAhead;
    } else if (product.tokens < kTile * 3 / 2) {
      constexpr std::int64_t kAhead = kFetchAhead / kPanels / kBytes;  // whole units, so that no line is left out
      from_ += kAhead * kBytes;
      last_ = count - kAhead;
    } else {  // tiles share the next panels, which then have more time
      parts_ = product.tokens < 4 * kTile ? 2 : 4;
      const std::int64_t part = token / kTile;
      from_ += kPanels * panel_bytes_ + static_cast<std::size_t>(part * (kPanels * kBytes / parts_) * count);
      if (part >= parts_) where_ = Fetch::nowhere;
    }
  }
  WARPLOOM_INLINE_MEMBER void at(std::int64_t unit) const {
    if constexpr (kPanels == 1) {
      fetch_lines<kBytes>(from_ + unit * kBytes, where_);
    } else if (parts_ == 1) {
      const std::uint8_t* p = from_ + unit * kBytes + (unit < last_ ? 0 : (kPanels - 1) * panel_bytes_);
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) fetch_lines<kBytes>(p + static_cast<std::size_t>(i) * panel_bytes_, where_);
    } else if (parts_ == 2) {
      fetch_lines<kPanels * kBytes / 2>(from_ + unit * (kPanels * kBytes / 2), where_);
    } else {
      fetch_lines<kPanels * kBytes / 4>(from_ + unit * (kPanels * kBytes / 4), where_);
    }
  }

 private:
  Fetch where_;
  int parts_ = 1;
  const std::uint8_t* from_;
  std::size_t panel_bytes_;
  std::int64_t last_ = 0;  // from this unit on, it is the next panels' units that are fetched
};

// Calls body(blocks, b) for the blocks b of kPanels panels.
template <CodeBits kBits, ScaleKind kScales, int kPanels, typename Body>
WARPLOOM_INLINE void for_blocks(const PanelProduct& product, std::int64_t row, std::int64_t token, const Body& body) {
  const std::int64_t count = product.cols / kQuantBlockInputs;
  const FetchAhead<kBlockBytes<kBits, kScales>, kPanels> fetch(product, row, token, count);
  PackedBlock<kBits, kScales> blocks[kPanels];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) blocks[i] = PackedBlock<kBits, kScales>(panel_at(product, row + i * kPanelRows));
  for (std::int64_t b = 0; b < count; ++b) {
    fetch.at(b);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) blocks[i].enter(b);
    body(blocks, b);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) blocks[i].leave();
  }
}

// A block whose codes and scales were unpacked, for several tiles.
template <CodeBits kBits, ScaleKind kScales>
class UnpackedBlock {
 public:
  WARPLOOM_INLINE_MEMBER void unpack(const PackedBlock<kBits, kScales>& from) {
    store(first_scale_, from.first());
    store(second_scale_, from.second());
    unpack_codes<0>(from);
  }
  template <int kStep>
  WARPLOOM_INLINE_MEMBER B codes() const {
    return load_bytes(steps_[kStep]);
  }
  WARPLOOM_INLINE_MEMBER F first() const { return load(first_scale_); }
  WARPLOOM_INLINE_MEMBER F second() const { return load(second_scale_); }

 private:
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void unpack_codes(const PackedBlock<kBits, kScales>& from) {
    store(steps_[kStep], from.template codes<kStep>());
    if constexpr (kStep < 7) unpack_codes<kStep + 1>(from);
  }

  alignas(64) std::uint8_t steps_[8][64];
  alignas(64) float first_scale_[kLanes], second_scale_[kLanes];
};

}  // namespace warploom::cpu::WARPLOOM_ISA
