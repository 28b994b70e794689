// What the emulator counts of one call of sampling at the size of a real vocabulary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "warploom/sampling.h"

namespace warploom::test {

struct TrafficCase {
  std::string strategy;  // "temperature", "top-k 50", "top-p 0.9", "top-k 50 + top-p 0.9"
  SamplingParams params;
  bool peaked = true;  // normal(0, 4) logits, else normal(0, 0.5), of which top-p 0.9 keeps some 74%
  DType type = DType::f32;
  std::int64_t rows = 1;
};

struct Traffic {
  WarploomCounters counters;
  double logit_bytes = 0;           // of all rows
  double a100_us = 0, h100_us = 0;  // modelled
  double read() const { return 32.0 * static_cast<double>(counters.distinct_sectors_read) / logit_bytes; }
  double asked() const { return 32.0 * static_cast<double>(counters.sectors_read) / logit_bytes; }
  double written() const { return 32.0 * static_cast<double>(counters.distinct_sectors_written) / logit_bytes; }
};

inline constexpr std::int64_t kTrafficVocab = 128256;

/// All strategies on peaked and flat rows of both types.
std::vector<TrafficCase> traffic_cases(std::int64_t rows);

enum class TrafficOf { sample, full_sort };

/// Of all kernels of cuda::sample() or test::full_sort_sample(). Empty where the runtime counts nothing, as on a GPU.
std::optional<Traffic> measure_traffic(const TrafficCase& c, TrafficOf what = TrafficOf::sample);

}  // namespace warploom::test
