// A model with its KV cache, scheduler and runner: takes requests, runs them step by step, keeps what it computed. It lives on
// one thread; everything above it adds threads, queues and convenience.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/capacity.h"
#include "engine/clock.h"
#include "engine/live_request.h"
#include "engine/model_runner.h"
#include "engine/scheduler.h"
#include "warploom/engine_options.h"
#include "warploom/engine_stats.h"
#include "warploom/model.h"
#include "warploom/request.h"

namespace warploom {

class EngineCore {
 public:
  using RequestId = std::uint64_t;

  /// What is known of the requests to come.
  struct Expected {
    std::int64_t kv_tokens =
        0;  // beyond which a larger KV cache would be of no use; 0: what max_num_seqs sequences can come to
    std::int64_t num_logits = 0;  // rows of logits that a step should have room for, beyond one for each sequence
  };

  /// Keeps model and tokenizer alive. Throws InvalidArgument, OutOfMemory or BackendError.
  EngineCore(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options,
             Expected expected, Now now = Clock::now);
  EngineCore(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options,
             Now now = Clock::now)
      : EngineCore(std::move(model), std::move(tokenizer), options, Expected(), std::move(now)) {}

  /// Queues a request, whose group must have an id that no other request has.
  void add(PreparedRequest&& prepared, Clock::time_point submitted);
  void add(PreparedRequest&& prepared) { add(std::move(prepared), now_()); }
  /// The same with an id of the core's own. Throws as prepare_request() does; then nothing has changed.
  RequestId add(Request request);

  bool has_unfinished() const { return scheduler_.has_unfinished(); }
  std::vector<RequestId> unfinished() const;

  /// Runs one step and reports its tokens to `on_token` (may be empty). If the device or on_token throws, so does this: the
  /// caller must abort the requests in_step().
  void step(const OnToken& on_token);
  /// Requests that took part in the last step.
  std::vector<RequestId> in_step() const;

  /// Ends a request's sequences and reports the ends to `on_token`. Has no effect on one that has ended.
  void abort(RequestId id, FinishReason reason, const OnToken& on_token, std::string error = {});
  /// The output of a request that has ended, which the core forgets. Also `on_token` may call it, at the request's last event.
  RequestOutput take_output(RequestId id);
  /// Forgets requests that have ended although nobody took their outputs: `on_token` threw before their last events.
  void forget_ended();

  const BlockPool& pool() const { return pool_; }
  BlockPool& pool() { return pool_; }
  const Scheduler& scheduler() const { return scheduler_; }
  void clear_prefix_cache() { pool_.uncache_all(); }
  /// Share of the blocks that sequences hold, in [0, 1].
  double kv_cache_usage() const { return 1.0 - static_cast<double>(pool_.free_count()) / static_cast<double>(pool_.size()); }
  const EngineStats& stats() const { return stats_; }
  const IterationStats& last_step() const { return last_step_; }

 private:
  class Busy;
  void expire(const OnToken& on_token);
  void build_input(const ScheduledBatch& batch);
  void add_row(const Sequence& sequence, std::int64_t logits_row);
  void read_prompt_logprobs(const ScheduledBatch& batch);
  void report(const ScheduledBatch& batch, const OnToken& on_token);
  void process_token(LiveRequest& live, Sequence& sequence, const SampleResult& result, const OnToken& on_token);
  void end(LiveRequest& live, std::uint32_t index, FinishReason reason, const OnToken& on_token);
  void count_start(const LiveRequest& live);
  void count_token(const OutputStream& stream);
  void count_end(const LiveRequest& live, FinishReason reason);
  void count_request(const LiveRequest& live);
  void count_step(const ScheduledBatch& batch, Clock::time_point begin, Clock::time_point model_begin);
  void forget_taken();

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Now now_;
  const DecoderModel& decoder_;
  bool check_blocks_, caches_prefixes_;
  std::int64_t max_kv_tokens_;
  BatchLimits limits_;
  ModelRunner runner_;  // before the KV cache, which takes a share of the memory that is left
  std::unique_ptr<KvCache> cache_;
  BlockPool pool_;
  Scheduler scheduler_;
  std::unordered_map<RequestId, LiveRequest> live_;
  std::vector<RequestId> taken_;  // whose outputs were; they go when nothing refers to them
  int busy_ = 0;                  // nested calls that refer to live requests
  std::set<std::pair<Clock::time_point, RequestId>> deadlines_;
  RequestId last_id_ = 0;

  // Of the step in progress.
  ModelInput input_;
  ModelRunner::Wanted wanted_;  // by any row
  struct Edited {
    std::vector<std::uint32_t> allowed;
    std::vector<LogitBias> bias;
  };
  std::vector<std::unique_ptr<Edited>> edited_;            // what constraints left, viewed by input_
  std::vector<std::pair<RequestId, std::string>> failed_;  // whose callbacks threw, and what
  std::vector<SampleResult> results_;
  Clock::time_point step_time_;  // when its tokens were there

  EngineStats stats_;
  IterationStats last_step_;
};

}  // namespace warploom
