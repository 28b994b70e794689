#include "cuda/backend/matmul/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/divide.h"
#include "core/float_element.h"
#include "core/half.h"
#include "core/quant_group.h"

namespace warploom::cuda {

namespace {

using u8 = std::uint8_t;

constexpr int kGroupsOfTile = kTileInputs / kQuantGroupInputs;

void put_u16(std::byte* at, std::uint16_t value) { std::memcpy(at, &value, sizeof value); }

// Each stores a run of 8 inputs of a row, which starts at input 32 half + 8 t, into a tile.
void put_codes4(std::byte* tile, int row, int half, int t, const u8* code) {
  std::byte* at = tile + 16 * (4 * (row % 8) + t) + 8 * half;
  for (int s = 0; s < 2; ++s, at += 4, code += 4) {
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    const std::uint32_t a0 = code[0] | code[1] << 16, a2 = code[2] | code[3] << 16;
    word |= (a0 | a2 << 8) << (row < 8 ? 0 : 4);
    std::memcpy(at, &word, sizeof word);
  }
}
void put_codes8(std::byte* tile, int row, int half, int t, const u8* code) {
  std::byte* at = tile + 512 * half + 16 * (4 * (row % 8) + t) + (row < 8 ? 0 : 4);
  for (int s = 0; s < 2; ++s) std::memcpy(at + 8 * s, code + 4 * s, 4);
}
void put_codes16(std::byte* tile, int row, int half, int t, const std::uint16_t* value) {
  std::byte* at = tile + 1024 * half + 16 * (4 * (row % 8) + t) + (row < 8 ? 0 : 4);
  for (int s = 0; s < 2; ++s) {
    std::memcpy(at + 512 * s, value + 4 * s, 4);
    std::memcpy(at + 512 * s + 8, value + 4 * s + 2, 4);
  }
}

void put_scales(std::byte* tile, TileFormat format, int row, int group, const QuantGroup& from) {
  std::byte* scales = tile + tile_code_bytes(format.bits);
  const auto half = [](float value) { return narrow(value, DType::f16); };
  if (format.scales == ScaleLayout::plain) {
    put_u16(scales + 8 * (row % 8) + (row < 8 ? 0 : 4) + 2 * group, half(from.scale[0]));
    return;
  }
  std::byte* at = scales + 16 * (row % 8) + 8 * group + (row < 8 ? 0 : 4);
  put_u16(at, half(from.scale[0]));
  put_u16(at + 2, half(format.scales == ScaleLayout::affine ? from.min : from.scale[1]));
}

void pack_quantised_row(const WeightView& part, TileFormat format, const std::byte* from, int row, std::byte* tiles) {
  const int shift = zero_point_of(format);
  for (std::int64_t g = 0; g < part.cols / kQuantGroupInputs; ++g) {
    std::byte* tile = tiles + g / kGroupsOfTile * tile_bytes(format);
    const int group = static_cast<int>(g % kGroupsOfTile);
    QuantGroup decoded = decode_group(part.type, from, g);
    put_scales(tile, format, row, group, decoded);
    // Codes with the zero point of their width: all codes of 8 bits have 128, the file's have 16, 32 or 128.
    for (u8& q : decoded.q) q = static_cast<u8>(q + shift - decoded.zero_point);
    for (int t = 0; t < 4; ++t)
      format.bits == 4 ? put_codes4(tile, row, group, t, decoded.q + 8 * t)
                       : put_codes8(tile, row, group, t, decoded.q + 8 * t);
  }
}

// Inputs [begin, begin + count) of a row. If the type is quantised, begin and count are multiples of a group.
void narrow_inputs(const WeightView& part, DType type, const std::byte* from, std::int64_t begin, std::int64_t count,
                   std::uint16_t* out) {
  const bool as_it_is =
      (part.type == WeightType::f16 && type == DType::f16) || (part.type == WeightType::bf16 && type == DType::bf16);
  if (as_it_is) {
    std::memcpy(out, from + 2 * begin, static_cast<std::size_t>(2 * count));
  } else if (!is_quantised(part.type)) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = narrow(float_at(float_type(part.type), from, begin + i), type);
  } else {
    for (std::int64_t i = 0; i < count; i += kQuantGroupInputs) {
      const QuantGroup decoded = decode_group(part.type, from, (begin + i) / kQuantGroupInputs);
      for (int j = 0; j < kQuantGroupInputs; ++j) out[i + j] = narrow(value_of(decoded, j), type);
    }
  }
}

void pack_wide_row(const WeightView& part, DType type, const std::byte* from, int row, std::byte* tiles) {
  for (std::int64_t k = 0; k < part.cols; k += kTileInputs, tiles += tile_code_bytes(16)) {
    std::uint16_t values[kTileInputs] = {};
    narrow_inputs(part, type, from, k, std::min<std::int64_t>(kTileInputs, part.cols - k), values);
    for (int run = 0; run < 8; ++run) put_codes16(tiles, row, run / 4, run % 4, values + 8 * run);
  }
}

// Row `from_row` of a part, as row `row` of the tiles.
void pack_row(const WeightView& part, TileFormat format, DType type, std::int64_t from_row, int row, std::byte* tiles) {
  const std::byte* from = part.data + static_cast<std::size_t>(from_row) * part.row_bytes();
  format.bits == 16 ? pack_wide_row(part, type, from, row, tiles) : pack_quantised_row(part, format, from, row, tiles);
}

// Clears each tile row of [begin, end) and calls fill(tile row, its bytes).
template <typename Fill>
void pack_tile_rows(std::int64_t cols, TileFormat format, std::int64_t begin, std::int64_t end, std::byte* out,
                    const Fill& fill) {
  const auto bytes = static_cast<std::size_t>(ceil_div(cols, kTileInputs) * tile_bytes(format));
  for (std::int64_t tile_row = begin; tile_row < end; ++tile_row, out += bytes) {
    std::memset(out, 0, bytes);
    fill(tile_row, out);
  }
}

}  // namespace

