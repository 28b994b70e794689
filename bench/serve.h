// A workload sent to an engine in real time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "serving_result.h"
#include "warploom/engine.h"
#include "workload.h"

namespace warploom::bench {

struct ServeOptions {
  EngineOptions engine;
  SamplingParams sampling;
  Limits limits;
  std::uint64_t seed = 1;  // of the prompts' tokens
  // Requests of the workload's lengths with other prompts that are answered before, all at once. 0: 4 short ones.
  std::int64_t warm_up = 0;
};

struct ServeProgress {
  double seconds = 0;  // since the first arrival, or since the warm-up began
  std::int64_t submitted = 0, finished = 0;
  bool warming_up = false;
};

inline constexpr auto kProgressEvery = std::chrono::milliseconds(500);

/// The request number `index`. `tokens`: what prompts consist of.
Request request_for(const Arrival& arrival, std::size_t index, std::span<const TokenId> tokens, const ServeOptions& options);

/// Submits each request when it arrives, however many are in progress, and waits for all of them. Latencies count from the arrival, so a
/// submission that comes late makes them longer. The engine is new and was warmed up. `progress` may be empty.
ServingResult serve(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, double rate,
                    const ServeOptions& options, const std::function<void(const ServeProgress&)>& progress);

}  // namespace warploom::bench
