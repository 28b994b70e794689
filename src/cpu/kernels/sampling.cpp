#include "cpu/kernels/sampling.h"

#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

// sampling::weight of core/sampling_math.h, 16 at a time, before it is cut to a whole number: 2^40 times 2^t. The polynomial
// has that factor in its coefficients, which changes no rounding.
WARPLOOM_INLINE F weights(F x, F max_, F scale) {
  // From -64 on a weight is below 1 and so cut to 0, as it must be; bounded, it is no subnormal.
  const F t = max(mul(sub(x, max_), scale), set(-100.0f));
  const F n = round_even(t);
  const F f = sub(t, n);
  F q = set(0x1.417ca6p27f);
  q = fma(q, f, set(0x1.5f0946p30f));
  q = fma(q, f, set(0x1.3b2dd0p33f));
  q = fma(q, f, set(0x1.c6af7ap35f));
  q = fma(q, f, set(0x1.ebfbdcp37f));
  q = fma(q, f, set(0x1.62e430p39f));
  q = fma(q, f, set(0x1p40f));
  return scale_by(q, n);
}

// Lanes [at, at + 16) of count, -inf behind the end.
WARPLOOM_INLINE F load_lanes(const float* x, std::int64_t at, std::int64_t count) {
  return count - at >= kLanes ? load(x + at) : load_part(x + at, static_cast<int>(count - at));
}

// Sum of the weights that reach `least`; adds to num_kept. If all but 0 do (kAll), nothing need be taken out.
template <bool kAll>
WARPLOOM_INLINE U sum_block(const float* x, std::int64_t count, F max, F scale, std::uint64_t least,
                            std::int64_t& num_kept) {
  U sum = zero_wide();
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const F v = weights(load_lanes(x, i, count), max, scale);
    if constexpr (kAll) {
      num_kept += __builtin_popcount(mask_ge(v, set(1.0f)));
      sum = add(sum, truncate(v));
    } else {
      const U w = at_least(truncate(v), least);
      num_kept += count_nonzero(w);
      sum = add(sum, w);
    }
  }
  return sum;
}

WARPLOOM_INLINE std::uint64_t sum_wide(U x) {
  std::uint64_t lanes[kLanes], sum = 0;
  store(lanes, x);
  for (const std::uint64_t lane : lanes) sum += lane;
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

void mask(float* x, std::int64_t count, const std::uint32_t* allowed) {
  const float masked = -__builtin_inff();
  std::int64_t at = 0;
  for (; at + 32 <= count; at += 32) {
    const std::uint32_t word = *allowed++;
    for (int i = 0; i < 32; ++i) x[at + i] = word >> i & 1u ? x[at + i] : masked;
  }
  for (int i = 0; at + i < count; ++i) x[at + i] = *allowed >> i & 1u ? x[at + i] : masked;
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
  std::int64_t num_kept = 0;
  for (std::int64_t at = 0; at < count; at += kSumBlock) {
    const std::int64_t part = at + kSumBlock < count ? kSumBlock : count - at;
    *sums++ = sum_wide(least > 1 ? sum_block<false>(x + at, part, max, scale, least, num_kept)
                                 : sum_block<true>(x + at, part, max, scale, least, num_kept));
  }
  return num_kept;
}

std::int64_t gather(const float* x, std::int64_t count, float floor, std::uint32_t first_id, std::uint32_t* ids,
                    float* values) {
  const F bound = set(floor);
  std::int64_t found = 0;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const F v = load_lanes(x, i, count);
    const unsigned mask = mask_ge(v, bound);
    if (mask != 0)
      found += write_lanes(v, count_from(first_id + static_cast<std::uint32_t>(i)), mask, values + found, ids + found);
  }
  return found;
}

std::int64_t gather_and_sum(const float* x, std::int64_t count, float max_, float scale_, float floor, std::uint32_t* ids,
                            float* values, std::uint64_t* total) {
  const F max = set(max_), scale = set(scale_), bound = set(floor);
  U sum = zero_wide();
  std::int64_t found = 0, i = 0;
  // Four at a time, so that the branch is nearly always taken or nearly never.
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    const F v[4] = {load(x + i), load(x + i + 16), load(x + i + 32), load(x + i + 48)};
    unsigned masks[4], any = 0;
    for (int k = 0; k < 4; ++k) {
      any |= masks[k] = mask_ge(v[k], bound);
      sum = add(sum, truncate(weights(v[k], max, scale)));
    }
    if (any == 0) continue;
    for (int k = 0; k < 4; ++k)
      found +=
          write_lanes(v[k], count_from(static_cast<std::uint32_t>(i + k * kLanes)), masks[k], values + found, ids + found);
  }
  for (; i < count; i += kLanes) {
    const F v = load_lanes(x, i, count);
    sum = add(sum, truncate(weights(v, max, scale)));
    found += write_lanes(v, count_from(static_cast<std::uint32_t>(i)), mask_ge(v, bound), values + found, ids + found);
  }
  *total = sum_wide(sum);
  return found;
}

std::int64_t keep(float* values, std::uint32_t* ids, std::int64_t count, float least, std::uint32_t last_id) {
  // Ids are below 2^22, and so exact as floats.
  const F bound = set(least), last = set(static_cast<float>(last_id));
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const F v = load_lanes(values, i, count);
    const I id = load(ids + i);
    const unsigned reach = mask_ge(v, bound), equal = reach & mask_ge(bound, v);
    kept += write_lanes(v, id, reach & ~(equal & ~mask_ge(last, to_float(id))), values + kept, ids + kept);
  }
  return kept;
}

void weigh(const float* values, std::int64_t count, float max, float scale, std::uint64_t* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const U w = truncate(weights(load_lanes(values, i, count), set(max), set(scale)));
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
