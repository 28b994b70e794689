#include "warploom/engine_stats.h"

#include <algorithm>
#include <utility>

namespace warploom {

namespace {

// Bounds as vLLM has them, so that its dashboards fit.
std::vector<double> latency_bounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,  0.75,
          1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0};
}
std::vector<double> token_bounds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0};
}
std::vector<double> request_bounds() {
  return {0.3,  0.5,  0.8,  1.0,  1.5,  2.0,   2.5,   5.0,   10.0,  15.0,
          20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0};
}
std::vector<double> length_bounds() {
  return {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
}
std::vector<double> size_bounds() { return {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}; }

}  // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::add(double value) {
  ++counts_[static_cast<std::size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin())];
  ++count_;
  sum_ += value;
}

double Histogram::quantile(double q) const {
  if (count_ == 0 || bounds_.empty()) return 0.0;
  const double rank = q * static_cast<double>(count_);
  double below = 0.0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    const auto here = static_cast<double>(counts_[i]);
    if (here > 0.0 && below + here >= rank) {
      const double low = i == 0 ? std::min(0.0, bounds_[0]) : bounds_[i - 1];
      return low + (bounds_[i] - low) * std::max(rank - below, 0.0) / here;
    }
    below += here;
  }
  return bounds_.back();
}

EngineStats::EngineStats()
    : queue_time(request_bounds()),
      time_to_first_token(latency_bounds()),
      inter_token_latency(token_bounds()),
      request_latency(request_bounds()),
      request_inference_time(request_bounds()),
      request_decode_time(request_bounds()),
      request_prefill_time(request_bounds()),
      request_time_per_output_token(token_bounds()),
      request_prompt_tokens(length_bounds()),
      request_generated_tokens(length_bounds()),
      step_time(token_bounds()),
      step_tokens(size_bounds()) {}

}  // namespace warploom
