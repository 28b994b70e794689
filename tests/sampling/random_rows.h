// Rows of logits and parameters of every awkward kind, from a seeded generator.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <random>
#include <vector>

#include "warploom/sampling.h"

namespace warploom::test {

template <typename T>
T pick(std::mt19937_64& rng, std::initializer_list<T> values) {
  return *(values.begin() + static_cast<std::ptrdiff_t>(rng() % values.size()));
}

inline std::vector<float> random_logits(std::mt19937_64& rng, std::size_t vocab_size) {
  std::vector<float> y(vocab_size);
  std::normal_distribution<float> normal(0.0f, pick(rng, {0.01f, 1.0f, 3.0f, 20.0f}));
  const auto kind = rng() % 6;
  for (float& v : y) {
    v = normal(rng);
    if (kind == 0) v = std::round(v);  // ties
    if (kind == 1) v = 2.5f;           // all equal
    if (kind == 2 && rng() % 3 == 0) v = -INFINITY;
    if (kind == 3) v = rng() % 2 ? 0.0f : -0.0f;
    if (kind == 4) v *= 1e30f;  // differences overflow
  }
  if (rng() % 40 == 0) y[rng() % vocab_size] = NAN;
  if (rng() % 40 == 0) y[rng() % vocab_size] = INFINITY;
  if (rng() % 60 == 0) std::fill(y.begin(), y.end(), -INFINITY);
  return y;
}

/// Bit masks of allowed tokens, (vocab_size + 31) / 32 words a row.
inline std::vector<std::uint32_t> random_masks(std::mt19937_64& rng, std::size_t rows, std::size_t vocab_size) {
  std::vector<std::uint32_t> masks(rows * ((vocab_size + 31) / 32));
  const auto kind = rng() % 3;
  for (std::uint32_t& word : masks)
    word = static_cast<std::uint32_t>(kind == 0   ? rng()
                                      : kind == 1 ? rng() & rng() & rng()
                                                  : ~(rng() & rng() & rng() & rng()));
  return masks;
}

inline SamplingParams random_params(std::mt19937_64& rng, std::size_t vocab_size) {
  SamplingParams p;
  p.temperature = pick(rng, {0.0f, 1e-40f, 1e-3f, 0.1f, 0.7f, 1.0f, 2.0f, 100.0f, 3e38f});
  p.top_k = pick<std::int64_t>(rng, {0, 0, 1, 2, 50, static_cast<std::int64_t>(vocab_size) / 2,
                                     static_cast<std::int64_t>(vocab_size), static_cast<std::int64_t>(vocab_size) + 7});
  p.top_p = pick(rng, {1.0f, 1.0f, 0.9f, 0.5f, 1e-12f, 0.9999999f, 0.001f, 5.0f});
  p.min_p = pick(rng, {0.0f, 0.0f, 0.05f, 0.5f, 1.0f, 1e-13f});
  p.seed = pick<std::uint64_t>(rng, {0, 1, ~std::uint64_t{0}, rng()});
  if (rng() % 4 == 0) p.repetition_penalty = pick(rng, {0.5f, 1.3f});
  if (rng() % 4 == 0) p.frequency_penalty = pick(rng, {-0.5f, 0.7f});
  if (rng() % 4 == 0) p.presence_penalty = pick(rng, {-0.5f, 0.7f});
  return p;
}

}  // namespace warploom::test
