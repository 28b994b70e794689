#include "cpu/pack.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

#include <fmt/format.h>

#include "core/half.h"
#include "warploom/error.h"

namespace warploom::cpu {

namespace {

using u8 = std::uint8_t;

PackedFormat format_of(WeightType type) {
  using enum CodeBits;
  using enum ScaleKind;
  const auto quantised = [](CodeBits bits, ScaleKind scales) { return PackedFormat{true, FloatKind::f32, bits, scales}; };
  switch (type) {
    case WeightType::f32: return {false, FloatKind::f32, four, affine};
    case WeightType::f16: return {false, FloatKind::f16, four, affine};
    case WeightType::bf16: return {false, FloatKind::bf16, four, affine};
    case WeightType::q4_0: return quantised(four, symmetric);
    case WeightType::q4_1: return quantised(four, affine);
    case WeightType::q5_0: return quantised(five, symmetric);
    case WeightType::q5_1: return quantised(five, affine);
    case WeightType::q8_0: return quantised(eight, symmetric);
    case WeightType::q4_k: return quantised(four, super_affine);
    case WeightType::q5_k: return quantised(five, super_affine);
    case WeightType::q6_k: return quantised(six, super_symmetric);
  }
  return {};
}

std::size_t float_bytes(FloatKind kind) { return kind == FloatKind::f32 ? 4 : 2; }

std::size_t panel_bytes(const PackedFormat& format, std::int64_t cols) {
  if (!format.quantised) return static_cast<std::size_t>(cols) * kPanelRows * float_bytes(format.float_kind);
  const auto records = static_cast<std::size_t>(cols / kRecordInputs);
  const auto supers = static_cast<std::size_t>(cols / kSuperInputs);
  return records * (record_scale_bytes(format.scales) + code_bytes(format.bits)) + supers * super_scale_bytes(format.scales);
}

std::uint16_t load_u16(const u8* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
std::uint32_t load_u32(const u8* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
// Entry `lane` of an array of 16-bit values.
void put_u16(u8* array, int lane, std::uint16_t value) { std::memcpy(array + 2 * lane, &value, sizeof value); }

// Codes of one lane into a record's nibble groups: byte j of `both` has input j in its low, input j + 16 in its high half.
void put_nibbles(u8* codes, int lane, const u8* both) {
  for (int g = 0; g < 4; ++g) std::memcpy(codes + 64 * g + 4 * lane, both + 4 * g, 4);
}
// Bit i of `high` belongs to input i.
void put_plane(u8* plane, int lane, std::uint32_t high) {
  for (int q = 0; q < 8; ++q) {
    const std::uint32_t four = (high >> (4 * q)) & 15u;
    plane[8 * q + lane / 2] = static_cast<u8>(plane[8 * q + lane / 2] | (four << (4 * (lane % 2))));
  }
}
void put_codes(u8* codes, int lane, const u8 (&code)[32], CodeBits bits) {
  u8 both[16];
  for (int j = 0; j < 16; ++j) both[j] = static_cast<u8>((code[j] & 15) | ((code[j + 16] & 15) << 4));
  put_nibbles(codes, lane, both);
  std::uint32_t plane16 = 0, plane32 = 0;
  for (int i = 0; i < 32; ++i) {
    plane16 |= static_cast<std::uint32_t>((code[i] >> 4) & 1) << i;
    plane32 |= static_cast<std::uint32_t>((code[i] >> 5) & 1) << i;
  }
  if (bits != CodeBits::four) put_plane(codes + 256, lane, plane16);
  if (bits == CodeBits::six) put_plane(codes + 320, lane, plane32);
}

// The 6-bit scale and minimum of 32-input group j in a Q4_K or Q5_K block's 12 bytes.
void k_scale(const u8* packed, int j, u8* scale, u8* minimum) {
  if (j < 4) {
    *scale = packed[j] & 63;
    *minimum = packed[j + 4] & 63;
  } else {
    *scale = static_cast<u8>((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4));
    *minimum = static_cast<u8>((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4));
  }
}

// One row into its lane of a panel.
void pack_simple(WeightType type, const u8* row, std::int64_t records, int lane, u8* panel) {
  const std::size_t block_bytes = traits(type).block_bytes;
  const PackedFormat format = format_of(type);
  const std::size_t scale_bytes = record_scale_bytes(format.scales);
  const std::size_t record_bytes = scale_bytes + code_bytes(format.bits);
  for (std::int64_t r = 0; r < records; ++r, row += block_bytes, panel += record_bytes) {
    u8* codes = panel + scale_bytes;
    const u8* from = row;
    put_u16(panel, lane, load_u16(from));
    from += 2;
    if (format.scales == ScaleKind::affine) {
      put_u16(panel + 32, lane, load_u16(from));
      from += 2;
    }
    if (format.bits == CodeBits::eight) {
      for (int q = 0; q < 8; ++q) {
        const std::uint32_t four = load_u32(from + 4 * q) ^ 0x80808080u;
        std::memcpy(codes + 64 * q + 4 * lane, &four, 4);
      }
      continue;
    }
    if (format.bits == CodeBits::five) {
      put_plane(codes + 256, lane, load_u32(from));
      from += 4;
    }
    put_nibbles(codes, lane, from);  // the file's blocks pair inputs j and j + 16 in a byte, just as a record does
  }
}

void pack_k(WeightType type, const u8* row, std::int64_t records, int lane, u8* panel) {
  const PackedFormat format = format_of(type);
  constexpr int kRecords = kSuperInputs / kRecordInputs;
  for (std::int64_t super = 0; super < records / kRecords; ++super, row += traits(type).block_bytes) {
    u8 code[32];
    if (type == WeightType::q6_k) {
      put_u16(panel, lane, load_u16(row + 208));
      panel += super_scale_bytes(format.scales);
      for (int r = 0; r < kRecords; ++r) {
        panel[lane] = row[192 + 2 * r];
        panel[16 + lane] = row[192 + 2 * r + 1];
        // 128 inputs at a time: low nibbles of 32 bytes, of the next 32, then the high nibbles; two high bits a byte of qh.
        const u8* low = row + 64 * (r / 4) + 32 * (r % 2);
        const u8* high = row + 128 + 32 * (r / 4);
        for (int i = 0; i < 32; ++i) {
          const int nibble = r % 4 < 2 ? low[i] & 15 : low[i] >> 4;
          code[i] = static_cast<u8>(nibble | (((high[i] >> (2 * (r % 4))) & 3) << 4));
        }
        put_codes(panel + record_scale_bytes(format.scales), lane, code, format.bits);
        panel += record_scale_bytes(format.scales) + code_bytes(format.bits);
      }
      continue;
    }
    put_u16(panel, lane, load_u16(row));
    put_u16(panel + 32, lane, load_u16(row + 2));
    panel += super_scale_bytes(format.scales);
    const u8* high = row + 16;
    const u8* low = type == WeightType::q5_k ? row + 48 : row + 16;
    for (int r = 0; r < kRecords; ++r) {
      k_scale(row + 4, r, panel + lane, panel + 16 + lane);
      for (int i = 0; i < 32; ++i) {
        const u8 byte = low[32 * (r / 2) + i];
        code[i] = r % 2 ? byte >> 4 : byte & 15;
        if (type == WeightType::q5_k) code[i] = static_cast<u8>(code[i] | (((high[i] >> r) & 1) << 4));
      }
      put_codes(panel + record_scale_bytes(format.scales), lane, code, format.bits);
      panel += record_scale_bytes(format.scales) + code_bytes(format.bits);
    }
  }
}

void pack_floats(std::size_t element, const u8* row, std::int64_t cols, int lane, u8* panel) {
  for (std::int64_t k = 0; k < cols; ++k)
    std::memcpy(panel + (static_cast<std::size_t>(k) * kPanelRows + static_cast<std::size_t>(lane)) * element,
                row + static_cast<std::size_t>(k) * element, element);
}

void pack_panel(const WeightView& view, const PackedSegment& segment, std::int64_t panel) {
  auto* out = reinterpret_cast<u8*>(segment.panels.get()) + static_cast<std::size_t>(panel) * segment.panel_bytes;
  const std::int64_t first = panel * kPanelRows;
  const int lanes = static_cast<int>(std::min<std::int64_t>(kPanelRows, view.rows - first));
  for (int lane = 0; lane < lanes; ++lane) {
    const auto* row = reinterpret_cast<const u8*>(view.data) + static_cast<std::size_t>(first + lane) * view.row_bytes();
    if (!segment.format.quantised) {
      pack_floats(float_bytes(segment.format.float_kind), row, view.cols, lane, out);
    } else if (super_scale_bytes(segment.format.scales) != 0) {
      pack_k(view.type, row, view.cols / kRecordInputs, lane, out);
    } else {
      pack_simple(view.type, row, view.cols / kRecordInputs, lane, out);
    }
  }
}

int code_at(const u8* codes, CodeBits bits, int lane, int input) {
  const int q = input / 4, byte = 4 * lane + input % 4;
  if (bits == CodeBits::eight) return codes[64 * q + byte];
  int code = q < 4 ? codes[64 * q + byte] & 15 : codes[64 * (q - 4) + byte] >> 4;
  const auto bit = [&](int plane) { return (codes[plane + 8 * q + byte / 8] >> (byte % 8)) & 1; };
  if (bits != CodeBits::four) code += bit(256) * 16;
  if (bits == CodeBits::six) code += bit(320) * 32;
  return code;
}

void unpack_quantised(const PackedFormat& format, const u8* panel, std::int64_t cols, int lane, float* out) {
  const auto half = [lane](const u8* array) { return half_to_float(load_u16(array + 2 * lane)); };
  const int offset = 1 << (static_cast<int>(format.bits) - 1);
  float super_d = 0, super_min = 0;
  for (std::int64_t r = 0; r < cols / kRecordInputs; ++r, out += kRecordInputs) {
    if (super_scale_bytes(format.scales) != 0 && r % (kSuperInputs / kRecordInputs) == 0) {
      super_d = half(panel);
      if (format.scales == ScaleKind::super_affine) super_min = half(panel + 32);
      panel += super_scale_bytes(format.scales);
    }
    const u8* codes = panel + record_scale_bytes(format.scales);
    for (int i = 0; i < kRecordInputs; ++i) {
      const int code = code_at(codes, format.bits, lane, i);
      switch (format.scales) {
        case ScaleKind::symmetric: out[i] = half(panel) * static_cast<float>(code - offset); break;
        case ScaleKind::affine: out[i] = half(panel) * static_cast<float>(code) + half(panel + 32); break;
        case ScaleKind::super_affine:
          out[i] = super_d * static_cast<float>(panel[lane]) * static_cast<float>(code) -
                   super_min * static_cast<float>(panel[16 + lane]);
          break;
        case ScaleKind::super_symmetric:
          out[i] = super_d * static_cast<float>(static_cast<std::int8_t>(panel[16 * (i / 16) + lane])) *
                   static_cast<float>(code - offset);
          break;
      }
    }
    panel = codes + code_bytes(format.bits);
  }
}

void unpack_floats(const PackedFormat& format, const u8* panel, std::int64_t cols, int lane, float* out) {
  for (std::int64_t k = 0; k < cols; ++k) {
    const u8* at =
        panel + (static_cast<std::size_t>(k) * kPanelRows + static_cast<std::size_t>(lane)) * float_bytes(format.float_kind);
    switch (format.float_kind) {
      case FloatKind::f32: std::memcpy(out + k, at, 4); break;
      case FloatKind::f16: out[k] = half_to_float(load_u16(at)); break;
      case FloatKind::bf16: out[k] = bfloat16_to_float(load_u16(at)); break;
    }
  }
}

}  // namespace

void FreeBytes::operator()(std::byte* p) const { mapped ? static_cast<void>(munmap(p, mapped)) : std::free(p); }

AlignedBytes allocate_bytes(std::size_t bytes, const char* what) {
  constexpr std::size_t kLarge = std::size_t{1} << 20, kHugePage = std::size_t{2} << 20;
  const auto fail = [&] { throw OutOfMemory(fmt::format("{}: cannot allocate {} bytes of memory", what, bytes)); };
  if (bytes < kLarge) {
    const std::size_t size = (std::max<std::size_t>(bytes, 1) + 63) / 64 * 64;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, size));
    if (!memory) fail();
    std::memset(memory, 0, size);
    return AlignedBytes(memory);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail();
  if (bytes >= 4 * kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // only advice: fewer TLB misses where it is taken
  return AlignedBytes(static_cast<std::byte*>(memory), FreeBytes{bytes});
}

std::uint64_t PackedWeight::bytes() const {
  std::uint64_t sum = 0;
  for (const PackedSegment& segment : segments_) sum += segment.bytes();
  return sum;
}
bool PackedWeight::quantised() const {
  return std::any_of(segments_.begin(), segments_.end(), [](const PackedSegment& s) { return s.format.quantised; });
}
bool PackedWeight::has_floats() const {
  return std::any_of(segments_.begin(), segments_.end(), [](const PackedSegment& s) { return !s.format.quantised; });
}

std::unique_ptr<PackedWeight> pack(std::span<const WeightView> parts, ThreadPool& pool) {
  if (parts.empty()) throw InvalidArgument("prepare: no weights given");
  auto weight = std::make_unique<PackedWeight>();
  weight->cols_ = parts.front().cols;
  for (const WeightView& part : parts) {
    if (part.cols != weight->cols_ || part.rows < 1 || part.cols < 1 || part.cols % traits(part.type).block != 0)
      throw InvalidArgument(fmt::format("prepare: {} is [{}, {}] of {}; expected {} columns in whole blocks of {}",
                                        part.name, part.rows, part.cols, traits(part.type).name, weight->cols_,
                                        traits(part.type).block));
    PackedSegment segment;
    segment.format = format_of(part.type);
    segment.first_row = weight->rows_;
    segment.rows = part.rows;
    segment.cols = part.cols;
    segment.panel_bytes = panel_bytes(segment.format, part.cols);
    segment.panels = allocate_bytes(segment.bytes(), "weights");
    pool.parallel_for(segment.panel_count(), 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t panel = begin; panel < end; ++panel) pack_panel(part, segment, panel);
    });
    weight->rows_ += part.rows;
    weight->segments_.push_back(std::move(segment));
  }
  return weight;
}

void unpack_row(const PackedWeight& weight, std::int64_t row, float* out) {
  for (const PackedSegment& segment : weight.segments()) {
    const std::int64_t local = row - segment.first_row;
    if (local < 0 || local >= segment.rows) continue;
    const auto* panel = reinterpret_cast<const u8*>(segment.panels.get()) +
                        static_cast<std::size_t>(local / kPanelRows) * segment.panel_bytes;
    const int lane = static_cast<int>(local % kPanelRows);
    segment.format.quantised ? unpack_quantised(segment.format, panel, segment.cols, lane, out)
                             : unpack_floats(segment.format, panel, segment.cols, lane, out);
    return;
  }
}

}  // namespace warploom::cpu
