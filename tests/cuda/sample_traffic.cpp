#include "cuda/sample_traffic.h"

#include <random>

#include "core/half.h"
#include "cuda/device_sampling.h"
#include "cuda/full_sort.h"

namespace warploom::test {

namespace {

std::vector<float> normal_row(double deviation, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> normal(0.0f, static_cast<float>(deviation));
  std::vector<float> row(static_cast<std::size_t>(kTrafficVocab));
  for (float& y : row) y = normal(rng);
  return row;
}

double modelled_us(const char* gpu) {
  WarploomModelledTime time{};
  return warploom_emulator_modelled("", gpu, &time) > 0 ? 1e6 * time.total : 0.0;
}

void sort_on_device(const LogitsView& logits, const SamplingParams& params) {
  const auto rows = static_cast<std::size_t>(logits.rows);
  const DeviceArray<std::byte> values(
      {static_cast<const std::byte*>(logits.data),
       rows * static_cast<std::size_t>(logits.vocab_size) * (logits.type == DType::f32 ? 4 : 2)});
  const DeviceArray<float> temperature(std::vector<float>(rows, params.temperature)),
      top_p(std::vector<float>(rows, params.top_p));
  const DeviceArray<std::int32_t> top_k(std::vector<std::int32_t>(rows, static_cast<std::int32_t>(params.top_k)));
  const DeviceArray<TokenId> token(std::vector<TokenId>(rows, -1));
  SampleArgs a;
  a.logits = values.data();
  a.type = logits.type;
  a.rows = logits.rows;
  a.vocab_size = a.row_stride = logits.vocab_size;
  a.temperature = temperature.data();
  a.top_k = top_k.data();
  a.top_p = top_p.data();
  a.token = token.data();
  full_sort_sample(a);
}

}  // namespace

std::vector<TrafficCase> traffic_cases(std::int64_t rows) {
  std::vector<TrafficCase> cases;
  SamplingParams temperature, top_k, top_p, both;
  temperature.temperature = top_k.temperature = top_p.temperature = both.temperature = 0.8f;
  top_k.top_k = both.top_k = 50;
  top_p.top_p = both.top_p = 0.9f;
  for (const auto& [name, params] :
       {std::pair{"temperature", temperature}, {"top-k 50", top_k}, {"top-p 0.9", top_p}, {"top-k 50 + top-p 0.9", both}})
    for (const bool peaked : {true, false})
      for (const DType type : {DType::f32, DType::bf16}) cases.push_back({name, params, peaked, type, rows});
  return cases;
}

std::optional<Traffic> measure_traffic(const TrafficCase& c, TrafficOf what) {
  if (warploom_emulator_count == nullptr) return std::nullopt;
  const auto rows = static_cast<std::size_t>(c.rows), vocab_size = static_cast<std::size_t>(kTrafficVocab);
  std::vector<float> wide;
  std::vector<std::uint16_t> narrow;
  std::vector<SamplingInput> params(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = normal_row(c.peaked ? 4.0 : 0.5, r % 8);
    for (const float y : row) c.type == DType::f32 ? wide.push_back(y) : narrow.push_back(float_to_bfloat16(y));
    params[r].params = c.params;
    params[r].position = r;
  }
  const void* data = c.type == DType::f32 ? static_cast<const void*>(wide.data()) : narrow.data();
  Traffic traffic;
  traffic.logit_bytes = static_cast<double>(rows * vocab_size) * (c.type == DType::f32 ? 4 : 2);
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  const LogitsView logits{data, c.type, c.rows, kTrafficVocab, kTrafficVocab};
  if (what == TrafficOf::sample) {
    sample_on_device(logits, params, 0, {});
  } else {
    sort_on_device(logits, c.params);
  }
  warploom_emulator_count(0);
  warploom_emulator_counters("", &traffic.counters);
  traffic.a100_us = modelled_us("a100");
  traffic.h100_us = modelled_us("h100");
  return traffic;
}

}  // namespace warploom::test
