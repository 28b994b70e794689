// A panel of 16 output rows times 1 to kTile tokens. The dot products of a block of 32 inputs are exact integers, which are
// added to one float sum per (token, row), block after block. The operations are the same for every tile size, so a token's
// result does not depend on the other tokens.
#include "cpu/kernels/matmul.h"

#include <type_traits>

#include "cpu/kernels/blocks.h"
#include "cpu/kernels/code_scale.h"
#include "cpu/kernels/tiles.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kTile = 8;  // 8 code vectors and 8 sums fit in the 32 registers
#else
constexpr int kTile = 4;
#endif
// On AMX fewer tokens, and fewer of a last group, are sooner done by vectors.
[[maybe_unused]] constexpr int kMinTileTokens = 25, kMinGroupTokens = 9;

// Fetches the bytes that follow those at p some KiB behind. Each line must be fetched: gaps are slower than no fetching at all.
constexpr std::size_t kFetchAhead = 8192;  // 4 to 32 KiB are alike
template <std::size_t kBytes>
WARPLOOM_INLINE void fetch_ahead(const void* p, Fetch fetch) {
  const auto* ahead = static_cast<const std::byte*>(p) + kFetchAhead;
  if (fetch == Fetch::second_cache) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBytes; i += 64) __builtin_prefetch(ahead + i, 0, 2);
  } else if (fetch == Fetch::first_cache) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBytes; i += 64) __builtin_prefetch(ahead + i, 0, 3);
  }
}

// A block as it lies in a panel: the codes that Dot takes at a step, and the scales as BlockScales gives them.
template <CodeBits kBits, ScaleKind kScales>
struct PackedBlock {
  const std::uint8_t* p;  // its own scales
  const BlockScales<kScales>& scales;

  template <int kStep>
  WARPLOOM_INLINE_MEMBER B codes() const {
    return load_codes<kBits, kStep>(p + block_scale_bytes(kScales));
  }
  WARPLOOM_INLINE_MEMBER F first() const { return scales.first(p); }
  WARPLOOM_INLINE_MEMBER F second() const { return scales.second(p); }
};

// Keeps the compiler from taking a register for each entry behind p.
template <typename T>
WARPLOOM_INLINE const T* one_register(const T* p) {
  asm("" : "+r"(p));
  return p;
}

// Steps [kStep, kEnd) of a block, each for all tokens before the next, so that few codes are in registers at a time.
template <int kStep, int kEnd, int kFirst, int kTokens, typename Block, typename AnyDot>
WARPLOOM_INLINE void add_steps(const Block& block, const std::int8_t* x, AnyDot* dots) {
  const B w = block.template codes<kStep>();
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) dots[t].template add_step<kStep - kFirst>(w, x + t * kQuantBlockInputs + 4 * kStep);
  if constexpr (kStep + 1 < kEnd) add_steps<kStep + 1, kEnd, kFirst, kTokens>(block, x, dots);
}

// The dot products of the steps [kFirst, kEnd) of a block with its kTokens inputs; x_sums are the sums of those inputs, or of pairs.
template <typename AnyDot, int kFirst, int kEnd, int kTokens, typename Block>
WARPLOOM_INLINE void block_dots(const Block& block, const std::int8_t* x, const std::int32_t* x_sums, I* out) {
  AnyDot dots[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) dots[t] = AnyDot(x_sums[t]);
  add_steps<kFirst, kEnd, kFirst, kTokens>(block, x, dots);
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) out[t] = dots[t].template sum<kEnd - kFirst>();
}

template <int kTokens>
WARPLOOM_INLINE void add_scaled(const I* dot, F scale, const float* d, F* sum) {
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) sum[t] = fma(to_float(dot[t]), mul(scale, set(d[t])), sum[t]);
}

