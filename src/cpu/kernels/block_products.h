// Products of one block of each panel, one panel or two, with a tile of tokens.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {

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

// -2^(kBits - 1) times sums of inputs, + kDotBias. With two panels they are in memory, from where they fill vectors without the units
// that multiply.
template <CodeBits kBits, int kPanels, int kTokens>
struct Starts {
  WARPLOOM_INLINE_MEMBER Starts(const std::int32_t* first_sum, const std::int32_t* second_sum) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      of[t] = kDotBias - (1 << (static_cast<int>(kBits) - 1)) * (first_sum[t] + second_sum[t]);
      if constexpr (kPanels == 2) asm("" : "+m"(of[t]));  // one by one: loads wait for part of a wider store
    }
  }
  std::int32_t of[kTokens];
};

// Adds the products of a block of each panel with the tokens [slot, slot + kTokens). Scales are read when the dot products are done,
// which leaves these all registers.
template <CodeBits kBits, ScaleKind kScales, int kTokens, int kPanels, typename Block>
WARPLOOM_INLINE void add_blocks(const Block (&blocks)[kPanels], const ActivationBlock& in, int slot,
                                F (&sums)[kPanels][kTokens]) {
  constexpr bool kSymmetric = kScales == ScaleKind::symmetric;
  using AnyDot = Dot<static_cast<int>(kBits), kSymmetric || kScales == ScaleKind::super_block_symmetric>;
  const std::int8_t* x = in.q[slot];
  I dot[kPanels][kTokens];
  if constexpr (kScales == ScaleKind::super_block_symmetric) {
    F both[kPanels][kTokens];  // halves, which share the scale of the inputs
    block_dots<AnyDot, 0, 4>(blocks, x, in.first_start + slot, dot);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      const F first = blocks[i].first(), offset = offset_of(first);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) both[i][t] = scaled(dot[i][t], first, offset);
    }
    block_dots<AnyDot, 4, 8>(blocks, x, in.second_start + slot, dot);
    const float* d = one_register(in.d + slot);
#pragma GCC unroll 2
    for (int i = 0; i < kPanels; ++i) {
      const F second = blocks[i].second();
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
        sums[i][t] = fma(fma(to_float(dot[i][t]), second, both[i][t]), set(d[t]), sums[i][t]);
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
      const F scale = blocks[i].first(), offset = offset_of(scale);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sums[i][t] = fma(scaled(dot[i][t], scale, offset), set(d[t]), sums[i][t]);
    }
    if constexpr (!kSymmetric) {
      const float* ds = one_register(in.ds + slot);
#pragma GCC unroll 2
      for (int i = 0; i < kPanels; ++i) {
        const F minimum = blocks[i].second();
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) sums[i][t] = fma(minimum, set(ds[t]), sums[i][t]);
      }
    }
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
