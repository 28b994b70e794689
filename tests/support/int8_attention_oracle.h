// Attention over an int8 cache on the CPU, in double precision with the roundings that src/cpu/kernels/attention_int8.cpp
// describes, and how far f32 numbers may lie from it. No code of a backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "support/attention_oracle.h"
#include "support/bf16_attention_oracle.h"

namespace warploom::test {

/// Whole numbers times a scale that `group` of them share.
struct WholeNumbers {
  std::vector<int> codes;
  std::vector<float> scales;

  WholeNumbers(const float* x, std::int64_t count, std::int64_t group) {
    for (std::int64_t from = 0; from < count; from += group) {
      const std::int64_t to = std::min(count, from + group);
      float largest = 0;
      for (std::int64_t i = from; i < to; ++i) largest = std::max(largest, std::abs(x[i]));
      scales.push_back(largest < 0x1p-101f ? 0.0f : largest / 127.0f);
      const float inverse = largest < 0x1p-101f ? 0.0f : 127.0f / largest;
      for (std::int64_t i = from; i < to; ++i) codes.push_back(static_cast<int>(std::nearbyint(x[i] * inverse)));
    }
  }
};

inline constexpr std::int64_t kInt8KeyGroup = 32;

/// The keys and values of a sequence, [tokens * kv_heads]. rows: after rope_append, [tokens, (heads + 2 kv_heads) * head_dim]
/// queries, keys and values.
struct Int8Tokens {
  const float* rows;
  std::vector<WholeNumbers> keys, values;

  Int8Tokens(const PagedCase& c, const float* first, std::int64_t tokens) : rows(first) {
    for (std::int64_t p = 0; p < tokens; ++p)
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        const float* key = rows + (p * (c.heads + 2 * c.kv_heads) + c.heads + h) * c.head_dim;
        keys.emplace_back(key, c.head_dim, kInt8KeyGroup);
        values.emplace_back(key + c.kv_heads * c.head_dim, c.head_dim, c.head_dim);
      }
  }
};

/// Attention of one token over its sequence, [heads * head_dim].
inline std::vector<Bounded> attend_in_int8(const PagedCase& c, const Int8Tokens& tokens, std::int64_t position) {
  // A rounding; the relative errors of the kernel's exponential and of two more when chunks merge.
  constexpr double kRound = 0x1p-24, kExp = 3e-6 + 2 * 2e-7;
  constexpr std::int64_t kChunk = 128, kGroup = kInt8KeyGroup;
  const std::int64_t width = (c.heads + 2 * c.kv_heads) * c.head_dim;
  const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  const auto cap = static_cast<double>(c.soft_cap), scale = static_cast<double>(c.scale());
  const auto groups = static_cast<double>((c.head_dim + kGroup - 1) / kGroup);
  std::vector<Bounded> out;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    const WholeNumbers query(tokens.rows + position * width + h * c.head_dim, c.head_dim, kGroup);
    std::vector<double> scores;
    const auto value_of = [&](std::size_t i) -> const WholeNumbers& {
      return tokens.values[(static_cast<std::size_t>(first) + i) * static_cast<std::size_t>(c.kv_heads) +
                           static_cast<std::size_t>(kv)];
    };
    double top = -INFINITY, error = 0;  // of a score
    for (std::int64_t p = first; p <= position; ++p) {
      const WholeNumbers& key = tokens.keys[static_cast<std::size_t>(p * c.kv_heads + kv)];
      double dot = 0, size = 0;
      for (std::size_t d = 0; d < key.codes.size(); ++d) {
        const double term = scale * static_cast<double>(query.scales[d / kGroup]) *
                            static_cast<double>(key.scales[d / kGroup]) * query.codes[d] * key.codes[d];
        dot += term, size += std::abs(term);
      }
      // Two roundings of the scales, one of the product or sum of each group.
      double score_error = (2 + groups) * kRound * size;
      if (cap > 0) dot = cap * std::tanh(dot / cap), score_error += 9 * kRound * cap;
      error = std::max(error, score_error);
      scores.push_back(dot);
      top = std::max(top, dot);
    }
    std::vector<double> sums(static_cast<std::size_t>(c.head_dim)), sizes(sums), steps(sums);
    double total = 0, lowest = 0;
    for (std::size_t from = 0; from < scores.size();) {
      // Chunks begin at multiples of 128.
      const std::int64_t at = first + static_cast<std::int64_t>(from), next = at / kChunk * kChunk + kChunk - first;
      const std::size_t to = std::min(scores.size(), static_cast<std::size_t>(next));
      double largest = 0;
      for (std::size_t i = from; i < to; ++i)
        largest = std::max(largest, std::exp(scores[i] - top) * static_cast<double>(value_of(i).scales[0]));
      for (std::size_t i = from; i < to; ++i) {
        const double probability = std::exp(scores[i] - top);
        const WholeNumbers& v = value_of(i);
        total += probability;
        lowest = std::min(lowest, scores[i] - top);
        for (std::size_t d = 0; d < sums.size(); ++d) {
          const double value = static_cast<double>(v.scales[0]) * v.codes[d];
          sums[d] += probability * value;
          sizes[d] += probability * std::abs(value);
          steps[d] += largest / 127 * (0.5 + 1e-3) * std::abs(v.codes[d]);
        }
      }
      from = to;
    }
    // Of a weight: its score and the maximum, exponentials, their arguments' products with log2(e), sums, products of scales.
    const double relative = 4 * error + kExp + kRound * (40 - 5 * lowest);
    for (std::size_t d = 0; d < sums.size(); ++d)
      out.push_back({sums[d] / total, (steps[d] + 2 * relative * sizes[d]) / total + 1e-37});
  }
  return out;
}

}  // namespace warploom::test