std::uint16_t narrow(float value, DType type) {
  if (type == DType::bf16) return float_to_bfloat16(value);
  const std::uint16_t half = float_to_half(value);
  return (half & 0x7fff) == 0x7c00 && std::isfinite(value) ? static_cast<std::uint16_t>(half - 1) : half;
}

void pack_tiles(const WeightView& part, TileFormat format, DType type, std::int64_t begin, std::int64_t end,
                std::byte* out) {
  pack_tile_rows(part.cols, format, begin, end, out, [&](std::int64_t tile_row, std::byte* tiles) {
    const std::int64_t first = tile_row * kTileRows, count = std::min<std::int64_t>(part.rows - first, kTileRows);
    for (int row = 0; row < count; ++row) pack_row(part, format, type, first + row, row, tiles);
  });
}

void pack_alternating_tiles(const WeightView& gate, const WeightView& up, TileFormat format, DType type, std::int64_t begin,
                            std::int64_t end, std::byte* out) {
  constexpr int kHalf = kTileRows / 2;
  pack_tile_rows(gate.cols, format, begin, end, out, [&](std::int64_t tile_row, std::byte* tiles) {
    for (int row = 0; row < kHalf; ++row) {
      pack_row(gate, format, type, tile_row * kHalf + row, row, tiles);
      pack_row(up, format, type, tile_row * kHalf + row, kHalf + row, tiles);
    }
  });
}

void pack_rows(const WeightView& part, DType type, std::int64_t begin, std::int64_t end, std::int64_t stride,
               std::uint16_t* out) {
  for (std::int64_t row = begin; row < end; ++row, out += stride) {
    narrow_inputs(part, type, part.data + static_cast<std::size_t>(row) * part.row_bytes(), 0, part.cols, out);
    std::fill(out + part.cols, out + stride, std::uint16_t{0});
  }
}

}  // namespace warploom::cuda
