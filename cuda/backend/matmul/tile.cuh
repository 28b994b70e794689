// Reads tiles of packed weights (packed.h) into the A fragments of tensor core products.
#pragma once

#include <type_traits>

#include "cuda/backend/matmul/packed.h"
#include "cuda/device/mma.cuh"

namespace warploom::cuda::device {

/// A lane's part of a tile, undecoded.
template <int kBits, bool kPairs>
struct RawTile {
  uint4 codes[kBits / 4];
  std::conditional_t<kPairs, uint4, uint2>
      scales;  // of rows g and g + 8; pairs: of each half of the inputs; unused if 16 bits
};

// Loads v from at + kOffset if count > kIndex or kIndex is 0. Weights are read once, so they bypass L1, which keeps the
// inputs. The load is predicated: with a branch, the compiler would copy all loaded registers.
template <int kIndex, int kOffset>
__device__ inline void load_if(int count, const std::byte* at, uint4& v) {
  if constexpr (kIndex == 0)
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4+%5];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at), "n"(kOffset));
  else
    asm volatile("{.reg .pred p; setp.gt.s32 p, %5, %6; @p ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4+%7];}"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(at), "r"(count), "n"(kIndex), "n"(kOffset));
}
template <int kIndex, int kOffset>
__device__ inline void load_if(int count, const std::byte* at, uint2& v) {
  if constexpr (kIndex == 0)
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2+%3];" : "=r"(v.x), "=r"(v.y) : "l"(at), "n"(kOffset));
  else
    asm volatile("{.reg .pred p; setp.gt.s32 p, %3, %4; @p ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2+%5];}"
                 : "=r"(v.x), "=r"(v.y)
                 : "l"(at), "r"(count), "n"(kIndex), "n"(kOffset));
}

/// Decodes tiles of one code width to weights of type T, f16 or bf16. kPairs: affine or halves, which have the same layout.
template <typename T, int kBits, bool kPairs>
class TileReader {
 public:
  using Raw = RawTile<kBits, kPairs>;
  static constexpr int kTileBits = kBits;
  static constexpr int kTileBytes = tile_bytes({kBits, kBits == 16 ? ScaleLayout::none
                                                       : kPairs    ? ScaleLayout::affine
                                                                   : ScaleLayout::plain});

