// The contract's cases, read from tests/data, and what is expected of them.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/half.h"
#include "warploom/sampling.h"

namespace warploom::test {

inline float decimal(const nlohmann::json& value) {
  if (value.is_number()) return value.get<float>();
  return std::strtof(value.get<std::string>().c_str(), nullptr);
}

struct VectorCase {
  std::string id;
  DType type = DType::f32;
  std::vector<float> wide;            // the logits as f32
  std::vector<std::uint16_t> narrow;  // the same, where the type is narrow
  std::vector<TokenId> history;
  std::vector<LogitBias> bias;
  std::vector<std::uint32_t> allowed;
  SamplingInput row;
  nlohmann::json expect;

  const void* data() const { return type == DType::f32 ? static_cast<const void*>(wide.data()) : narrow.data(); }
};

inline std::uint64_t finalise(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

inline void make_logits(const nlohmann::json& spec, std::size_t vocab_size, VectorCase& c) {
  const auto seed = spec["seed"].get<std::uint64_t>();
  const auto scale = spec["scale"].get<float>();
  const auto levels = spec["levels"].get<std::uint64_t>();
  const std::string dtype = spec["dtype"];
  c.type = dtype == "f16" ? DType::f16 : dtype == "bf16" ? DType::bf16 : DType::f32;
  for (std::uint64_t i = 0; i < vocab_size; ++i) {
    std::uint64_t u = finalise(seed + (i + 1) * 0x9E3779B97F4A7C15ull) >> 40;
    if (levels > 0) u -= u % ((std::uint64_t{1} << 24) / levels);
    const float v = static_cast<float>(static_cast<std::int64_t>(u) - (1 << 23)) * 0x1p-23f;
    const float square = v * v;
    const float y = spec["shape"] == "cubic" ? square * v : v;
    c.wide.push_back(y * scale);
  }
}

inline void round_logits(VectorCase& c) {
  if (c.type == DType::f32) return;
  for (const float y : c.wide) c.narrow.push_back(c.type == DType::f16 ? float_to_half(y) : float_to_bfloat16(y));
}

// Bits beyond the vocabulary are set: they mean nothing.
inline std::vector<std::uint32_t> make_mask(const nlohmann::json& spec, std::size_t vocab_size) {
  const auto seed = spec["seed"].get<std::uint64_t>(), below = spec["below"].get<std::uint64_t>();
  std::vector<std::uint32_t> words((vocab_size + 31) / 32, ~0u);
  const auto put = [&](std::size_t token, bool allowed) {
    const std::uint32_t bit = 1u << (token % 32);
    words[token / 32] = allowed ? words[token / 32] | bit : words[token / 32] & ~bit;
  };
  for (std::size_t t = 0; t < vocab_size; ++t) put(t, finalise(seed + (t + 1) * 0x9E3779B97F4A7C15ull) >> 56 < below);
  for (const auto& token : spec["clear"]) put(token.get<std::size_t>(), false);
  for (const auto& token : spec["set"]) put(token.get<std::size_t>(), true);
  return words;
}

/// "sampling_vectors.json", "mask_vectors.json", or "count_vectors.json".
inline std::vector<VectorCase> load_vector_cases(const std::string& name = "sampling_vectors.json") {
  std::ifstream file(std::string(WARPLOOM_TEST_DATA) + "/" + name);
  std::vector<VectorCase> cases;
  for (const auto& j : nlohmann::json::parse(file)) {
    VectorCase& c = cases.emplace_back();
    c.id = j["id"];
    make_logits(j["logits"], j["vocab"].get<std::size_t>(), c);
    for (const auto& o : j["override"]) c.wide[o[0].get<std::size_t>()] = decimal(o[1]);
    round_logits(c);
    c.history = j["history"].get<std::vector<TokenId>>();
    for (const auto& b : j["bias"]) c.bias.push_back({b[0].get<TokenId>(), decimal(b[1])});
    if (j.contains("mask")) c.allowed = make_mask(j["mask"], c.wide.size());
    SamplingParams& p = c.row.params;
    p.temperature = decimal(j["temperature"]);
    p.top_k = j["top_k"].get<std::int64_t>();
    p.top_p = decimal(j["top_p"]);
    p.min_p = decimal(j["min_p"]);
    p.repetition_penalty = decimal(j["repetition_penalty"]);
    p.frequency_penalty = decimal(j["frequency_penalty"]);
    p.presence_penalty = decimal(j["presence_penalty"]);
    p.seed = std::stoull(j["seed"].get<std::string>());
    c.row.position = j["position"].get<std::uint64_t>();
    c.row.subsequence = j["stream"].get<std::uint32_t>();
    c.row.count_begin = j.value("count_begin", std::int64_t{0});
    c.expect = j["expect"];
  }
  for (VectorCase& c : cases) {
    c.row.history = c.history;
    c.row.bias = c.bias;
    c.row.allowed = c.allowed;
  }
  return cases;
}

inline const char* status_name(SampleStatus status) {
  return status == SampleStatus::ok ? "ok" : status == SampleStatus::invalid_logits ? "invalid_logits" : "all_masked";
}

inline void expect_vector_case(const VectorCase& c, const SampleResult& got) {
  EXPECT_EQ(status_name(got.status), c.expect["status"].get<std::string>()) << c.id;
  EXPECT_EQ(got.token, c.expect["token"].get<TokenId>()) << c.id;
  if (got.status != SampleStatus::ok) return;
  EXPECT_EQ(got.argmax, c.expect["argmax"].get<TokenId>()) << c.id;
  EXPECT_EQ(got.num_kept, c.expect["survivors"].get<std::int64_t>()) << c.id;
  EXPECT_EQ(std::to_string(got.total_weight), c.expect["total_weight"].get<std::string>()) << c.id;
}

}  // namespace warploom::test