// Adds a block's products with the tokens [slot, slot + kTokens). Scales are read when the dot products are done, which leaves
// these all registers.
template <CodeBits kBits, ScaleKind kScales, int kTokens, typename Block>
WARPLOOM_INLINE void add_block(const Block& block, const ActivationBlock& in, int slot, F* sum) {
  constexpr bool kSymmetric = kScales == ScaleKind::symmetric;
  using AnyDot = Dot<static_cast<int>(kBits), kSymmetric || kScales == ScaleKind::super_block_symmetric>;
  const std::int8_t* x = in.q[slot];
  I dot[kTokens];
  if constexpr (kScales == ScaleKind::super_block_symmetric) {
    F both[kTokens];  // halves, which share the scale of the inputs
    const std::int32_t* first_sums = AnyDot::kTakesPairs ? in.first_pairs : in.first_sum;
    const std::int32_t* second_sums = AnyDot::kTakesPairs ? in.second_pairs : in.second_sum;
    block_dots<AnyDot, 0, 4, kTokens>(block, x, first_sums + slot, dot);
    const F first = block.first();
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) both[t] = mul(to_float(dot[t]), first);
    block_dots<AnyDot, 4, 8, kTokens>(block, x, second_sums + slot, dot);
    const F second = block.second();
    const float* d = one_register(in.d + slot);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[t] = fma(fma(to_float(dot[t]), second, both[t]), set(d[t]), sum[t]);
  } else {
    std::int32_t x_sums[kTokens];
    for (int t = 0; t < kTokens; ++t) x_sums[t] = in.first_sum[slot + t] + in.second_sum[slot + t];
    block_dots<AnyDot, 0, 8, kTokens>(block, x, x_sums, dot);
    add_scaled<kTokens>(dot, block.first(), kSymmetric ? in.d + slot : one_register(in.d + slot), sum);
    if constexpr (!kSymmetric) {
      const F minimum = block.second();
      const float* ds = one_register(in.ds + slot);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sum[t] = fma(minimum, set(ds[t]), sum[t]);
    }
  }
}

// A block and its part of a super-block's scales.
template <CodeBits kBits, ScaleKind kScales>
constexpr std::size_t kBlockBytes = block_scale_bytes(kScales) + block_code_bytes(kBits) +
                                    super_block_scale_bytes(kScales) * kQuantBlockInputs / kSuperBlockInputs;

// Calls body(block, b) for the blocks of a panel at p, in order, and fetches what follows.
template <CodeBits kBits, ScaleKind kScales, typename Body>
WARPLOOM_INLINE void for_blocks(const std::uint8_t* p, std::int64_t blocks, Fetch fetch, const Body& body) {
  BlockScales<kScales> scales;
  const std::uint8_t* fetched = p;
  for (std::int64_t b = 0; b < blocks; ++b, fetched += kBlockBytes<kBits, kScales>) {
    fetch_ahead<kBlockBytes<kBits, kScales>>(fetched, fetch);
    p = scales.enter(p, b);
    body(PackedBlock<kBits, kScales>{p, scales}, b);
    p += block_scale_bytes(kScales) + block_code_bytes(kBits);
  }
}

// Tokens [slot, slot + kTokens) of a group. A function of its own: inside its caller, the compiler kept that one's variables in
// registers that the loop needs.
template <CodeBits kBits, ScaleKind kScales, int kTokens>
__attribute__((noinline)) void quantised_tile(const std::uint8_t* p, std::int64_t blocks, const ActivationBlock* inputs,
                                              int slot, const float* bias, int lanes, float* out, std::int64_t out_stride,
                                              Fetch fetch) {
  F sum[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sum[t] = zero();
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) __builtin_prefetch(out + t * out_stride, 1);
  for_blocks<kBits, kScales>(
      p, blocks, fetch, [&](const auto& block, std::int64_t b) __attribute__((always_inline)) {
        add_block<kBits, kScales, kTokens>(block, inputs[b], slot, sum);
      });
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) finish(sum[t], bias, lanes, out + t * out_stride);
}

#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
// From how many tokens on a block is unpacked once for all of a group, and not for every tile: where that takes as long as the
// products of a token or two. 0: never.
template <CodeBits kBits>
constexpr int kMinUnpackedTokens =
#if defined(__AVX512F__)
    kBits == CodeBits::six ? 12 : 0;
#else
    kBits == CodeBits::six     ? 8
    : kBits == CodeBits::eight ? 0
                               : 12;
#endif

template <CodeBits kBits, ScaleKind kScales>
class UnpackedBlock {
 public:
  WARPLOOM_INLINE_MEMBER explicit UnpackedBlock(const PackedBlock<kBits, kScales>& from) {
    store(first_scale_, from.first());
    store(second_scale_, from.second());
    unpack<0>(from);
  }
  template <int kStep>
  WARPLOOM_INLINE_MEMBER B codes() const {
    return load_bytes(steps_[kStep]);
  }
  WARPLOOM_INLINE_MEMBER F first() const { return load(first_scale_); }
  WARPLOOM_INLINE_MEMBER F second() const { return load(second_scale_); }

 private:
  template <int kStep>
  WARPLOOM_INLINE_MEMBER void unpack(const PackedBlock<kBits, kScales>& from) {
    store(steps_[kStep], from.template codes<kStep>());
    if constexpr (kStep < 7) unpack<kStep + 1>(from);
  }

