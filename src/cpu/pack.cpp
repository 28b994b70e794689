#include "cpu/pack.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/check.h"
#include "core/float_element.h"
#include "core/half.h"
#include "core/quant_block.h"
#include "warploom/error.h"

namespace warploom::cpu {

namespace {

using u8 = std::uint8_t;

constexpr PackedFormat format_of(WeightType type) {
  using enum CodeBits;
  using enum ScaleKind;
  const auto quantised = [](CodeBits bits, ScaleKind scales) { return PackedFormat{true, DType::f32, bits, scales}; };
  switch (type) {
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16: return {false, float_type(type), four, affine};
    case WeightType::q4_0: return quantised(four, symmetric);
    case WeightType::q4_1: return quantised(four, affine);
    case WeightType::q5_0: return quantised(five, symmetric);
    case WeightType::q5_1: return quantised(five, affine);
    case WeightType::q8_0: return quantised(eight, symmetric);
    case WeightType::q4_k: return quantised(four, super_block_affine);
    case WeightType::q5_k: return quantised(five, super_block_affine);
    case WeightType::q6_k: return quantised(six, super_block_symmetric);
  }
  return {};
}

std::size_t element_bytes(const PackedFormat& format) { return static_cast<std::size_t>(bytes_of(format.dtype)); }

std::size_t panel_bytes(const PackedFormat& format, std::int64_t cols) {
  if (!format.quantised) return static_cast<std::size_t>(cols) * kPanelRows * element_bytes(format);
  const auto blocks = static_cast<std::size_t>(cols / kQuantBlockInputs);
  const auto super_blocks = static_cast<std::size_t>(cols / kSuperBlockInputs);
  return blocks * (block_scale_bytes(format.scales) + block_code_bytes(format.bits)) +
         super_blocks * super_block_scale_bytes(format.scales);
}

std::uint16_t load_u16(const u8* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
// Entry `lane` of an array of 16-bit values.
void put_u16(u8* array, int lane, std::uint16_t value) { std::memcpy(array + 2 * lane, &value, sizeof value); }

// Bit i of `high` belongs to input i.
void put_high_bits(u8* masks, int lane, std::uint32_t high) {
  for (int q = 0; q < 8; ++q) {
    const std::uint32_t four = (high >> (4 * q)) & 15u;
    masks[8 * q + lane / 2] = static_cast<u8>(masks[8 * q + lane / 2] | (four << (4 * (lane % 2))));
  }
}
// Codes 4 i to 4 i + 3.
std::uint32_t four_codes(const u8 (&q)[kQuantBlockInputs], int i) {
  std::uint32_t codes;
  std::memcpy(&codes, q + 4 * i, sizeof codes);
  return codes;
}
// Stores the codes of one lane into its block.
template <CodeBits bits>
void put_codes(u8* codes, int lane, const u8 (&q)[kQuantBlockInputs]) {
  const auto put = [lane](u8* group, std::uint32_t bytes) { std::memcpy(group + 4 * lane, &bytes, sizeof bytes); };
  if constexpr (bits == CodeBits::eight) {
    for (int i = 0; i < 8; ++i) put(codes + 64 * i, four_codes(q, i));
    return;
  }
  constexpr std::uint32_t kLow = 0x0f0f0f0f, kPair = 0x03030303;
  for (int i = 0; i < 4; ++i) put(codes + 64 * i, (four_codes(q, i) & kLow) | (four_codes(q, i + 4) & kLow) << 4);
  if constexpr (bits == CodeBits::five) {
    std::uint32_t high = 0;
    for (int i = 0; i < kQuantBlockInputs; ++i) high |= static_cast<std::uint32_t>(q[i] >> 4) << i;
    put_high_bits(codes + 256, lane, high);
  }
  if constexpr (bits == CodeBits::six) {
    for (int half = 0; half < 2; ++half) {
      std::uint32_t pairs = 0;
      for (int k = 0; k < 4; ++k) pairs |= ((four_codes(q, 4 * half + k) >> 4) & kPair) << (2 * k);
      put(codes + 256 + 64 * half, pairs);
    }
  }
}

// Stores the scales of one lane into its block.
template <ScaleKind scales>
void put_scales(u8* block, int lane, const StoredQuantGroup& group) {
  switch (scales) {
    case ScaleKind::symmetric: put_u16(block, lane, group.d); break;
    case ScaleKind::affine:
      put_u16(block, lane, group.d);
      put_u16(block + 32, lane, group.m);
      break;
    case ScaleKind::super_block_affine:
      block[lane] = static_cast<u8>(group.scale[0]);
      block[16 + lane] = static_cast<u8>(group.min);
      break;
    case ScaleKind::super_block_symmetric:
      block[lane] = static_cast<u8>(group.scale[0]);
      block[16 + lane] = static_cast<u8>(group.scale[1]);
      break;
  }
}

template <WeightType type>
constexpr PackedFormat kFormatOf = format_of(type);

// Block by block, so that each line of the panel is written in one go.
template <WeightType type>
void pack_quantised(const WeightView& rows, u8* panel) {
  static_assert(kQuantBlockInputs == kQuantGroupInputs);
  constexpr WeightTypeTraits kTraits = traits(type);
  constexpr int kGroups = static_cast<int>(kTraits.block / kQuantBlockInputs);
  const std::size_t row_bytes = rows.row_bytes();
  const auto for_lanes = [&](const std::byte* first, int group, const auto& put) {
    for (int lane = 0; lane < static_cast<int>(rows.rows); ++lane, first += row_bytes)
      put(lane, load_group<type>(first, group));
  };
  for (std::int64_t b = 0; b < rows.cols / kTraits.block; ++b) {
    const std::byte* first = rows.data + static_cast<std::size_t>(b) * kTraits.block_bytes;
    if constexpr (super_block_scale_bytes(kFormatOf<type>.scales) != 0) {
      for_lanes(first, 0, [panel](int lane, const StoredQuantGroup& group) {
        put_u16(panel, lane, group.d);
        if (kFormatOf<type>.scales == ScaleKind::super_block_affine) put_u16(panel + 32, lane, group.m);
      });
      panel += super_block_scale_bytes(kFormatOf<type>.scales);
    }
    for (int g = 0; g < kGroups; ++g) {
      u8* codes = panel + block_scale_bytes(kFormatOf<type>.scales);
      for_lanes(first, g, [panel, codes](int lane, const StoredQuantGroup& group) {
        put_scales<kFormatOf<type>.scales>(panel, lane, group);
        put_codes<kFormatOf<type>.bits>(codes, lane, group.q);
      });
      panel = codes + block_code_bytes(kFormatOf<type>.bits);
    }
  }
}

void pack_floats(std::size_t element, const std::byte* row, std::int64_t cols, int lane, u8* panel) {
  for (std::int64_t k = 0; k < cols; ++k)
    std::memcpy(panel + (static_cast<std::size_t>(k) * kPanelRows + static_cast<std::size_t>(lane)) * element,
                row + static_cast<std::size_t>(k) * element, element);
}

// rows: of one panel.
void pack_panel(const WeightView& rows, const PanelSegment& segment, u8* out) {
  if (segment.format.quantised)
    return with_quantised(rows.type, [&]<WeightType kType>() { pack_quantised<kType>(rows, out); });
  for (int lane = 0; lane < static_cast<int>(rows.rows); ++lane)
    pack_floats(element_bytes(segment.format), rows.data + static_cast<std::size_t>(lane) * rows.row_bytes(), rows.cols,
                lane, out);
}

// A core's cache holds a piece that is read and packed at a time.
constexpr std::size_t kPieceBytes = std::size_t{128} << 10;

// The panels [begin, end) of a segment.
void pack_panels(const WeightView& part, const PanelSegment& segment, std::int64_t begin, std::int64_t end) {
  const std::int64_t first = begin * kPanelRows, count = std::min(part.rows, end * kPanelRows) - first;
  WeightView rows = part;
  std::unique_ptr<std::byte[]> piece;
  if (part.data) {
    rows.data = part.data + static_cast<std::size_t>(first) * part.row_bytes();
  } else {
    piece = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(count) * part.row_bytes());
    part.source->read(part, first, count, piece.get());
    rows.data = piece.get();
  }
  auto* out = reinterpret_cast<u8*>(segment.panels.get()) + static_cast<std::size_t>(begin) * segment.panel_bytes;
  for (std::int64_t row = 0; row < count; row += kPanelRows, out += segment.panel_bytes) {
    rows.rows = std::min<std::int64_t>(kPanelRows, count - row);
    pack_panel(rows, segment, out);
    rows.data += static_cast<std::size_t>(kPanelRows) * part.row_bytes();
  }
}

int code_at(const u8* codes, CodeBits bits, int lane, int input) {
  const int q = input / 4, byte = 4 * lane + input % 4;
  if (bits == CodeBits::eight) return codes[64 * q + byte];
  const int code = q < 4 ? codes[64 * q + byte] & 15 : codes[64 * (q - 4) + byte] >> 4;
  const u8* high = codes + 256;
  if (bits == CodeBits::five) return code + ((high[8 * q + byte / 8] >> (byte % 8)) & 1) * 16;
  if (bits == CodeBits::six) return code + ((high[64 * (q / 4) + byte] >> (2 * (q % 4))) & 3) * 16;
  return code;
}

void unpack_quantised(const PackedFormat& format, const u8* panel, std::int64_t cols, int lane, float* out) {
  const auto half = [lane](const u8* array) { return half_to_float(load_u16(array + 2 * lane)); };
  const int offset = 1 << (static_cast<int>(format.bits) - 1);
  float super_block_d = 0, super_block_min = 0;
  for (std::int64_t b = 0; b < cols / kQuantBlockInputs; ++b, out += kQuantBlockInputs) {
    if (super_block_scale_bytes(format.scales) != 0 && b % (kSuperBlockInputs / kQuantBlockInputs) == 0) {
      super_block_d = half(panel);
      if (format.scales == ScaleKind::super_block_affine) super_block_min = half(panel + 32);
      panel += super_block_scale_bytes(format.scales);
    }
    const u8* codes = panel + block_scale_bytes(format.scales);
    for (int i = 0; i < kQuantBlockInputs; ++i) {
      const int code = code_at(codes, format.bits, lane, i);
      switch (format.scales) {
        case ScaleKind::symmetric: out[i] = half(panel) * static_cast<float>(code - offset); break;
        case ScaleKind::affine: out[i] = half(panel) * static_cast<float>(code) + half(panel + 32); break;
        case ScaleKind::super_block_affine:
          out[i] = super_block_d * static_cast<float>(panel[lane]) * static_cast<float>(code) -
                   super_block_min * static_cast<float>(panel[16 + lane]);
          break;
        case ScaleKind::super_block_symmetric:
          out[i] = super_block_d * static_cast<float>(static_cast<std::int8_t>(panel[16 * (i / 16) + lane])) *
                   static_cast<float>(code - offset);
          break;
      }
    }
    panel = codes + block_code_bytes(format.bits);
  }
}

void unpack_floats(const PackedFormat& format, const std::byte* panel, std::int64_t cols, int lane, float* out) {
  for (std::int64_t k = 0; k < cols; ++k) out[k] = float_at(format.dtype, panel, k * kPanelRows + lane);
}

}  // namespace

std::uint64_t PackedWeight::bytes() const {
  std::uint64_t sum = 0;
  for (const PanelSegment& segment : segments_) sum += segment.bytes();
  return sum;
}
bool PackedWeight::quantised() const {
  return std::any_of(segments_.begin(), segments_.end(), [](const PanelSegment& s) { return s.format.quantised; });
}

std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, WeightMemory& memory, ThreadPool& pool) {
  require_that(!parts.empty(), "prepare: no weights given");
  auto weight = std::make_unique<PackedWeight>();
  weight->cols_ = parts.front().cols;
  for (const WeightView& part : parts) {
    const WeightTypeTraits type = traits(part.type);
    require_that(part.cols == weight->cols_ && part.rows >= 1 && part.cols >= 1 && part.cols % type.block == 0,
                 "prepare: {} is [{}, {}] of {}; expected {} columns in whole blocks of {}", part.name, part.rows, part.cols,
                 type.name, weight->cols_, type.block);
    PanelSegment segment;
    segment.format = format_of(part.type);
    segment.first_row = weight->rows_;
    segment.rows = part.rows;
    segment.cols = part.cols;
    segment.panel_bytes = panel_bytes(segment.format, part.cols);
    segment.panels = memory.allocate(segment.bytes());
    const auto piece = static_cast<std::int64_t>(kPieceBytes / (static_cast<std::size_t>(kPanelRows) * part.row_bytes()));
    const std::int64_t grain = std::clamp<std::int64_t>(piece, 1, ceil_div(segment.panel_count(), pool.threads()));
    pool.parallel_for(segment.panel_count(), grain,
                      [&](std::int64_t begin, std::int64_t end, int) { pack_panels(part, segment, begin, end); });
    weight->rows_ += part.rows;
    weight->segments_.push_back(std::move(segment));
  }
  return weight;
}

void unpack_row(const PackedWeight& weight, std::int64_t row, float* out) {
  for (const PanelSegment& segment : weight.segments()) {
    const std::int64_t local = row - segment.first_row;
    if (local < 0 || local >= segment.rows) continue;
    const std::byte* panel = segment.panels.get() + static_cast<std::size_t>(local / kPanelRows) * segment.panel_bytes;
    const int lane = static_cast<int>(local % kPanelRows);
    segment.format.quantised ? unpack_quantised(segment.format, reinterpret_cast<const u8*>(panel), segment.cols, lane, out)
                             : unpack_floats(segment.format, panel, segment.cols, lane, out);
    return;
  }
}

}  // namespace warploom::cpu
