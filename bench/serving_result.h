// What a serving run measured: latencies, throughput and goodput, from the times of all tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace warploom::bench {

/// One request. Times are in seconds since the start of the run.
struct RequestRecord {
  double arrival = 0;  // when it was due, whether or not it was submitted in time
  std::int64_t prompt_tokens = 0;
  std::vector<double> tokens;  // when each token came
  std::string failure;         // why it ended early; empty if all tokens came
};

/// Latencies that a request must keep to be good.
struct Limits {
  double ttft = 1.0;  // seconds from arrival to the first token
  double itl = 0.1;   // seconds between a request's tokens, on average
};

struct Percentiles {
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};

/// Interpolated linearly between the values; zeros if there are none.
Percentiles percentiles(std::vector<double> values);

/// What a modelled device did, if times are modelled and not measured.
struct Modelled {
  std::int64_t steps = 0;
  double kernels = 0, bytes_moved = 0;  // in all steps
  Percentiles step_seconds;
};

struct ServingResult {
  double rate = 0;  // requests offered a second; infinite: all at once
  std::int64_t requests = 0;
  std::int64_t good = 0;                         // whose tokens all came, within the limits
  std::map<std::string, std::int64_t> failures;  // by reason
  double seconds = 0;                            // from the first arrival to the last token
  std::int64_t prompt_tokens = 0, output_tokens = 0;
  // Seconds, of requests whose tokens all came.
  Percentiles ttft;        // from a request's arrival to its first token
  Percentiles itl;         // between tokens: all pairs of neighbours
  Percentiles end_to_end;  // from a request's arrival to its last token
  // What the engine counts.
  std::int64_t cached_prompt_tokens = 0, preemptions = 0;
  std::optional<Modelled> modelled;  // empty: times are measured

  double good_share() const { return static_cast<double>(good) / static_cast<double>(requests); }
  /// Good requests a second while requests arrive; if all come at once, over the whole run.
  double goodput() const;
  double requests_per_second() const;  // that were answered
  double output_tokens_per_second() const;
};

ServingResult summarise(std::span<const RequestRecord> records, double rate, const Limits& limits);

inline constexpr double kGoodShare = 0.9;  // of the requests: what a rate must reach to count as sustained

/// The highest of the finite rates at which, and below which, kGoodShare of the requests are good; empty if there is none.
std::optional<double> knee(std::span<const ServingResult> results);

/// Runs at `start`, then at twice the rate each time while the share of good requests suffices (if it does not at `start`, at half the
/// rate until it does), then at rates between the last two until the knee is known to 10%. In ascending order.
std::vector<ServingResult> find_knee(double start, const std::function<ServingResult(double rate)>& run);

}  // namespace warploom::bench
