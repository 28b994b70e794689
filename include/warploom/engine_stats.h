// What an engine counts: totals and histograms, and the latest steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

/// Counts of values by range.
class WARPLOOM_EXPORT Histogram {
 public:
  /// `bounds` ascend. Bucket i counts values in (bounds[i - 1], bounds[i]]; the last bucket counts the larger ones.
  explicit Histogram(std::vector<double> bounds);

  void add(double value);

  const std::vector<double>& bounds() const { return bounds_; }
  const std::vector<std::uint64_t>& counts() const { return counts_; }  ///< bounds().size() + 1 of them
  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  /// An estimate, linear within a bucket; q in [0, 1]. 0 if nothing was counted.
  double quantile(double q) const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  double sum_ = 0.0;
};

/// Totals since the engine was made. Times are in seconds.
struct WARPLOOM_EXPORT EngineStats {
  EngineStats();

  double uptime = 0.0;
  std::uint64_t steps = 0;
  std::int64_t num_requests_waiting = 0;  ///< not admitted yet
  std::int64_t num_requests_running = 0;
  std::int64_t num_sequences_running = 0;
  std::int64_t num_sequences_preempted = 0;  ///< now, waiting to be computed again
  double kv_cache_usage = 0.0;               ///< share of the blocks that sequences hold, in [0, 1]
  std::int64_t kv_cache_blocks = 0;          ///< in all
  std::int64_t cached_blocks = 0;            ///< findable by their prefix, held or not
  std::uint64_t prompt_tokens = 0;           ///< of requests that were admitted
  std::uint64_t queried_prompt_tokens = 0;   ///< of those, looked up in the prefix cache: none with prompt_logprobs
  std::uint64_t cached_prompt_tokens = 0;    ///< of those, found there
  std::uint64_t computed_tokens = 0;         ///< that went through the model, again after a preemption too
  std::uint64_t generated_tokens = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t finished_completions[static_cast<std::size_t>(FinishReason::shutdown) + 1] = {};  ///< by FinishReason
  std::uint64_t refused_requests = 0;  ///< because the queue was full

  Histogram queue_time, time_to_first_token, inter_token_latency;
  // These are of requests that ended; the first three are times to the end, from submission, first step and first token.
  Histogram request_latency, request_inference_time, request_decode_time;
  Histogram request_prefill_time;           ///< from the first step to the first token
  Histogram request_time_per_output_token;  ///< mean of a completion's tokens after its first
  Histogram request_prompt_tokens, request_generated_tokens;
  Histogram step_time, step_tokens;
};

/// In Prometheus' text format, with vLLM's metric names after `warploom:` and a label model_name.
WARPLOOM_EXPORT std::string prometheus_text(const EngineStats& stats, std::string_view model_name);

/// One step of an engine.
struct IterationStats {
  std::uint64_t step = 0;
  double seconds = 0.0;        ///< the whole step
  double model_seconds = 0.0;  ///< of those, in the model and its sampler
  std::int64_t num_sequences = 0, num_tokens = 0;
  std::int64_t num_generated = 0;  ///< tokens drawn
  std::int64_t num_waiting = 0, num_running = 0;
  std::int64_t num_preempted = 0;  ///< sequences that this step preempted
  double kv_cache_usage = 0.0;
};

}  // namespace warploom
