// Panels of 16 output rows, one or two, times 1 to kTile tokens. The dot products of a block of 32 inputs are exact integers, which are
// added to one float sum per (token, row), block after block. The operations are the same for every tile size, so a token's
// result does not depend on the other tokens.
#include "cpu/kernels/matmul.h"

#include <type_traits>

#include "cpu/kernels/code_scale.h"
#include "cpu/kernels/panels.h"
#include "cpu/kernels/tiles.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

#if defined(__AMX_INT8__)
// Fewer tokens, and fewer of a last group, are sooner done by vectors.
constexpr int kMinTileTokens = 25, kMinGroupTokens = 9;
#endif

// Keeps the compiler from taking a register for each entry behind p.
template <typename T>
WARPLOOM_INLINE const T* one_register(const T* p) {
  asm("" : "+r"(p));
  return p;
}

// Steps [kStep, kEnd) of a block of each panel, each for all tokens before the next, so that few codes are in registers at a time.
template <int kStep, int kEnd, int kFirst, int kPanels, int kTokens, typename Block, typename AnyDot>
WARPLOOM_INLINE void add_steps(const Block (&blocks)[kPanels], const std::int8_t* x, AnyDot (&dots)[kPanels][kTokens]) {
  B w[kPanels];
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) w[i] = blocks[i].template codes<kStep>();
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i)
      dots[i][t].template add_step<kStep - kFirst>(w[i], x + t * kQuantBlockInputs + 4 * kStep);
  }
  if constexpr (kStep + 1 < kEnd) add_steps<kStep + 1, kEnd, kFirst>(blocks, x, dots);
}

// The dot products of the steps [kFirst, kEnd) of blocks with their kTokens inputs, which begin with starts[t].
template <typename AnyDot, int kFirst, int kEnd, int kPanels, int kTokens, typename Block>
WARPLOOM_INLINE void block_dots(const Block (&blocks)[kPanels], const std::int8_t* x, const std::int32_t* starts,
                                I (&out)[kPanels][kTokens]) {
  AnyDot dots[kPanels][kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) dots[i][t] = AnyDot(starts[t]);
  }
  add_steps<kFirst, kEnd, kFirst>(blocks, x, dots);
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) out[i][t] = dots[i][t].template sum<kEnd - kFirst>();
  }
}

// -2^(kBits - 1) times sums of inputs, from `first` and `second` unless that is null. With two panels they are in memory, from where they
// fill vectors without the units that multiply.
template <CodeBits kBits, int kPanels, int kTokens>
struct Starts {
  WARPLOOM_INLINE_MEMBER explicit Starts(const std::int32_t* first, const std::int32_t* second = nullptr) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t)
      of[t] = -(1 << (static_cast<int>(kBits) - 1)) * (second ? first[t] + second[t] : first[t]);
    if constexpr (kPanels == 2) asm("" : "+m"(of));
  }
  std::int32_t of[kTokens];
};

// The sums of a tile. If there are more than registers, the compiler chooses which of them stay in memory.
template <int kPanels, int kTokens>
class Sums {
 public:
  WARPLOOM_INLINE_MEMBER F get(int panel, int t) const { return sums_[panel][t]; }
  WARPLOOM_INLINE_MEMBER void put(int panel, int t, F sum) { sums_[panel][t] = sum; }

 private:
  F sums_[kPanels][kTokens];
};

// Those of a group of tokens, in memory, from `slot` on.
template <int kPanels>
class GroupSums {
 public:
  using Group = float[kPanels][kTokenGroup][kLanes];
  WARPLOOM_INLINE_MEMBER GroupSums(Group& group, int slot) : group_(group), slot_(slot) {}
  WARPLOOM_INLINE_MEMBER F get(int panel, int t) const { return load(group_[panel][slot_ + t]); }
  WARPLOOM_INLINE_MEMBER void put(int panel, int t, F sum) { store(group_[panel][slot_ + t], sum); }

 private:
  Group& group_;
  int slot_;
};

