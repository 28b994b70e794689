// The layout in which the CPU kernels read weights. Sixteen output rows stand side by side (a panel), so that a vector lane
// is an output row: every sum runs along the inputs in one fixed order, and no kernel ever adds across lanes. That is what
// makes results independent of batch, threads and instruction set.
//
// A panel of a quantised matrix is a sequence of records, one per 32 inputs, read once from front to back:
//   scales of the record (by ScaleKind, below), then 256 bytes of nibbles or 512 bytes of bytes, then high bits.
// Codes are unsigned. In a group of 64 bytes, byte 4 l + j belongs to lane l and input 4 q + j. Nibble group g (0..3) holds
// q = g in its low and q = g + 4 in its high halves; byte group q (0..7) holds q. High bits follow as 64-bit masks, one a q
// and plane, bit i for byte i of group q: plane 0 is worth 16, plane 1 is worth 32.
// A panel of a float matrix is, per input, 16 elements of the stored type.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warploom::cpu {

inline constexpr int kPanelRows = 16;
inline constexpr int kRecordInputs = 32;
inline constexpr int kSuperInputs = 256;

enum class CodeBits : std::uint8_t { four = 4, five = 5, six = 6, eight = 8 };

// What turns codes into weights; every entry is an array over the 16 lanes.
enum class ScaleKind : std::uint8_t {
  symmetric,        // per record: f16 d.                                 w = d (code - 2^(bits - 1))
  affine,           // per record: f16 d, f16 m.                          w = d code + m
  super_affine,     // per 8 records: f16 d, f16 dmin; per record: u8 s, u8 m.   w = (d s) code - (dmin m)
  super_symmetric,  // per 8 records: f16 d; per record: s8 s0, s8 s1 (16 inputs each).  w = (d s) (code - 2^(bits - 1))
};

enum class FloatKind : std::uint8_t { f32, f16, bf16 };

struct PackedFormat {
  bool quantised = false;
  FloatKind float_kind = FloatKind::f32;
  CodeBits bits = CodeBits::four;
  ScaleKind scales = ScaleKind::affine;
};

constexpr std::size_t code_bytes(CodeBits bits) {
  switch (bits) {
    case CodeBits::four: return 256;
    case CodeBits::five: return 256 + 64;
    case CodeBits::six: return 256 + 128;
    case CodeBits::eight: return 512;
  }
  return 0;
}
constexpr std::size_t record_scale_bytes(ScaleKind kind) { return kind == ScaleKind::affine ? 64 : 32; }
// Bytes that stand before every eighth record.
constexpr std::size_t super_scale_bytes(ScaleKind kind) {
  return kind == ScaleKind::super_affine ? 64 : kind == ScaleKind::super_symmetric ? 32 : 0;
}

// Inputs, quantised in groups of 32: x is about d q, q in [-127, 127]. A group with a NaN or an infinity has d and ds NaN.
// Eight tokens stand together and their records follow one another as the weights' do, so that a product reads both front to
// back. A record of inputs, each entry an array over the 8 tokens: 32 q; d; ds, which is d times the sum of q; the sums of
// the first and of the last 16 q.
inline constexpr int kTokenGroup = 8;
struct InputRecord {
  std::int8_t q[kTokenGroup][kRecordInputs];
  float d[kTokenGroup];
  float ds[kTokenGroup];
  std::int32_t first_sum[kTokenGroup];
  std::int32_t second_sum[kTokenGroup];
};
static_assert(sizeof(InputRecord) == 384);

}  // namespace warploom::cpu