  __device__ explicit TileReader(ScaleLayout layout) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    codes_at_ = 16 * lane;
    scales_at_ = tile_code_bytes(kBits) + (kPairs ? 16 : 8) * g;
    if constexpr (kBits == 16) return;
    const bool affine = layout == ScaleLayout::affine;
    const std::uint32_t zero_point = kBits == 4 ? (kPairs ? 0 : 8) : affine ? 0 : 128;
    if constexpr (kBits == 8 && kPairs) {
      scale_half_ = kept(affine || t < 2 ? 0x1010 : 0x3232);
      min_half_ = kept(affine ? 0x3232 : 0x4444);  // selector 4 gives 0
    }
    // 0x6400 is 1024 in f16, 0x4b000000 is 2^23 in f32; see decode_half() and decode_wide().
    if constexpr (kHalf) offset_ = kept(0x64006400u + 0x10001u * zero_point);
    if constexpr (!kHalf) wide_offset_ = __uint_as_float(kept(0x4b000000u + zero_point));
    if constexpr (kHalf && kBits == 4)
      sixteenth_ = kept(0x2c002c00u), high_offset_ = kept(kPairs ? 0xd400d400u : 0xd480d480u);
  }

  /// This lane's codes and scales in the tile that begins at `tile`.
  __device__ const std::byte* codes(const std::byte* tile) const { return tile + codes_at_; }
  __device__ const std::byte* scales(const std::byte* tile) const { return tile + scales_at_; }

  /// Loads tile kIndex after those addresses if count > kIndex.
  template <int kIndex>
  __device__ static Raw load_if(int count, const std::byte* codes, const std::byte* scales) {
    Raw raw;
    constexpr int kAt = kIndex * kTileBytes;
    device::load_if<kIndex, kAt>(count, codes, raw.codes[0]);
    if constexpr (kBits >= 8) device::load_if<kIndex, kAt + 512>(count, codes, raw.codes[1]);
    if constexpr (kBits == 16) device::load_if<kIndex, kAt + 1024>(count, codes, raw.codes[2]);
    if constexpr (kBits == 16) device::load_if<kIndex, kAt + 1536>(count, codes, raw.codes[3]);
    if constexpr (kBits < 16) device::load_if<kIndex, kAt>(count, scales, raw.scales);
    return raw;
  }

  /// Loads the tile at those addresses, in shared memory.
  __device__ static Raw load_shared(const std::byte* codes, const std::byte* scales) {
    Raw raw;
#pragma unroll
    for (int i = 0; i < kBits / 4; ++i) raw.codes[i] = *reinterpret_cast<const uint4*>(codes + 512 * i);
    if constexpr (kBits < 16) raw.scales = *reinterpret_cast<const decltype(raw.scales)*>(scales);
    return raw;
  }

  /// The A fragments of the four products. Each weight is rounded once, to T.
  __device__ void decode(const Raw& raw, std::uint32_t (&a)[4][4]) const {
    if constexpr (kBits == 16) {
#pragma unroll
      for (int s = 0; s < 4; ++s)
#pragma unroll
        for (int i = 0; i < 4; ++i) a[s][i] = word(raw.codes[s], i);
    } else if constexpr (kHalf) {
      decode_half(raw, a);
    } else {
      decode_wide(raw, a);
    }
  }

 private:
  static constexpr bool kHalf = std::is_same_v<T, __half>;

  __device__ static std::uint32_t word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
  // Of rows g and g + 8, for one half of the inputs; each f16 twice.
  struct Scales {
    std::uint32_t scale[2], min[2];
  };
  __device__ Scales scales_of(const Raw& raw, int half) const {
    Scales of;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      if constexpr (!kPairs) {
        const std::uint32_t both = row == 0 ? raw.scales.x : raw.scales.y;
        of.scale[row] = half == 0 ? bytes_of<0, 0x1010>(both) : bytes_of<0, 0x3232>(both);
      } else {
        const std::uint32_t pair = word(raw.scales, 2 * half + row);
        of.scale[row] = kBits == 4 ? bytes_of<0, 0x1010>(pair) : __byte_perm(pair, 0, scale_half_);
        of.min[row] = kBits == 4 ? bytes_of<0, 0x3232>(pair) : __byte_perm(pair, 0, min_half_);
      }
    }
    return of;
  }

  // 0x6400 | code is 1024 + code in f16, or 1024 + 16 code for the high nibble of a byte; one subtraction or multiply-add
  // turns that into code - zero_point. These steps are exact; only the last operation rounds.
  __device__ void decode_half(const Raw& raw, std::uint32_t (&a)[4][4]) const {
    constexpr std::uint32_t kMagic = 0x64006400u;
    const Scales scales[2] = {scales_of(raw, 0), scales_of(raw, 1)};
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      const auto weights = [&](std::uint32_t codes, int row) {
        const Scales& of = scales[s / 2];
        return kPairs ? fma_pairs(codes, of.scale[row], of.min[row]) : mul_pairs(codes, of.scale[row]);
      };
      if constexpr (kBits == 4) {
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          const std::uint32_t codes = pair == 0 ? word(raw.codes[0], s) : word(raw.codes[0], s) >> 8;
          a[s][2 * pair] = weights(sub_pairs(and_or<0x000f000fu, kMagic>(codes), offset_), 0);
          a[s][2 * pair + 1] = weights(fma_pairs(and_or<0x00f000f0u, kMagic>(codes), sixteenth_, high_offset_), 1);
        }
      } else {
#pragma unroll
        for (int row = 0; row < 2; ++row) {
          const std::uint32_t codes = word(raw.codes[s / 2], 2 * (s % 2) + row);
          a[s][row] = weights(sub_pairs(bytes_of<kMagic, 0x5150>(codes), offset_), row);
          a[s][2 + row] = weights(sub_pairs(bytes_of<kMagic, 0x5352>(codes), offset_), row);
        }
      }
    }
  }

  // bf16 cannot represent the scales or all codes, so this works in f32, where 0x4b000000 | code is 2^23 + code, and rounds
  // to bf16 at the end.
  __device__ void decode_wide(const Raw& raw, std::uint32_t (&a)[4][4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Scales of = scales_of(raw, half);
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const float scale = low_half_as_float(of.scale[row]), min = kPairs ? low_half_as_float(of.min[row]) : 0.0f;
        const auto weight = [&](std::uint32_t magic) {
          const float code = __uint_as_float(magic) - wide_offset_;
          return kPairs ? __fmaf_rn(scale, code, min) : scale * code;
        };
#pragma unroll
        for (int s = 2 * half; s < 2 * half + 2; ++s) {
          // A row's four codes as bytes, of inputs 0, 2, 1, 3 if codes have 4 bits, else of inputs 0, 1, 2, 3.
          std::uint32_t codes;
          if constexpr (kBits == 4)
            codes = (row == 0 ? word(raw.codes[0], s) : word(raw.codes[0], s) >> 4) & 0x0f0f0f0fu;
          else
            codes = word(raw.codes[half], 2 * (s % 2) + row);
          const float first = weight(bytes_of<0x4b000000u, 0x7440>(codes)),
                      last = weight(bytes_of<0x4b000000u, 0x7443>(codes));
          const float one = weight(bytes_of<0x4b000000u, 0x7441>(codes)), two = weight(bytes_of<0x4b000000u, 0x7442>(codes));
          a[s][row] = bfloat_pair(first, kBits == 4 ? two : one);
          a[s][2 + row] = bfloat_pair(kBits == 4 ? one : two, last);
        }
      }
    }
  }

  int codes_at_, scales_at_;
  // Constants, of which each format uses some.
  std::uint32_t scale_half_, min_half_;    // byte selectors in a word of scales
  std::uint32_t offset_;                   // pairs of f16: 1024 + zero_point
  std::uint32_t sixteenth_, high_offset_;  // pairs of f16: 1 / 16, -(64 + zero_point)
  float wide_offset_;                      // 2^23 + zero_point
};

/// Calls f with the reader for a format.
template <typename T, typename F>
__device__ inline void with_reader(TileFormat format, F f) {
  const bool plain = format.scales == ScaleLayout::plain;
  if (format.bits == 4) {
    plain ? f(TileReader<T, 4, false>(format.scales)) : f(TileReader<T, 4, true>(format.scales));
  } else if (format.bits == 8) {
    plain ? f(TileReader<T, 8, false>(format.scales)) : f(TileReader<T, 8, true>(format.scales));
  } else {
    f(TileReader<T, 16, false>(format.scales));
  }
}

}  // namespace warploom::cuda::device