// Adds the products of a block of each panel with the tokens [slot, slot + kTokens). Scales are read when the dot products are done,
// which leaves these all registers.
template <CodeBits kBits, ScaleKind kScales, int kTokens, int kPanels, typename Block, typename AnySums>
WARPLOOM_INLINE void add_blocks(const Block (&blocks)[kPanels], const ActivationBlock& in, int slot, AnySums& sums) {
  constexpr bool kSymmetric = kScales == ScaleKind::symmetric;
  using AnyDot = Dot<static_cast<int>(kBits), kSymmetric || kScales == ScaleKind::super_block_symmetric>;
  const std::int8_t* x = in.q[slot];
  I dot[kPanels][kTokens];
  if constexpr (kScales == ScaleKind::super_block_symmetric) {
    F both[kPanels][kTokens];  // halves, which share the scale of the inputs
    if constexpr (AnyDot::kTakesPairs)
      block_dots<AnyDot, 0, 4>(blocks, x, in.first_pairs + slot, dot);
    else
      block_dots<AnyDot, 0, 4>(blocks, x, Starts<kBits, kPanels, kTokens>(in.first_sum + slot).of, dot);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      const F first = blocks[i].first();
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) both[i][t] = mul(to_float(dot[i][t]), first);
    }
    if constexpr (AnyDot::kTakesPairs)
      block_dots<AnyDot, 4, 8>(blocks, x, in.second_pairs + slot, dot);
    else
      block_dots<AnyDot, 4, 8>(blocks, x, Starts<kBits, kPanels, kTokens>(in.second_sum + slot).of, dot);
    const float* d = one_register(in.d + slot);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      const F second = blocks[i].second();
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
        sums.put(i, t, fma(fma(to_float(dot[i][t]), second, both[i][t]), set(d[t]), sums.get(i, t)));
    }
  } else {
    if constexpr (kSymmetric)
      block_dots<AnyDot, 0, 8>(blocks, x, Starts<kBits, kPanels, kTokens>(in.first_sum + slot, in.second_sum + slot).of,
                               dot);
    else
      block_dots<AnyDot, 0, 8>(blocks, x, in.first_sum + slot, dot);
    const float* d = one_register(in.d + slot);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      const F scale = blocks[i].first();
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sums.put(i, t, fma(to_float(dot[i][t]), mul(scale, set(d[t])), sums.get(i, t)));
    }
    if constexpr (!kSymmetric) {
      const float* ds = one_register(in.ds + slot);
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) {
        const F minimum = blocks[i].second();
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) sums.put(i, t, fma(minimum, set(ds[t]), sums.get(i, t)));
      }
    }
  }
}

// kTokens tokens of a group, from `token` on, times kPanels panels, from `row` on. A function of its own: inside its caller, the
// compiler kept that one's variables in registers that the loop needs.
template <CodeBits kBits, ScaleKind kScales, int kPanels, int kTokens>
__attribute__((noinline)) void quantised_tile(const PanelProduct& product, std::int64_t row, std::int64_t token) {
  const std::int64_t count = product.cols / kQuantBlockInputs, stride = product.out_stride;
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * count;
  const int slot = static_cast<int>(token % kTokenGroup);
  float* out = product.out + token * stride + row;
  Sums<kPanels, kTokens> sums;
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sums.put(i, t, zero());
      __builtin_prefetch(out + t * stride + i * kPanelRows, 1);
    }
  }
  for_blocks<kBits, kScales, kPanels>(
      product, row, token, [&](const auto& blocks, std::int64_t b) __attribute__((always_inline)) {
        add_blocks<kBits, kScales, kTokens>(blocks, inputs[b], slot, sums);
      });
#pragma GCC unroll 2
  for (int i = 0; i < kPanels; ++i) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) finish(sums.get(i, t), product, row + i * kPanelRows, token + t);
  }
}