  alignas(64) std::uint8_t steps_[8][64];
  alignas(64) float first_scale_[kLanes], second_scale_[kLanes];
};

// `tokens` of a group. Of the last tile, if it is not full, what the other slots hold does not matter.
template <CodeBits kBits, ScaleKind kScales>
__attribute__((noinline)) void quantised_group(const std::uint8_t* p, std::int64_t blocks, const ActivationBlock* inputs,
                                               int tokens, const float* bias, int lanes, float* out, std::int64_t out_stride,
                                               Fetch fetch) {
  alignas(64) float sums[kTokenGroup][kLanes];
  for (int t = 0; t < kTokenGroup; ++t) store(sums[t], zero());
  for (int t = 0; t < tokens; ++t) __builtin_prefetch(out + t * out_stride, 1);
  for_blocks<kBits, kScales>(
      p, blocks, fetch, [&](const auto& packed, std::int64_t b) __attribute__((always_inline)) {
        const UnpackedBlock<kBits, kScales> block(packed);
        for (int slot = 0; slot < tokens; slot += kTile) {
          F sum[kTile];
#pragma GCC unroll 8
          for (int t = 0; t < kTile; ++t) sum[t] = load(sums[slot + t]);
          add_block<kBits, kScales, kTile>(block, inputs[b], slot, sum);
#pragma GCC unroll 8
          for (int t = 0; t < kTile; ++t) store(sums[slot + t], sum[t]);
        }
      });
  for (int t = 0; t < tokens; ++t) finish(load(sums[t]), bias, lanes, out + t * out_stride);
}
#endif

template <CodeBits kBits, ScaleKind kScales>
void quantised_panel(const std::byte* panel, std::int64_t cols, const ActivationBlock* inputs, std::int64_t tokens,
                     const float* bias, int lanes, float* out, std::int64_t out_stride, Fetch fetch) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(panel);
  const std::int64_t blocks = cols / kQuantBlockInputs;
#if defined(__AMX_INT8__)
  if (tokens >= kMinTileTokens) {
    const TileRegisters registers(kScales == ScaleKind::super_block_symmetric ? 16 : 32);
    while (tokens >= kMinGroupTokens) {
      int count = static_cast<int>(tokens < kTileTokens ? tokens : kTileTokens);
      if (count % kTokenGroup < kMinGroupTokens) count -= count % kTokenGroup;
      tile_panel<kBits, kScales>(p, blocks, inputs, count, bias, lanes, out, out_stride);
      tokens -= count;
      inputs += (count + kTokenGroup - 1) / kTokenGroup * blocks;
      out += count * out_stride;
    }
  }
#endif
  for (std::int64_t first = 0; first < tokens; first += kTokenGroup, inputs += blocks) {
    const int count = tokens - first < kTokenGroup ? static_cast<int>(tokens - first) : kTokenGroup;
    float* to = out + first * out_stride;
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
    if constexpr (kMinUnpackedTokens<kBits> != 0) {
      if (count >= kMinUnpackedTokens<kBits>) {
        quantised_group<kBits, kScales>(p, blocks, inputs, count, bias, lanes, to, out_stride, fetch);
        continue;
      }
    }
#endif
    int t = 0;
    for (; t + kTile <= count; t += kTile)
      quantised_tile<kBits, kScales, kTile>(p, blocks, inputs, t, bias, lanes, to + t * out_stride, out_stride, fetch);
    if constexpr (kTile > 4) {
      if (t + 4 <= count) {
        quantised_tile<kBits, kScales, 4>(p, blocks, inputs, t, bias, lanes, to + t * out_stride, out_stride, fetch);
        t += 4;
      }
    }
    if (t + 2 <= count) {
      quantised_tile<kBits, kScales, 2>(p, blocks, inputs, t, bias, lanes, to + t * out_stride, out_stride, fetch);
      t += 2;
    }
    if (t < count)
      quantised_tile<kBits, kScales, 1>(p, blocks, inputs, t, bias, lanes, to + t * out_stride, out_stride, fetch);
  }
}

template <DType kType>
WARPLOOM_INLINE F load_weights(const std::byte* panel, std::int64_t input) {
  if constexpr (kType == DType::f32) return load(reinterpret_cast<const float*>(panel) + input * kLanes);
  if constexpr (kType == DType::f16) return load_f16(reinterpret_cast<const std::uint16_t*>(panel) + input * kLanes);
  if constexpr (kType == DType::bf16) return load_bf16(reinterpret_cast<const std::uint16_t*>(panel) + input * kLanes);
}

