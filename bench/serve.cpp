#include "serve.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "measure.h"

namespace warploom::bench {

namespace {

using Clock = std::chrono::steady_clock;

class Run {
 public:
  Run(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, const ServeOptions& options,
      const std::function<void(const ServeProgress&)>& progress)
      : tokens_(ordinary_tokens(*model)),
        arrivals_(arrivals),
        options_(options),
        progress_(progress),
        records_(arrivals.size()),
        engine_(model, options.engine) {}

  ServingResult measure(double rate) {
    warm_up();
    const EngineStats before = engine_.stats();
    start_ = Clock::now();
    for (std::size_t i = 0; i < arrivals_.size(); ++i) submit(i);
    while (!engine_.drain(kProgressEvery)) report();
    for (const Open& open : open_) (void)open.handle.output();  // waits for the last event
    collect();
    ServingResult result = summarise(records_, rate, options_.limits);
    const EngineStats after = engine_.stats();
    result.cached_prompt_tokens = static_cast<std::int64_t>(after.cached_prompt_tokens - before.cached_prompt_tokens);
    result.preemptions = static_cast<std::int64_t>(after.preemptions - before.preemptions);
    return result;
  }

 private:
  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  // The first steps of an engine are slow: memory is touched for the first time.
  void warm_up() {
    constexpr std::uint64_t kOwnContent = std::uint64_t{1} << 63;
    start_ = Clock::now();
    std::vector<RequestHandle> handles;
    const auto add = [&](std::int64_t prompt, std::int64_t output) {
      const Arrival arrival{0, {{kOwnContent + handles.size(), prompt}}, output};
      handles.push_back(engine_.submit(request_for(arrival, 0, tokens_, options_)));
    };
    for (int i = 0; options_.warm_up == 0 && i < 4; ++i) add(32, 8);
    for (std::int64_t i = 0; i < options_.warm_up; ++i) {
      const Arrival& like = arrivals_[static_cast<std::size_t>(i) % arrivals_.size()];
      add(like.prompt_tokens(), like.output_tokens);
    }
    for (const RequestHandle& handle : handles)
      while (!handle.await_output(kProgressEvery))
        if (progress_) progress_({now(), 0, 0, true});
    engine_.clear_prefix_cache();
  }

  void submit(std::size_t i) {
    RequestRecord& record = records_[i];
    record.arrival = arrivals_[i].seconds;
    record.prompt_tokens = arrivals_[i].prompt_tokens();
    record.tokens.reserve(static_cast<std::size_t>(arrivals_[i].output_tokens));
    Request request = request_for(arrivals_[i], i, tokens_, options_);
    const auto due = start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(record.arrival));
    while (Clock::now() < due) {
      std::this_thread::sleep_until(std::min(due, Clock::now() + kProgressEvery));
      report();
    }
    const auto on_token = [this, &record](const TokenEvent& event) { return see(record, event); };
    open_.push_back({&record, engine_.submit(std::move(request), on_token)});
    ++submitted_;
  }

  // On the engine's thread.
  bool see(RequestRecord& record, const TokenEvent& event) {
    if (event.token >= 0) record.tokens.push_back(now());
    if (event.finish_reason != FinishReason::running && event.finish_reason != FinishReason::length)
      record.failure = name(event.finish_reason);
    finished_ += event.last;
    return true;
  }

  // What went wrong with requests that ended as `error`; the others' handles are dropped, and what they hold with them.
  void collect() {
    std::erase_if(open_, [](const Open& open) {
      if (!open.handle.finished()) return false;
      if (open.record->failure == name(FinishReason::error)) open.record->failure = open.handle.output().error;
      return true;
    });
  }

  void report() {
    collect();
    if (progress_) progress_({now(), submitted_, finished_});
  }

  const std::vector<TokenId> tokens_;
  const std::span<const Arrival> arrivals_;
  const ServeOptions& options_;
  const std::function<void(const ServeProgress&)>& progress_;
  Clock::time_point start_;
  std::vector<RequestRecord> records_;  // one is written by the engine's thread once its request is submitted
  struct Open {
    RequestRecord* record;
    RequestHandle handle;
  };
  std::vector<Open> open_;
  std::int64_t submitted_ = 0;
  std::atomic<std::int64_t> finished_ = 0;
  Engine engine_;  // the last: its thread ends before what it writes goes
};

}  // namespace

Request request_for(const Arrival& arrival, std::size_t index, std::span<const TokenId> tokens,
                    const ServeOptions& options) {
  Request request;
  request.prompt = prompt_ids(arrival, tokens, options.seed);
  request.max_tokens = arrival.output_tokens;
  request.ignore_eos = true;
  request.sampling = options.sampling;
  request.sampling.seed = options.seed + index;
  return request;
}

ServingResult serve(const std::shared_ptr<const Model>& model, std::span<const Arrival> arrivals, double rate,
                    const ServeOptions& options, const std::function<void(const ServeProgress&)>& progress) {
  return Run(model, arrivals, options, progress).measure(rate);
}

}  // namespace warploom::bench
