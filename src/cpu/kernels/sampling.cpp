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

// Lanes [at, at + 16) of count, -inf behind the end.
WARPLOOM_INLINE F load_lanes(const float* x, std::int64_t at, std::int64_t count) {
  return count - at >= kLanes ? load(x + at) : load_part(x + at, static_cast<int>(count - at));
}

// Sum of the weights that reach `least`; adds to survivors how many they are. Where all but 0 do, nothing need be taken out.
template <bool kAll>
WARPLOOM_INLINE U sum_block(const float* x, std::int64_t count, F max, F scale, std::uint64_t least,
                            std::int64_t& survivors) {
  U sum = zero_wide();
  for (std::int64_t i = 0; i < count; i += kLanes) {
    U w = weights(load_lanes(x, i, count), max, scale);
    if constexpr (!kAll) w = at_least(w, least);
    survivors += count_nonzero(w);
    sum = add(sum, w);
  }
  return sum;
}

}  // namespace

void widen(const std::uint16_t* x, std::int64_t count, bool bf16, float* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    if (count - i >= kLanes) {
      store(out + i, bf16 ? load_bf16(x + i) : load_f16(x + i));
      continue;
    }
    std::uint16_t part[kLanes] = {};
    for (std::int64_t lane = 0; lane < count - i; ++lane) part[lane] = x[i + lane];
    float wide[kLanes];
    store(wide, bf16 ? load_bf16(part) : load_f16(part));
    for (std::int64_t lane = 0; lane < count - i; ++lane) out[i + lane] = wide[lane];
  }
}

bool scan(const float* x, std::int64_t count, std::int64_t block, float* block_max) {
  unsigned bad = 0;
  for (std::int64_t at = 0; at < count; at += block) {
    const std::int64_t end = at + block < count ? at + block : count;
    F a = set(-__builtin_inff()), b = a, c = a, d = a;
    std::int64_t i = at;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
      const F p = load(x + i), q = load(x + i + 16), r = load(x + i + 32), s = load(x + i + 48);
      bad |= mask_bad(p) | mask_bad(q) | mask_bad(r) | mask_bad(s);
      a = max(a, p), b = max(b, q), c = max(c, r), d = max(d, s);
    }
    for (; i < end; i += kLanes) {
      const F p = load_lanes(x, i, end);
      bad |= mask_bad(p);
      a = max(a, p);
    }
    *block_max++ = max_lanes(max(max(a, b), max(c, d)));
  }
  return bad != 0;
}

std::int64_t sum_weights(const float* x, std::int64_t count, float max_, float scale_, std::uint64_t least,
                         std::uint64_t* sums) {
  const F max = set(max_), scale = set(scale_);
  std::int64_t survivors = 0;
  for (std::int64_t at = 0; at < count; at += kSumBlock) {
    const std::int64_t part = at + kSumBlock < count ? kSumBlock : count - at;
    std::uint64_t lanes[kLanes];
    store(lanes, least > 1 ? sum_block<false>(x + at, part, max, scale, least, survivors)
                           : sum_block<true>(x + at, part, max, scale, least, survivors));
    *sums = 0;
    for (int i = 0; i < kLanes; ++i) *sums += lanes[i];
    ++sums;
  }
  return survivors;
}

std::int64_t gather(const float* x, std::int64_t count, float floor, std::uint32_t first_id, std::uint32_t* ids,
                    float* values) {
  const F bound = set(floor);
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const F v = load_lanes(x, i, count);
    const unsigned mask = mask_ge(v, bound);
    if (mask != 0) found += write_lanes(v, mask, first_id + static_cast<std::uint32_t>(i), values + found, ids + found);
  }
  return found;
}

void weigh(const float* values, std::int64_t count, float max, float scale, std::uint64_t* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const U w = weights(load_lanes(values, i, count), set(max), set(scale));
    if (count - i >= kLanes) {
      store(out + i, w);
      continue;
    }
    std::uint64_t lanes[kLanes];
    store(lanes, w);
    for (std::int64_t lane = 0; lane < count - i; ++lane) out[i + lane] = lanes[lane];
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
