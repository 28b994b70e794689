// The layout in which the CPU kernels read weights. Sixteen output rows form a panel and each vector lane holds one of them,
// so every sum runs along the inputs in one fixed order and no kernel adds across lanes. Results therefore do not depend on
// the batch, the threads or the instruction set.
//
// A panel of a quantised matrix is a sequence of quant blocks, one per 32 inputs, which a product reads once from front to
// back. A block holds its scales (see ScaleKind), then 256 bytes of nibbles or 512 bytes of whole codes, then the high bits.
// Codes are unsigned. In a group of 64 bytes, byte 4 l + j belongs to lane l and input 4 q + j. Nibble group g (0..3) holds
// q = g in its low and q = g + 4 in its high halves; byte group q (0..7) holds q. The high bits of 5-bit codes are 64-bit masks,
// one for each q; bit i adds 16 to byte i of group q. Those of 6-bit codes are two groups of 64 bytes: bits 2 k and 2 k + 1 of byte
// i of group h add 16 and 32 to byte i of group q = 4 h + k. A panel of a float matrix holds 16 elements of the stored type for
// each input.
#pragma once

#include <cstddef>
#include <cstdint>

#include "warploom/types.h"

namespace warploom::cpu {

inline constexpr int kPanelRows = 16;
inline constexpr int kQuantBlockInputs = 32;
inline constexpr int kSuperBlockInputs = 256;

enum class CodeBits : std::uint8_t { four = 4, five = 5, six = 6, eight = 8 };

// How codes become weights. Every entry is an array over the 16 lanes.
enum class ScaleKind : std::uint8_t {
  symmetric,              // per block: f16 d.         w = d (code - 2^(bits - 1))
  affine,                 // per block: f16 d, f16 m.  w = d code + m
  super_block_affine,     // per 8 blocks: f16 d, f16 dmin; per block: u8 s, u8 m.  w = (d s) code - (dmin m)
  super_block_symmetric,  // per 8 blocks: f16 d; per block: s8 s for each 16 inputs.  w = (d s) (code - 2^(bits - 1))
};

struct PackedFormat {
  bool quantised = false;
  DType dtype = DType::f32;  // of the weights if not quantised
  CodeBits bits = CodeBits::four;
  ScaleKind scales = ScaleKind::affine;
};

constexpr std::size_t block_code_bytes(CodeBits bits) {
  switch (bits) {
    case CodeBits::four: return 256;
    case CodeBits::five: return 256 + 64;
    case CodeBits::six: return 256 + 128;
    case CodeBits::eight: return 512;
  }
  return 0;
}
constexpr std::size_t block_scale_bytes(ScaleKind kind) { return kind == ScaleKind::affine ? 64 : 32; }
// Bytes of a super-block's own scales, which precede every eighth block.
constexpr std::size_t super_block_scale_bytes(ScaleKind kind) {
  return kind == ScaleKind::super_block_affine ? 64 : kind == ScaleKind::super_block_symmetric ? 32 : 0;
}

// Activations quantised in groups of 32: x is about d q, with q in [-127, 127]. If a group holds a NaN or an infinity, d and
// ds are NaN. Sixteen tokens share each block and the blocks follow one another like the weights' blocks, so that a product
// reads both from front to back. Each member is an array over the 16 tokens.
inline constexpr int kTokenGroup = 16;
struct ActivationBlock {
  std::int8_t q[kTokenGroup][kQuantBlockInputs];
  float d[kTokenGroup];
  float ds[kTokenGroup];                 // d times the sum of q
  std::int32_t first_sum[kTokenGroup];   // of the first 16 q
  std::int32_t second_sum[kTokenGroup];  // of the last 16 q
  // What sums of products of 6-bit codes less 32 begin with: -32 times these sums, the first one + kDotBias (cpu/simd/dot.h); or, if
  // products add up in 16 bits, 32 times the sums of the even pairs of q and of the odd ones, 16 bits each.
  std::int32_t first_start[kTokenGroup], second_start[kTokenGroup];
};
static_assert(sizeof(ActivationBlock) == 896);

}  // namespace warploom::cpu
