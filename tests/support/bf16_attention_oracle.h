// Attention over a bf16 cache on the CPU, in double precision with the roundings to bf16 that src/cpu/kernels/attention_bf16.cpp
// describes, and how far f32 sums may lie from it. No code of a backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/half.h"
#include "support/attention_oracle.h"

namespace warploom::test {

/// To bf16; magnitudes below 2^-50 to 0.
inline float to_bf16(float x) {
  const float r = bfloat16_to_float(float_to_bfloat16(x));
  return std::abs(r) < 0x1p-50f ? 0.0f : r;
}
inline double to_bf16(double x) { return static_cast<double>(to_bf16(static_cast<float>(x))); }

struct Bounded {
  double value, tolerance;
};

/// Attention of one token over its sequence, [heads * head_dim]. rows: of the sequence after rope_append, [tokens, (heads + 2
/// kv_heads) * head_dim] queries, keys and values.
inline std::vector<Bounded> attend_in_bf16(const PagedCase& c, const float* rows, std::int64_t position) {
  constexpr double kRound = 0x1p-24, kExp = 2e-7;  // a rounding; the relative error of the kernels' exp()
  constexpr std::int64_t kChunk = 128;
  const std::int64_t width = (c.heads + 2 * c.kv_heads) * c.head_dim;
  const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  const auto cap = static_cast<double>(c.soft_cap), scale = static_cast<double>(c.scale());
  const auto number = [](float x) { return static_cast<double>(to_bf16(x)); };
  const auto dims = static_cast<std::size_t>(c.head_dim);
  struct Chunk {
    double max = -INFINITY, max_error = 0, sum = 0, sum_error = 0;
    std::vector<double> values, error;
  };
  std::vector<Bounded> out;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    const float* query = rows + position * width + h * c.head_dim;
    std::vector<Chunk> chunks;
    for (std::int64_t from = first; from <= position; from = from / kChunk * kChunk + kChunk) {
      const std::int64_t to = std::min(position + 1, from / kChunk * kChunk + kChunk);
      std::vector<Bounded> scores;
      Chunk chunk;
      chunk.values.resize(dims), chunk.error.resize(dims);
      for (std::int64_t p = from; p < to; ++p) {
        const float* key = rows + p * width + (c.heads + kv) * c.head_dim;
        double dot = 0, size = 0;
        for (std::int64_t d = 0; d < c.head_dim; ++d) {
          dot += number(query[d]) * number(key[d]);
          size += std::abs(number(query[d]) * number(key[d]));
        }
        // A term is rounded 16 times in its chain, once with the other chain, up to 8 times with the other groups, once when scaled.
        Bounded s{scale * dot, 26 * kRound * scale * size};
        if (cap > 0) s = {cap * std::tanh(s.value / cap), s.tolerance + 9 * kRound * cap};
        scores.push_back(s);
        chunk.max = std::max(chunk.max, s.value);
        chunk.max_error = std::max(chunk.max_error, s.tolerance);
      }
      for (std::int64_t p = from; p < to; ++p) {
        const Bounded& s = scores[static_cast<std::size_t>(p - from)];
        const double probability = std::exp(s.value - chunk.max);
        const double error = s.tolerance + chunk.max_error + kRound * (chunk.max - s.value) + kExp;
        // Where both ends of the interval round to the same number, so does what lies between.
        const double low = to_bf16(probability * (1 - error)), high = to_bf16(probability * (1 + error));
        const double weight = to_bf16(probability), flip = std::max(high - weight, weight - low);
        chunk.sum += probability;
        chunk.sum_error += probability * (error + 12 * kRound);  // 8 additions in a lane, 4 over the lanes
        const float* value = rows + p * width + (c.heads + c.kv_heads + kv) * c.head_dim;
        for (std::size_t d = 0; d < dims; ++d) {
          chunk.values[d] += weight * number(value[d]);
          // 16 roundings in a chain, one with the other chain, 4 with the other groups.
          chunk.error[d] += std::abs(number(value[d])) * (flip + 21 * kRound * weight);
        }
      }
      chunks.push_back(std::move(chunk));
    }
    double top = -INFINITY, top_error = 0;
    for (const Chunk& chunk : chunks) top = std::max(top, chunk.max), top_error = std::max(top_error, chunk.max_error);
    double total = 0, total_error = 0;
    std::vector<double> sums(dims), errors(dims);
    for (const Chunk& chunk : chunks) {
      const double factor = std::exp(chunk.max - top);
      const double merges = chunks.size() == 1 ? 0
                                               : static_cast<double>(chunks.size()) * (kExp + 3 * kRound) +
                                                     kRound * (top - chunk.max) + 2 * top_error;
      total += factor * chunk.sum;
      total_error += factor * (chunk.sum_error + merges * chunk.sum);
      for (std::size_t d = 0; d < dims; ++d) {
        sums[d] += factor * chunk.values[d];
        errors[d] += factor * (chunk.error[d] + merges * std::abs(chunk.values[d]));
      }
    }
    for (std::size_t d = 0; d < dims; ++d) {
      const double value = sums[d] / total;
      out.push_back(
          {value, 1.01 * ((errors[d] + std::abs(value) * total_error) / total + kRound * std::abs(value)) + 1e-37});
    }
  }
  return out;
}

}  // namespace warploom::test
