// The layout in which the CUDA kernels read weights.
//
// A tile is 16 rows by 64 inputs: the A operand of four mma.sync m16n8k16. Lane l of a warp, with g = l / 4 and t = l % 4,
// holds rows g and g + 8 and two runs of 8 inputs, which start at 8 t and 32 + 8 t; so the four lanes of a token read whole
// sectors of its inputs. Product s of the four takes inputs 4 s to 4 s + 3 of each lane's 16. Any assignment of inputs to
// the instruction's k is correct as long as A and B agree. The fragments are
//   a0 = row g, the first two inputs        a1 = row g + 8, the same inputs
//   a2 = row g, the last two                a3 = row g + 8, the same inputs
//
// A tile begins with its codes, 128 bytes for each bit of their width; the lanes' 16-byte pieces are contiguous:
//   4 bits:  [32 lanes][4 products], words; bits 4 j and 16 + 4 j start the two codes of a_j
//   8 bits:  [2 runs][32 lanes][2 products][rows g, g + 8], words of the four inputs' codes, the first in the low byte
//   16 bits: [4 products][32 lanes][a0..a3], pairs of f16 or bf16
// Scales follow as f16, two to a word:
//   plain:   [8 g][g, g + 8] scales of inputs 0-31 and 32-63
//   affine:  [8 g][inputs 0-31, 32-63][g, g + 8] scale and min
//   halves:  [8 g][inputs 0-31, 32-63][g, g + 8] scales of their first and last 16
// Weight = scale * (code - zero_point) + min. Q4_0 (plain), Q4_1 and Q4_K (affine) have codes of 4 bits; Q8_0 and Q5_0
// (plain), Q5_1 and Q5_K (affine) and Q6_K (halves) have codes of 8 bits. Every other type is stored as 16-bit floats. The
// tiles of the same 16 rows, a tile row, follow one another along the inputs; then comes the next tile row. Weights beyond
// the matrix's rows and inputs are zero.
//
// Where rows alternate, a tile's rows are 8 of a gate and the 8 of the same numbers of up: rows g and g + 8, so that a lane has the sums
// of both.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "warploom/host_device.h"

namespace warploom::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kTileInputs = 64;
inline constexpr int kTokenTile = 8;  // tokens of a product, the columns of mma.sync

enum class ScaleLayout : std::uint8_t { none, plain, affine, halves };

struct TileFormat {
  int bits = 16;                           // 4, 8 or 16
  ScaleLayout scales = ScaleLayout::none;  // none: 16 bits
};

WARPLOOM_HOST_DEVICE constexpr int tile_code_bytes(int bits) { return 128 * bits; }
WARPLOOM_HOST_DEVICE constexpr int tile_scale_bytes(ScaleLayout scales) {
  return scales == ScaleLayout::none ? 0 : scales == ScaleLayout::plain ? 64 : 128;
}
WARPLOOM_HOST_DEVICE constexpr int tile_bytes(TileFormat format) {
  return tile_code_bytes(format.bits) + tile_scale_bytes(format.scales);
}
/// What is subtracted from codes; 0 for formats with a min.
WARPLOOM_HOST_DEVICE constexpr int zero_point_of(TileFormat format) {
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

/// Consecutive rows of one format.
struct TileSegment {
  const std::byte* tiles = nullptr;  // device memory, 16-byte boundary
  TileFormat format;
  int first_row = 0;   // in the view
  int first_tile = 0;  // its first tile row in the view
  int rows = 0;
  int tile_row_bytes = 0;
};

inline constexpr int kMaxSegments = 4;  // query, key, value; gate, up

/// A packed weight as kernels take it. Segments are in the order of their rows.
struct PackedView {
  TileSegment segments[kMaxSegments];
  int segment_count = 0;
  int rows = 0;
  int cols = 0;
  int row_tiles = 0;  // of all segments
  int col_tiles = 0;
};

/// The segment that holds a tile row.
WARPLOOM_HOST_DEVICE inline const TileSegment& segment_of(const PackedView& view, int row_tile) {
  int s = 0;
  while (s + 1 < view.segment_count && row_tile >= view.segments[s + 1].first_tile) ++s;
  return view.segments[s];
}
/// The first row of a tile row in the view; view.rows for tile rows beyond the last.
inline int first_row_of(const PackedView& view, int row_tile) {
  if (row_tile >= view.row_tiles) return view.rows;
  const TileSegment& segment = segment_of(view, row_tile);
  return segment.first_row + (row_tile - segment.first_tile) * kTileRows;
}

}  // namespace warploom::cuda
