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

  float scale() const { return softmax_scale > 0.0f ? softmax_scale : 1.0f / std::sqrt(static_cast<float>(head_dim)); }
};

/// Rotated queries, and keys and values as the cache holds them: [sequence][position * heads * head_dim ...].
template <typename T>
struct PagedTokens {
  std::vector<std::vector<T>> queries, keys, values;
};

/// Attention of one token over its sequence, [heads * head_dim].
template <typename T>
std::vector<double> attend_exactly(const PagedCase& c, const PagedTokens<T>& tokens, std::size_t sequence,
                                   std::int64_t position) {
  const std::int64_t first = c.window > 0 ? std::max<std::int64_t>(0, position - c.window + 1) : 0;
  const auto cap = static_cast<double>(c.soft_cap);
  std::vector<double> out;
  for (std::int64_t h = 0; h < c.heads; ++h) {
    const std::int64_t kv = h / (c.heads / c.kv_heads);
    const T* query = tokens.queries[sequence].data() + (position * c.heads + h) * c.head_dim;
    std::vector<double> scores;
    for (std::int64_t p = first; p <= position; ++p) {
      const T* key = tokens.keys[sequence].data() + (p * c.kv_heads + kv) * c.head_dim;
      double dot = 0.0;
      for (std::int64_t d = 0; d < c.head_dim; ++d) dot += static_cast<double>(query[d]) * static_cast<double>(key[d]);
      dot *= static_cast<double>(c.scale());
      scores.push_back(cap > 0.0 ? cap * std::tanh(dot / cap) : dot);
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    std::vector<double> sum(static_cast<std::size_t>(c.head_dim), 0.0);
    double total = 0.0;
    for (std::int64_t p = first; p <= position; ++p) {
      const double weight = std::exp(scores[static_cast<std::size_t>(p - first)] - max);
      const T* value = tokens.values[sequence].data() + (p * c.kv_heads + kv) * c.head_dim;
      total += weight;
      for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += weight * static_cast<double>(value[d]);
    }
    for (const double v : sum) out.push_back(v / total);
  }
  return out;
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
