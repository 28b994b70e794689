// Attention over a KV cache, and rotary position embedding, in double precision: the formulas of src/backend/ops.h, and no code
// of a backend.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "warploom/types.h"

namespace warploom::test {

/// Sequences in a paged KV cache.
struct PagedCase {
  std::int64_t heads = 4, kv_heads = 2, head_dim = 64;
  DType type = DType::f16;            // of keys and values
  std::vector<std::int64_t> lengths;  // tokens of each sequence
  std::int64_t block_size = 16;
  std::int64_t window = 0;
  float soft_cap = 0.0f;
  float softmax_scale = 0.0f;  // 0: one over the root of head_dim
  bool round_to_bf16 = false;  // PagedAttentionArgs::round_to_bf16, of which the oracle knows nothing

  float scale() const { return softmax_scale > 0.0f ? softmax_scale : 1.0f / std::sqrt(static_cast<float>(head_dim)); }
};

/// Rotated queries, and keys and values as the cache holds them: [sequence][position * heads * head_dim ...].
template <typename T>
struct PagedTokens {
  std::vector<std::vector<T>> queries, keys, values;
};

/// Results of a token, [heads * head_dim]. bound: how far they may be off if each element of the query and each probability before
/// the division by their sum is off by at most `rounding` of itself. If that changes scores by at most e, probabilities relative to
/// one another change by factors of at most f = exp(2 e) (1 + rounding) / (1 - rounding), and a result by (f - 1) sum p |v - result|.
struct ExactAttention {
  std::vector<double> value, bound;
};
template <typename T>
ExactAttention attend_within(const PagedCase& c, const PagedTokens<T>& tokens, std::size_t sequence, std::int64_t position,
                             double rounding) {
  const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  const auto cap = static_cast<double>(c.soft_cap), scale = static_cast<double>(c.scale());
  const auto dims = static_cast<std::size_t>(c.head_dim);
  ExactAttention out;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    const T* query = tokens.queries[sequence].data() + (position * c.heads + h) * c.head_dim;
    const auto row = [&](const std::vector<std::vector<T>>& of, std::int64_t p) {
      return of[sequence].data() + (p * c.kv_heads + kv) * c.head_dim;
    };
    std::vector<double> weights;
    double error = 0.0;  // of a score; the cap makes none larger
    for (std::int64_t p = first; p <= position; ++p) {
      double dot = 0.0, magnitude = 0.0;
      for (std::size_t d = 0; d < dims; ++d) {
        const double term = static_cast<double>(query[d]) * static_cast<double>(row(tokens.keys, p)[d]);
        dot += term, magnitude += std::abs(term);
      }
      dot *= scale;
      error = std::max(error, rounding * magnitude * scale);
      weights.push_back(cap > 0.0 ? cap * std::tanh(dot / cap) : dot);
    }
    const double max = *std::max_element(weights.begin(), weights.end());
    double total = 0.0;
    for (double& weight : weights) total += weight = std::exp(weight - max);
    const double factor = std::exp(2 * error) * (1 + rounding) / (1 - rounding);
    for (std::size_t d = 0; d < dims; ++d) {
      double sum = 0.0, spread = 0.0;
      const auto value = [&](std::size_t i) {
        return static_cast<double>(row(tokens.values, first + static_cast<std::int64_t>(i))[d]);
      };
      for (std::size_t i = 0; i < weights.size(); ++i) sum += weights[i] / total * value(i);
      for (std::size_t i = 0; i < weights.size(); ++i) spread += weights[i] / total * std::abs(value(i) - sum);
      out.value.push_back(sum);
      out.bound.push_back((factor - 1) * spread);
    }
  }
  return out;
}

/// Attention of one token over its sequence, [heads * head_dim].
template <typename T>
std::vector<double> attend_exactly(const PagedCase& c, const PagedTokens<T>& tokens, std::size_t sequence,
                                   std::int64_t position) {
  return attend_within(c, tokens, sequence, position, 0.0).value;
}

/// Rotates the first 2 * frequencies.size() dimensions of a head. frequencies: radians per position.
inline void rotate_exactly(double* head, const std::vector<double>& frequencies, bool interleaved, double mscale,
                           std::int64_t position) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double& a = head[interleaved ? 2 * i : i];
    double& b = head[interleaved ? 2 * i + 1 : i + frequencies.size()];
    const double angle = static_cast<double>(position) * frequencies[i], x = a, y = b;
    a = mscale * (x * std::cos(angle) - y * std::sin(angle));
    b = mscale * (x * std::sin(angle) + y * std::cos(angle));
  }
}

}  // namespace warploom::test
