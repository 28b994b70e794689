// The sampling contract written down as slowly and plainly as possible: a full sort, 128-bit integers, double where the
// contract has exact products. Shares no code with the library.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "warploom/sampling.h"

namespace warploom::test {

inline std::uint64_t oracle_weight(float x, float m, float temperature) {
  float s = static_cast<float>(1.4426950408889634 / static_cast<double>(temperature));
  if (std::isinf(s)) s = std::numeric_limits<float>::max();
  const volatile float difference = x - m;
  const volatile float t = difference * s;
  if (t < -64.0f) return 0;
  const float n = std::nearbyint(t);
  const float f = t - n;
  const float c[] = {0x1.417ca6p-13f, 0x1.5f0946p-10f, 0x1.3b2dd0p-7f, 0x1.c6af7ap-5f, 0x1.ebfbdcp-3f, 0x1.62e430p-1f, 1.0f};
  float q = c[0];
  for (int i = 1; i < 7; ++i) q = std::fma(q, f, c[i]);
  const auto fixed = static_cast<std::uint64_t>(std::ldexp(static_cast<double>(q), 24));
  const int shift = 16 + static_cast<int>(n);
  return shift >= 0 ? fixed << shift : -shift < 64 ? fixed >> -shift : 0;
}

// Philox4x32-10 from the paper's description.
inline std::uint64_t oracle_random(std::uint64_t seed, std::uint64_t position, std::uint32_t subsequence) {
  std::uint32_t x[4] = {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32), subsequence, 0};
  std::uint32_t k[2] = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      k[0] += 0x9E3779B9u;
      k[1] += 0xBB67AE85u;
    }
    const std::uint64_t p0 = 0xD2511F53ull * x[0], p1 = 0xCD9E8D57ull * x[2];
    const std::uint32_t y[4] = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k[0], static_cast<std::uint32_t>(p1),
                                static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    std::copy(y, y + 4, x);
  }
  return (static_cast<std::uint64_t>(x[1]) << 32) | x[0];
}

struct OracleResult {
  SampleStatus status = SampleStatus::ok;
  TokenId token = -1;
  TokenId argmax = -1;
  std::uint64_t total_weight = 0;
  std::vector<TokenId> kept;  // ascending
  std::vector<float> logits;  // after penalties, bias and mask
};

inline OracleResult oracle(std::vector<float> y, const SamplingInput& row) {
  const SamplingParams& p = row.params;
  OracleResult result;
  const auto bad = [](float v) { return std::isnan(v) || v == INFINITY; };
  bool invalid = std::any_of(y.begin(), y.end(), bad);
  std::map<TokenId, int> counts;
  for (std::size_t i = 0; i < row.history.size(); ++i)
    counts[row.history[i]] += static_cast<std::int64_t>(i) >= row.count_begin ? 1 : 0;
  for (const auto& [token, count] : counts) {
    float& v = y[static_cast<std::size_t>(token)];
    if (p.repetition_penalty != 1.0f) v = v > 0 ? v / p.repetition_penalty : v * p.repetition_penalty;
    if (count == 0) continue;
    if (p.frequency_penalty != 0.0f) {
      const volatile float amount = p.frequency_penalty * static_cast<float>(count);
      v = v - amount;
    }
    if (p.presence_penalty != 0.0f) v = v - p.presence_penalty;
  }
  for (const LogitBias& b : row.bias) y[static_cast<std::size_t>(b.token)] += b.bias;
  for (std::size_t t = 0; !row.allowed.empty() && t < y.size(); ++t)
    if ((row.allowed[t / 32] >> (t % 32) & 1u) == 0) y[t] = -INFINITY;
  invalid = invalid || std::any_of(y.begin(), y.end(), bad);
  result.logits = y;
  if (invalid) {
    result.status = SampleStatus::invalid_logits;
    return result;
  }
  std::vector<TokenId> order;
  for (std::size_t i = 0; i < y.size(); ++i)
    if (y[i] != -INFINITY) order.push_back(static_cast<TokenId>(i));
  if (order.empty()) {
    result.status = SampleStatus::all_masked;
    return result;
  }
  const auto at = [&](TokenId t) { return y[static_cast<std::size_t>(t)]; };
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return at(a) > at(b); });
  result.argmax = order[0];
  if (p.temperature == 0.0f) {
    result.token = order[0];
    result.kept = {order[0]};
    result.total_weight = std::uint64_t{1} << 40;
    return result;
  }
  const float m = at(order[0]);
  const auto weight = [&](TokenId t) { return oracle_weight(at(t), m, p.temperature); };
  if (p.top_k > 0 && p.top_k < static_cast<std::int64_t>(order.size())) order.resize(static_cast<std::size_t>(p.top_k));
  if (p.top_p < 1.0f) {
    unsigned __int128 total = 0;
    for (const TokenId t : order) total += weight(t);
    unsigned __int128 p32 =
        static_cast<unsigned __int128>(std::max(1ll, std::llrint(static_cast<double>(p.top_p) * 4294967296.0)));
    unsigned __int128 threshold = p32 * total / 4294967296u;
    if (p32 * total % 4294967296u != 0) ++threshold;
    unsigned __int128 sum = 0;
    std::size_t keep = 0;
    while (keep < order.size() && (keep == 0 || sum < threshold)) sum += weight(order[keep++]);
    order.resize(keep);
  }
  const double least = p.min_p > 0 ? std::ceil(static_cast<double>(p.min_p) * 1099511627776.0) : 1.0;
  std::erase_if(order, [&](TokenId t) { return static_cast<double>(weight(t)) < std::max(least, 1.0); });
  std::sort(order.begin(), order.end());
  result.kept = order;
  for (const TokenId t : order) result.total_weight += weight(t);
  const auto r = static_cast<std::uint64_t>(
      (static_cast<unsigned __int128>(oracle_random(p.seed, row.position, row.subsequence)) * result.total_weight) >> 64);
  std::uint64_t sum = 0;
  for (const TokenId t : order) {
    sum += weight(t);
    if (sum > r) {
      result.token = t;
      break;
    }
  }
  return result;
}

}  // namespace warploom::test