// `tokens` of a group, from `token` on. Of the last tile, if it is not full, what the other slots hold does not matter.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
__attribute__((noinline)) void quantised_group(const PanelProduct& product, std::int64_t row, std::int64_t token,
                                               int tokens) {
  const std::int64_t count = product.cols / kQuantBlockInputs;
  const ActivationBlock* inputs = product.inputs + token / kTokenGroup * count;
  alignas(64) float group[kPanels][kTokenGroup][kLanes];
  for (int i = 0; i < kPanels; ++i) {
    for (int t = 0; t < kTokenGroup; ++t) store(group[i][t], zero());
    for (int t = 0; t < tokens; ++t)
      __builtin_prefetch(product.out + (token + t) * product.out_stride + row + i * kPanelRows, 1);
  }
  for_blocks<kBits, kScales, kPanels>(
      product, row, token, [&](const auto& packed, std::int64_t b) __attribute__((always_inline)) {
        UnpackedBlock<kBits, kScales> blocks[kPanels];
#pragma GCC unroll 2
        for (int i = 0; i < kPanels; ++i) blocks[i].unpack(packed[i]);
        for (int slot = 0; slot < tokens; slot += kTile) {
          GroupSums<kPanels> in_memory(group, slot);
          if constexpr (kPanels == 1) {
            Sums<kPanels, kTile> sums;
#pragma GCC unroll 8
            for (int t = 0; t < kTile; ++t) sums.put(0, t, in_memory.get(0, t));
            add_blocks<kBits, kScales, kTile>(blocks, inputs[b], slot, sums);
#pragma GCC unroll 8
            for (int t = 0; t < kTile; ++t) in_memory.put(0, t, sums.get(0, t));
          } else {  // the dot products take the registers
            add_blocks<kBits, kScales, kTile>(blocks, inputs[b], slot, in_memory);
          }
        }
      });
  for (int i = 0; i < kPanels; ++i) {
    for (int t = 0; t < tokens; ++t) finish(load(group[i][t]), product, row + i * kPanelRows, token + t);
  }
}

#if defined(__AMX_INT8__)
// As many tokens as tiles are good for; returns how many.
template <CodeBits kBits, ScaleKind kScales>
std::int64_t tile_tokens(const PanelProduct& product, std::int64_t row) {
  std::int64_t token = 0;
  if (product.tokens < kMinTileTokens) return token;
  const TileRegisters registers(kScales == ScaleKind::super_block_symmetric ? 16 : 32);
  while (product.tokens - token >= kMinGroupTokens) {
    int count = static_cast<int>(product.tokens - token < kTileTokens ? product.tokens - token : kTileTokens);
    if (count % kTokenGroup < kMinGroupTokens) count -= count % kTokenGroup;
    tile_panel<kBits, kScales>(product, row, token, count);
    token += count;
  }
  return token;
}
#endif

// kPanels panels, from `row` on, times all tokens. Tiles do not reach from one group into the next.
template <CodeBits kBits, ScaleKind kScales, int kPanels>
void quantised_panels(const PanelProduct& product, std::int64_t row) {
  std::int64_t token = 0;
#if defined(__AMX_INT8__)
  if constexpr (kPanels == 1) token = tile_tokens<kBits, kScales>(product, row);
#endif
  const auto tile = [&](auto count) {
    quantised_tile<kBits, kScales, kPanels, count()>(product, row, token);
    token += count();
  };
  while (token < product.tokens) {
    const std::int64_t rest = product.tokens - token, group = kTokenGroup - token % kTokenGroup,
                       left = rest < group ? rest : group;
    if constexpr (kMinUnpackedTokens<kBits, kPanels> != 0) {
      if (left >= kMinUnpackedTokens<kBits, kPanels>) {
        quantised_group<kBits, kScales, kPanels>(product, row, token, static_cast<int>(left));
        token += left;
        continue;
      }
    }
    if (left >= kTile)
      tile(std::integral_constant<int, kTile>{});
    else if (kTile > 4 && left >= 4)
      tile(std::integral_constant<int, 4>{});
    else if (left >= 2)
      tile(std::integral_constant<int, 2>{});
    else
      tile(std::integral_constant<int, 1>{});
  }
}

template <CodeBits kBits, ScaleKind kScales>
void quantised_product(const PanelProduct& product) {
  std::int64_t row = 0;
#if defined(__AVX512VNNI__)
#if defined(__AMX_INT8__)
  const bool pairs = product.plan.pairs && product.tokens < kMinTileTokens;
#else
  const bool pairs = product.plan.pairs;
#endif
  if (pairs) {
    for (; row + kPanelRows < product.rows; row += 2 * kPanelRows) quantised_panels<kBits, kScales, 2>(product, row);
  }
#endif
  for (; row < product.rows; row += kPanelRows) quantised_panels<kBits, kScales, 1>(product, row);
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

void multiply_quantised(const PanelProduct& product) {
#define WARPLOOM_CASE(bits_, scales_)                                                        \
  if (product.format.bits == CodeBits::bits_ && product.format.scales == ScaleKind::scales_) \
    return quantised_product<CodeBits::bits_, ScaleKind::scales_>(product);
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

}  // namespace warploom::cpu::WARPLOOM_ISA
