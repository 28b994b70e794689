// A warp's tile of weights from memory to the fragments that tensor cores take. Layout: packed.h.
#pragma once

#include "cuda/device/mma.cuh"
#include "cuda/matmul/packed.h"

namespace warploom::cuda::device {

/// 16 bytes that are read once: they shall not push others out of the L1 cache.
__device__ inline uint4 load_once(const std::byte* from) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}
__device__ inline uint2 load_pair_once(const std::byte* from) {
  uint2 v;
  asm("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}

/// A lane's part of a tile, as it lies in memory.
template <int kBits>
struct RawTile {
  static constexpr int kPieces = kBits / 4;
  uint4 codes[kPieces];
  uint2 scales;  // rows g and g + 8
};

/// What a lane needs to know of a format: where its scales lie, which halves of their words are its own.
template <int kBits>
class TileReader {
 public:
  __device__ TileReader(ScaleLayout layout, int lane) {
    const int g = lane / 4, t = lane % 4;
    const bool plain = layout == ScaleLayout::plain, affine = layout == ScaleLayout::affine;
    scale_at_ = code_bytes(kBits) + (plain ? 8 * g : 16 * g + 8 * (t / 2)) - 16 * lane;
    const bool second = plain ? t >= 2 : !affine && t % 2 == 1;
    scale_half_ = second ? 0x3232u : 0x1010u;
    minimum_half_ = affine ? 0x3232u : 0x4444u;  // else zero
    zero_ = zero_of({kBits, layout});
  }

  /// `at`: the tile's first byte + 16 * lane.
  __device__ RawTile<kBits> load(const std::byte* at) const {
    RawTile<kBits> raw;
#pragma unroll
    for (int i = 0; i < RawTile<kBits>::kPieces; ++i) raw.codes[i] = load_once(at + 512 * i);
    if constexpr (kBits < 16) raw.scales = load_pair_once(at + scale_at_);
    return raw;
  }

  /// A of the four products. A weight is rounded once, to T.
  template <typename T>
  __device__ void decode(const RawTile<kBits>& raw, std::uint32_t (&a)[4][4]) const {
    if constexpr (kBits == 16) {
#pragma unroll
      for (int s = 0; s < 4; ++s) a[s][0] = raw.codes[s].x, a[s][1] = raw.codes[s].y, a[s][2] = raw.codes[s].z, a[s][3] = raw.codes[s].w;
    } else if constexpr (std::is_same_v<T, __half>) {
      decode_half(raw, a);
    } else {
      decode_wide(raw, a);
    }
  }

 private:
  static __device__ std::uint32_t word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

  // Codes become halves by bits: 0x6400 | code is 1024 + code. A 4-bit code of a byte's high half is 16 times that, 1024 + 16 code,
  // which one multiply-add takes to code - zero. All of it is exact, up to the multiplication by the scale.
  __device__ void decode_half(const RawTile<kBits>& raw, std::uint32_t (&a)[4][4]) const {
    constexpr std::uint32_t kMagic = 0x64006400u;
    const __half2 scale[2] = {as_half2(__byte_perm(raw.scales.x, 0, scale_half_)), as_half2(__byte_perm(raw.scales.y, 0, scale_half_))};
    const __half2 minimum[2] = {as_half2(__byte_perm(raw.scales.x, 0, minimum_half_)),
                                as_half2(__byte_perm(raw.scales.y, 0, minimum_half_))};
    const __half2 offset = __half2half2(__int2half_rn(1024 + zero_));
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      if constexpr (kBits == 4) {
        const __half2 sixteenth = __half2half2(__float2half_rn(0.0625f)), high_offset = __half2half2(__int2half_rn(-64 - zero_));
        const std::uint32_t codes = word(raw.codes[0], s), later = codes >> 8;
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          const std::uint32_t c = pair == 0 ? codes : later;
          const __half2 low = __hsub2(as_half2(and_or(c, 0x000f000fu, kMagic)), offset);
          const __half2 high = __hfma2(as_half2(and_or(c, 0x00f000f0u, kMagic)), sixteenth, high_offset);
          a[s][2 * pair] = bits_of(__hfma2(scale[0], low, minimum[0]));
          a[s][2 * pair + 1] = bits_of(__hfma2(scale[1], high, minimum[1]));
        }
      } else {
#pragma unroll
        for (int row = 0; row < 2; ++row) {
          const std::uint32_t codes = word(raw.codes[s / 2], 2 * (s % 2) + row);
#pragma unroll
          for (int pair = 0; pair < 2; ++pair) {
            const __half2 code = __hsub2(as_half2(__byte_perm(codes, 0x64, pair == 0 ? 0x4140 : 0x4342)), offset);
            a[s][2 * pair + row] = bits_of(__hfma2(scale[row], code, minimum[row]));
          }
        }
      }
    }
  }

  // bf16 holds neither scales nor all codes: in f32, where 0x4b000000 | code is 2^23 + code.
  __device__ void decode_wide(const RawTile<kBits>& raw, std::uint32_t (&a)[4][4]) const {
    const auto half_of = [](std::uint32_t word, std::uint32_t selector) {
      return __low2float(as_half2(__byte_perm(word, 0, selector)));
    };
    const float scale[2] = {half_of(raw.scales.x, scale_half_), half_of(raw.scales.y, scale_half_)};
    const float minimum[2] = {half_of(raw.scales.x, minimum_half_), half_of(raw.scales.y, minimum_half_)};
    const float offset = 8388608.0f + static_cast<float>(zero_);
    const auto weight = [&](std::uint32_t bytes, int byte, int row) {
      const float code = __uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7440u + static_cast<unsigned>(byte))) - offset;
      return __fmaf_rn(scale[row], code, minimum[row]);
    };
#pragma unroll
    for (int s = 0; s < 4; ++s) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        // Bytes of a row's four codes: inputs 0, 2, 1, 3 of 4-bit words, 0, 1, 2, 3 of the others.
        const std::uint32_t bytes = kBits == 4 ? (word(raw.codes[0], s) >> 4 * row) & 0x0f0f0f0fu
                                               : word(raw.codes[kBits == 4 ? 0 : s / 2], 2 * (s % 2) + row);
        constexpr int kSecond = kBits == 4 ? 2 : 1, kThird = kBits == 4 ? 1 : 2;
        a[s][row] = bits_of(__floats2bfloat162_rn(weight(bytes, 0, row), weight(bytes, kSecond, row)));
        a[s][2 + row] = bits_of(__floats2bfloat162_rn(weight(bytes, kThird, row), weight(bytes, 3, row)));
      }
    }
  }

  int scale_at_, zero_;
  std::uint32_t scale_half_, minimum_half_;
};

}  // namespace warploom::cuda::device