template <DType kType, int kTokens>
WARPLOOM_INLINE void float_tile(const std::byte* panel, std::int64_t cols, const float* x, std::int64_t x_stride,
                                const float* bias, int lanes, float* out, std::int64_t out_stride, Fetch fetch) {
  F sum[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sum[t] = zero();
  constexpr std::size_t kRowBytes = kLanes * (kType == DType::f32 ? 4 : 2);
  for (std::int64_t k = 0; k < cols; ++k) {
    fetch_ahead<kRowBytes>(panel + static_cast<std::size_t>(k) * kRowBytes, fetch);
    const F w = load_weights<kType>(panel, k);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[t] = fma(w, set(x[t * x_stride + k]), sum[t]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) finish(sum[t], bias, lanes, out + t * out_stride);
}

template <DType kType>
void float_panel(const std::byte* panel, std::int64_t cols, const float* x, std::int64_t x_stride, std::int64_t tokens,
                 const float* bias, int lanes, float* out, std::int64_t out_stride, Fetch fetch) {
  std::int64_t t = 0;
  const auto tile = [&](auto count) __attribute__((always_inline)) {
    float_tile<kType, count()>(panel, cols, x + t * x_stride, x_stride, bias, lanes, out + t * out_stride, out_stride,
                               fetch);
    t += count();
  };
  while (t + kTile <= tokens) tile(std::integral_constant<int, kTile>{});
  if (kTile > 4 && t + 4 <= tokens) tile(std::integral_constant<int, 4>{});
  if (t + 2 <= tokens) tile(std::integral_constant<int, 2>{});
  if (t < tokens) tile(std::integral_constant<int, 1>{});
}

}  // namespace

void quantise_row(const float* x, std::int64_t cols, ActivationBlock* blocks, int slot) {
  for (ActivationBlock* block = blocks; block < blocks + cols / kQuantBlockInputs; ++block, x += kQuantBlockInputs) {
    const F first = load(x), second = load(x + kLanes);
    const CodeScale scale(max_lanes(max(magnitude_bits(first), magnitude_bits(second))), 127.0f);
    const I a = scale.codes(first), b = scale.codes(second);
    std::int8_t* q = block->q[slot];
    store_s8(q, a);
    store_s8(q + kLanes, b);
    const std::int32_t first_sum = sum_lanes(a), second_sum = sum_lanes(b);
    block->d[slot] = scale.step;
    block->ds[slot] = scale.step * static_cast<float>(first_sum + second_sum);
    block->first_sum[slot] = first_sum;
    block->second_sum[slot] = second_sum;
#if defined(WARPLOOM_PRODUCTS_IN_PAIRS)
    sum_pairs(a, b, &block->first_pairs[slot], &block->second_pairs[slot]);
#endif
  }
}

void panel_quantised(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const ActivationBlock* inputs,
                     std::int64_t tokens, const float* bias, int lanes, float* out, std::int64_t out_stride, Fetch fetch) {
#define WARPLOOM_CASE(bits_, scales_)                                                                                      \
  if (format.bits == CodeBits::bits_ && format.scales == ScaleKind::scales_)                                               \
    return quantised_panel<CodeBits::bits_, ScaleKind::scales_>(panel, cols, inputs, tokens, bias, lanes, out, out_stride, \
                                                                fetch);
  WARPLOOM_CASE(four, affine)                // Q4_1
  WARPLOOM_CASE(eight, symmetric)            // Q8_0
  WARPLOOM_CASE(four, symmetric)             // Q4_0
  WARPLOOM_CASE(five, symmetric)             // Q5_0
  WARPLOOM_CASE(five, affine)                // Q5_1
  WARPLOOM_CASE(four, super_block_affine)    // Q4_K
  WARPLOOM_CASE(five, super_block_affine)    // Q5_K
  WARPLOOM_CASE(six, super_block_symmetric)  // Q6_K
#undef WARPLOOM_CASE
  __builtin_unreachable();
}

void panel_float(const PackedFormat& format, const std::byte* panel, std::int64_t cols, const float* x,
                 std::int64_t x_stride, std::int64_t tokens, const float* bias, int lanes, float* out,
                 std::int64_t out_stride, Fetch fetch) {
  switch (format.dtype) {
    case DType::f32: return float_panel<DType::f32>(panel, cols, x, x_stride, tokens, bias, lanes, out, out_stride, fetch);
    case DType::f16: return float_panel<DType::f16>(panel, cols, x, x_stride, tokens, bias, lanes, out, out_stride, fetch);
    case DType::bf16: return float_panel<DType::bf16>(panel, cols, x, x_stride, tokens, bias, lanes, out, out_stride, fetch);
    case DType::int8: break;  // no weights are of it
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
