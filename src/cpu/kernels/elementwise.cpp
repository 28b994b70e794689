#include "cpu/kernels/elementwise.h"

#include "cpu/kernels/code_scale.h"
#include "cpu/simd.h"

namespace warploom::cpu::WARPLOOM_ISA {
namespace {

// Load and store the first `count` (<= 16) elements at p; missing lanes are 0.
WARPLOOM_INLINE F part(const float* p, int count) {
  if (count == kLanes) return load(p);
  float padded[kLanes] = {};
  for (int i = 0; i < count; ++i) padded[i] = p[i];
  return load(padded);
}
WARPLOOM_INLINE void put(float* p, F a, int count) {
  if (count == kLanes) return store(p, a);
  float padded[kLanes];
  store(padded, a);
  for (int i = 0; i < count; ++i) p[i] = padded[i];
}
WARPLOOM_INLINE int width(std::int64_t left) { return left < kLanes ? static_cast<int>(left) : kLanes; }

}  // namespace

void rms_norm_row(float* residual, const float* delta, const float* weight, std::int64_t dim, float epsilon, float* out) {
  F squares = zero();
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const int n = width(dim - i);
    F x = part(residual + i, n);
    if (delta) {
      x = add(x, part(delta + i, n));
      put(residual + i, x, n);
    }
    squares = fma(x, x, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(dim);
  const F inverse = set(1.0f / __builtin_sqrtf(mean + epsilon));
  for (std::int64_t i = 0; i < dim; i += kLanes) {
    const int n = width(dim - i);
    put(out + i, mul(mul(part(residual + i, n), inverse), part(weight + i, n)), n);
  }
}

void rotate_row(const float* x, const float* table, std::int64_t dims, bool interleaved, float* out) {
  const float* partner_table = table + dims;
  if (interleaved) {
    for (std::int64_t i = 0; i < dims; i += 2) {
      out[i] = x[i] * table[i] + x[i + 1] * partner_table[i];
      out[i + 1] = x[i + 1] * table[i + 1] + x[i] * partner_table[i + 1];
    }
    return;
  }
  const std::int64_t half = dims / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    out[i] = x[i] * table[i] + x[i + half] * partner_table[i];
    out[i + half] = x[i + half] * table[i + half] + x[i] * partner_table[i + half];
  }
}

void narrow_row(const float* x, std::int64_t count, std::uint16_t* out) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store_f16(out + i, load(x + i));
  if (i == count) return;
  std::uint16_t padded[kLanes];
  store_f16(padded, part(x + i, width(count - i)));
  for (int j = 0; i < count; ++i, ++j) out[i] = padded[j];
}

void round_bf16_row(const float* x, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const int n = width(count - i);
    put(out + i, round_bf16(part(x + i, n)), n);
  }
}

void quantise_head(const float* x, std::int64_t count, std::int64_t group, Int8Head* out) {
  for (std::int64_t from = 0, g = 0; from < count; from += group, ++g) {
    const std::int64_t to = from + group < count ? from + group : count;
    I top = set_int(0), sum = set_int(0);
    for (std::int64_t i = from; i < to; i += kLanes) top = max(top, magnitude_bits(part(x + i, width(to - i))));
    const CodeScale scale(max_lanes(top), 127.0f);
    for (std::int64_t i = from; i < to; i += kLanes) {
      const I codes = scale.codes(part(x + i, width(to - i)));
      store_s8(out->codes + i, codes);
      sum = add(sum, codes);
    }
    out->scales[g] = scale.step;
    out->sums[g] = sum_lanes(sum);
  }
}

void swiglu_row(const float* gate, const float* up, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const int n = width(count - i);
    const F g = part(gate + i, n);
    const F sigmoid_inverse = add(set(1.0f), exp(mul(g, set(-1.0f))));
    put(out + i, mul(div(g, sigmoid_inverse), part(up + i, n)), n);
  }
}

void scale_row(float* values, float divisor, int count) {
  const F d = set(divisor);
  for (int i = 0; i < count; i += kLanes) {
    const int n = width(count - i);
    put(values + i, div(part(values + i, n), d), n);
  }
}

}  // namespace warploom::cpu::WARPLOOM_ISA
