// How the CUDA kernels keep weights.
//
// A tile is 16 rows by 64 inputs, as tensor cores take it: mma.sync m16n8k16 four times, with the weights as its matrix A.
// Lane l of a warp, g = l / 4 and t = l % 4, owns rows g and g + 8 and two runs of 8 inputs, from 8 t and from 32 + 8 t on,
// so that the four lanes of a token read its inputs as whole sectors. Product s of the four takes inputs 4 s to 4 s + 3 of
// each lane's 16: which of them counts as which k of the instruction is free as long as A and B agree. Its fragments:
//   a0 = row g, the first two inputs        a1 = row g + 8, the same inputs
//   a2 = row g, the last two                a3 = row g + 8, the same inputs
//
// Codes come first in a tile, 128 bytes for each bit of their width, a lane's 16 bytes beside the next lane's:
//   4 bits:  [32 lanes][4 products], words whose bits 4 j and 16 + 4 j hold the two codes of a_j
//   8 bits:  [2 runs][32 lanes][2 products][rows g, g + 8], words of the four inputs' codes, the first in the low byte
//   16 bits: [4 products][32 lanes][a0..a3], pairs of f16 or bf16
// Scales follow, pairs of f16 in words, those of rows g and g + 8 side by side:
//   plain:   [8 g][g, g + 8] scales of inputs 0-31 and 32-63
//   affine:  [8 g][inputs 0-31, 32-63][g, g + 8] scale and minimum
//   halves:  [8 g][inputs 0-31, 32-63][g, g + 8] scales of their first and last 16
// Weight = scale * (code - zero) + minimum. Codes of 4 bits are of Q4_0 (plain), Q4_1, Q4_K (affine); those of 8 bits of
// Q8_0, Q5_0 (plain), Q5_1, Q5_K (affine), Q6_K (halves). The rest is kept as 16 bits. Tiles of 16 rows follow one another
// along the inputs (a row of tiles), then come the next 16 rows. Rows and inputs beyond the matrix have weight zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/host_device.h"

namespace warploom::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kTileInputs = 64;

enum class ScaleLayout : std::uint8_t { none, plain, affine, halves };

struct TileFormat {
  int bits = 16;                           // 4, 8 or 16
  ScaleLayout scales = ScaleLayout::none;  // none: 16 bits
};

WARPLOOM_HOST_DEVICE constexpr int code_bytes(int bits) { return 128 * bits; }
WARPLOOM_HOST_DEVICE constexpr int scale_bytes(ScaleLayout scales) {
  return scales == ScaleLayout::none ? 0 : scales == ScaleLayout::plain ? 64 : 128;
}
WARPLOOM_HOST_DEVICE constexpr int tile_bytes(TileFormat format) {
  return code_bytes(format.bits) + scale_bytes(format.scales);
}
/// What to subtract from codes. Those with a minimum have none.
WARPLOOM_HOST_DEVICE constexpr int zero_of(TileFormat format) {
  return format.scales == ScaleLayout::affine ? 0 : format.bits == 4 ? 8 : 128;
}

constexpr TileFormat tile_format(WeightType type) {
  switch (type) {
    case WeightType::q4_0: return {4, ScaleLayout::plain};
    case WeightType::q4_1:
    case WeightType::q4_k: return {4, ScaleLayout::affine};
    case WeightType::q5_0:
    case WeightType::q8_0: return {8, ScaleLayout::plain};
    case WeightType::q5_1:
    case WeightType::q5_k: return {8, ScaleLayout::affine};
    case WeightType::q6_k: return {8, ScaleLayout::halves};
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16: break;
  }
  return {};
}

/// Rows of one format.
struct PackedSegment {
  const std::byte* tiles = nullptr;  // device memory, 16-byte boundary
  TileFormat format;
  int first_row = 0;   // in the view
  int first_tile = 0;  // rows of tiles before it
  int rows = 0;
  int tile_row_bytes = 0;
};

inline constexpr int kMaxSegments = 4;  // query, key, value; gate, up

/// What kernels get. Segments in the order of their rows.
struct PackedView {
  PackedSegment segments[kMaxSegments];
  int segment_count = 0;
  int rows = 0;
  int cols = 0;
  int row_tiles = 0;  // of all segments
  int col_tiles = 0;
};

/// The segment that a row of tiles lies in.
WARPLOOM_HOST_DEVICE inline const PackedSegment& segment_of(const PackedView& view, int row_tile) {
  int s = 0;
  while (s + 1 < view.segment_count && row_tile >= view.segments[s + 1].first_tile) ++s;
  return view.segments[s];
}
/// The first row of a row of tiles in the view; of the one beyond the last: the view's rows.
inline int first_row_of(const PackedView& view, int row_tile) {
  if (row_tile >= view.row_tiles) return view.rows;
  const PackedSegment& segment = segment_of(view, row_tile);
  return segment.first_row + (row_tile - segment.first_tile) * kTileRows;
}

}  // namespace warploom::cuda
