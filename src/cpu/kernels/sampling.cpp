#include "cpu/kernels/sampling.h"

#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

// sampling::weight of core/sampling_math.h, 16 at a time: the same operations in the same order.
WARPLOOM_INLINE U weights(F x, F max, F scale) {
  // Below -64 a weight is 0: clamped so that the shift below pushes every bit out.
  const F t = mul(sub(x, max), scale);
  const F n = round_even(t);
  const F f = sub(t, n);
  F q = set(0x1.417ca6p-13f);
  q = fma(q, f, set(0x1.5f0946p-10f));
  q = fma(q, f, set(0x1.3b2dd0p-7f));
  q = fma(q, f, set(0x1.c6af7ap-5f));
  q = fma(q, f, set(0x1.ebfbdcp-3f));
  q = fma(q, f, set(0x1.62e430p-1f));
  q = fma(q, f, set(1.0f));
  const F shift = select_less(t, set(-64.0f), set(100.0f), mul(n, set(-1.0f)));
  return widen_shifted(to_int(mul(q, set(0x1p24f))), to_int(shift));
}

}  // namespace

bool scan(const float* x, std::int64_t padded, float* block_max) {
  unsigned bad = 0;
  for (std::int64_t at = 0; at < padded; at += kSampleBlock) {
    const F a = load(x + at), b = load(x + at + 16), c = load(x + at + 32), d = load(x + at + 48);
    bad |= mask_bad(a) | mask_bad(b) | mask_bad(c) | mask_bad(d);
    *block_max++ = max_lanes(max(max(a, b), max(c, d)));
  }
  return bad != 0;
}

std::int64_t sum_weights(const float* x, std::int64_t padded, float max_, float scale_, std::uint64_t least, std::uint64_t* sums) {
  const F max = set(max_), scale = set(scale_);
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < padded; at += kSumBlock) {
    const std::int64_t end = at + kSumBlock < padded ? at + kSumBlock : padded;
    U sum = zero_wide();
    for (std::int64_t i = at; i < end; i += kLanes) {
      const U w = at_least(weights(load(x + i), max, scale), least);
      count += count_nonzero(w);
      sum = add(sum, w);
    }
    std::uint64_t lanes[kLanes];
    store(lanes, sum);
    *sums = 0;
    for (int i = 0; i < kLanes; ++i) *sums += lanes[i];
    ++sums;
  }
  return count;
}

std::int64_t gather(const float* x, std::int64_t padded, const float* block_max, float floor, std::uint32_t* ids, float* values) {
  const F bound = set(floor);
  std::int64_t count = 0;
  for (std::int64_t at = 0; at < padded; at += kSampleBlock, ++block_max) {
    if (*block_max < floor) continue;
    for (std::int64_t i = at; i < at + kSampleBlock; i += kLanes) {
      for (unsigned mask = mask_ge(load(x + i), bound); mask != 0; mask &= mask - 1) {
        const std::int64_t id = i + __builtin_ctz(mask);
        ids[count] = static_cast<std::uint32_t>(id);
        values[count++] = x[id];
      }
    }
  }
  return count;
}

void weigh(const float* values, std::int64_t count, float max, float scale, std::uint64_t* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(out + i, weights(load(values + i), set(max), set(scale)));
}

}  // namespace warploom::cpu::WARPLOOM_ISA
