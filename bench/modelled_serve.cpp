#include "modelled_serve.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "core/divide.h"
#include "measure.h"

namespace warploom::bench {

namespace {

class ModelledRun {
 public:
  ModelledRun(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, const ServeOptions& options,
              const std::function<DeviceWork()>& work, const std::function<void(const ServeProgress&)>& progress)
      : tokens_(ordinary_tokens(*model)),
        arrivals_(arrivals),
        options_(options),
        work_(work),
        progress_(progress),
        records_(arrivals.size()),
        engine_(model, stepped(options.engine)) {}

  ServingResult measure(double rate) {
    (void)work_();  // forgets what came before
    while (submitted_ < arrivals_.size() || finished_ < submitted_) {
      if (finished_ == submitted_ && arrivals_[submitted_].seconds > now_) now_ = arrivals_[submitted_].seconds;
      while (submitted_ < arrivals_.size() && arrivals_[submitted_].seconds <= now_) submit();
      step();
    }
    for (std::size_t i = 0; i < handles_.size(); ++i)
      if (records_[i].failure == name(FinishReason::error)) records_[i].failure = handles_[i].output().error;
    ServingResult result = summarise(records_, rate, options_.limits);
    const EngineStats stats = engine_.stats();
    result.cached_prompt_tokens = static_cast<std::int64_t>(stats.cached_prompt_tokens);
    result.preemptions = static_cast<std::int64_t>(stats.preemptions);
    modelled_.step_seconds = percentiles(std::move(step_seconds_));
    result.modelled = modelled_;
    return result;
  }

 private:
  static EngineOptions stepped(EngineOptions options) {
    options.own_thread = false;
    return options;
  }

  void submit() {
    const Arrival& arrival = arrivals_[submitted_];
    RequestRecord& record = records_[submitted_];
    record.arrival = arrival.seconds;
    record.prompt_tokens = arrival.prompt_tokens();
    const auto on_token = [this, &record](const TokenEvent& event) {
      if (event.token >= 0) came_.push_back(&record);
      if (event.finish_reason != FinishReason::running && event.finish_reason != FinishReason::length)
        record.failure = name(event.finish_reason);
      finished_ += event.last;
      return true;
    };
    handles_.push_back(engine_.submit(request_for(arrival, submitted_, tokens_, options_), on_token));
    ++submitted_;
  }

  // Its tokens come when it has ended, which is known afterwards.
  void step() {
    engine_.step();
    const DeviceWork done = work_();
    now_ += done.seconds;
    for (RequestRecord* record : std::exchange(came_, {})) record->tokens.push_back(now_);
    ++modelled_.steps;
    modelled_.kernels += done.kernels;
    modelled_.bytes_moved += done.bytes_moved;
    step_seconds_.push_back(done.seconds);
    report();
  }

  void report() {
    using Clock = std::chrono::steady_clock;
    if (!progress_ || Clock::now() < next_report_) return;
    next_report_ = Clock::now() + kProgressEvery;
    progress_({now_, static_cast<std::int64_t>(submitted_), static_cast<std::int64_t>(finished_)});
  }

  const std::vector<TokenId> tokens_;
  const std::span<const Arrival> arrivals_;
  const ServeOptions& options_;
  const std::function<DeviceWork()>& work_;
  const std::function<void(const ServeProgress&)>& progress_;
  std::chrono::steady_clock::time_point next_report_;
  std::vector<RequestRecord> records_;
  std::vector<RequestRecord*> came_;  // whose tokens came in the step at hand
  std::vector<RequestHandle> handles_;
  std::vector<double> step_seconds_;
  Modelled modelled_;
  double now_ = 0;
  std::size_t submitted_ = 0, finished_ = 0;
  Engine engine_;
};

}  // namespace

std::int64_t useful_cache_tokens(std::span<const Arrival> arrivals, const ModelShape& shape, const EngineOptions& options) {
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;
  std::int64_t all = 0, longest = 0;
  for (const Arrival& arrival : arrivals) {
    // A spare block, for the copy that a shared block may need.
    const std::int64_t blocks = ceil_div(arrival.prompt_tokens() + arrival.output_tokens, options.block_size) + 1;
    all += blocks * options.block_size;
    longest = std::max(longest, blocks * options.block_size);
  }
  return std::min(all, std::max(longest, kMostBytes / shape.kv_bytes_per_token(options.kv_type)));
}

ServingResult serve_modelled(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, double rate,
                             const ServeOptions& options, const std::function<DeviceWork()>& work,
                             const std::function<void(const ServeProgress&)>& progress) {
  return ModelledRun(model, arrivals, options, work, progress).measure(rate);
}

}  // namespace warploom::bench
