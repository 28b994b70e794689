// A model with its KV cache, scheduler and runner: takes requests, runs them step by step, keeps what it computed. It lives on one
// thread; everything above it adds threads, queues and convenience.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/model_runner.h"
#include "engine/output_stream.h"
#include "engine/scheduler.h"
#include "warploom/engine_options.h"
#include "warploom/model.h"
#include "warploom/request.h"

namespace warploom {

class EngineCore {
 public:
  using RequestId = std::uint64_t;
  using OnToken = std::function<bool(RequestId, const TokenEvent&)>;  // false: end this completion as cancelled

  /// Keeps model and tokenizer alive. `kv_cache_limit`: tokens beyond which a larger KV cache would be of no use; 0: what
  /// max_num_seqs sequences can come to. Throws InvalidArgument, OutOfMemory or BackendError.
  EngineCore(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer, const EngineOptions& options,
             std::int64_t kv_cache_limit = 0);

  /// Queues a request. Throws InvalidArgument if it cannot be honoured; then nothing has changed.
  RequestId add(Request request);

  bool has_unfinished() const { return scheduler_.has_unfinished(); }
  /// Runs one step and reports its tokens to `on_token` (may be empty). If that throws, the step's other tokens are lost to the caller,
  /// who must abort what it has in flight.
  void step(const OnToken& on_token);

  /// Ends a request's sequences as cancelled; reports the ends to `on_token`.
  void abort(RequestId id, const OnToken& on_token);
  /// The output of a request that has finished or was aborted; the engine forgets it.
  RequestOutput take_output(RequestId id);

  const BlockPool& pool() const { return pool_; }
  void clear_prefix_cache() { pool_.uncache_all(); }

 private:
  struct LiveRequest {
    Request request;  // without its prompt
    std::shared_ptr<SequenceGroup> group;
    std::vector<std::unique_ptr<OutputStream>> streams;  // by index; made when their first token comes
    Clock::time_point submitted;
  };

  void build_input(const ScheduledBatch& batch);
  OutputStream& stream_of(LiveRequest& live, std::uint32_t index);
  void process_token(Sequence& sequence, const SampleResult& result, const OnToken& on_token);
  void end(LiveRequest& live, std::uint32_t index, FinishReason reason, const OnToken& on_token);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  const DecoderModel& decoder_;
  std::int64_t max_kv_tokens_;
  BatchLimits limits_;
  ModelRunner runner_;  // before the KV cache, which takes a share of the memory that is left
  std::unique_ptr<KvCache> cache_;
  BlockPool pool_;
  Scheduler scheduler_;
  std::unordered_map<RequestId, LiveRequest> live_;
  RequestId last_id_ = 0;
  ModelInput input_;
  ModelRunner::Wanted wanted_;  // by any row of the step
  std::vector<SampleResult> results_;
};

/// The tokens of a prompt. Throws as Tokenizer::encode and Tokenizer::encode_chat do.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, Prompt prompt);

/// What a KV cache must hold for `requests` to run at once as far as the options allow, in tokens.
std::int64_t kv_cache_tokens_for(std::span<const Request> requests, std::span<const std::int64_t> prompt_sizes,
                                 const EngineOptions& options, const ModelShape& shape);

}  // namespace warploom
