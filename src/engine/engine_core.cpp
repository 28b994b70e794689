#include "engine/engine_core.h"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include "engine/prepare_request.h"
#include "engine/prompt_logprobs.h"
#include "model/loaded_model.h"
#include "warploom/error.h"

namespace warploom {

namespace {

template <typename T>
std::shared_ptr<T> not_null(std::shared_ptr<T> pointer, const char* what) {
  if (!pointer) throw InvalidArgument(fmt::format("{} is null", what));
  return pointer;
}

/// Runs a request's callback; returns what went wrong in it, empty if nothing did.
template <typename Callback>
std::string error_of(const char* name, const Callback& callback) {
  try {
    callback();
    return {};
  } catch (const std::exception& error) {
    return fmt::format("{}: {}", name, error.what());
  } catch (...) {
    return fmt::format("{}: an exception that is no std::exception", name);
  }
}

}  // namespace

EngineCore::EngineCore(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
                       const EngineOptions& options, Expected expected, Now now)
    : model_(not_null(std::move(model), "model")),
      tokenizer_(not_null(std::move(tokenizer), "tokenizer")),
      now_(std::move(now)),
      decoder_(decoder_of(*model_)),
      check_blocks_(options.check_blocks),
      caches_prefixes_(options.enable_prefix_caching),
      max_kv_tokens_(max_kv_tokens(decoder_, options, expected.kv_tokens)),
      limits_(batch_limits(decoder_, options, max_kv_tokens_, expected.num_logits)),
      runner_(decoder_, cache_shape(model_->shape(), options), limits_),
      cache_(create_cache(decoder_, options, max_kv_tokens_)),
      pool_(cache_->shape().num_blocks, options.block_size),
      scheduler_(pool_, scheduler_options(model_->shape(), options, limits_)) {
  runner_.use(*cache_);
  stats_.kv_cache_blocks = pool_.size();
}

EngineCore::RequestId EngineCore::add(Request request) {
  PreparedRequest prepared = prepare_request(std::move(request), *tokenizer_, model_->shape());
  prepared.group->request_id = ++last_id_;
  add(std::move(prepared), now_());
  return last_id_;
}

void EngineCore::add(PreparedRequest&& prepared, Clock::time_point submitted) {
  const std::shared_ptr<SequenceGroup> group = prepared.group;
  const auto [at, added] = live_.try_emplace(group->request_id, std::move(prepared), tokenizer_, submitted);
  if (at->second.has_deadline()) deadlines_.emplace(at->second.deadline(), group->request_id);
  scheduler_.add(group);
}

std::vector<EngineCore::RequestId> EngineCore::unfinished() const {
  std::vector<RequestId> ids;
  for (const auto& [id, live] : live_)
    if (!live.ended()) ids.push_back(id);
  std::ranges::sort(ids);
  return ids;
}

class EngineCore::Busy {
 public:
  explicit Busy(EngineCore& core) : core_(core) { ++core_.busy_; }
  ~Busy() {
    if (--core_.busy_ == 0) core_.forget_taken();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  EngineCore& core_;
};

void EngineCore::step(const OnToken& on_token) {
  const Busy busy(*this);
  const Clock::time_point begin = now_();
  step_time_ = begin;
  last_step_ = {};
  expire(on_token);
  const std::int64_t preemptions = scheduler_.num_preemptions();
  const ScheduledBatch& batch = scheduler_.schedule();
  for (const Sequence* sequence : batch.exhausted) {
    LiveRequest& live = live_.at(sequence->group->request_id);
    live.set_error(
        fmt::format("the KV cache of {} tokens cannot hold a sequence of {}: free memory or kv_cache_tokens limits it",
                    pool_.size() * pool_.block_size(), sequence->num_tokens()));
    end(live, sequence->index, FinishReason::context_full, on_token);
  }
  last_step_.num_preempted = scheduler_.num_preemptions() - preemptions;
  stats_.preemptions += static_cast<std::uint64_t>(last_step_.num_preempted);
  if (batch.sequences.empty()) return;
  build_input(batch);
  results_.resize(input_.rows.size());
  const Clock::time_point model_begin = now_();
  runner_.run(input_, wanted_, results_);
  step_time_ = now_();
  read_prompt_logprobs(batch);
  scheduler_.commit(results_);
  report(batch, on_token);
  count_step(batch, begin, model_begin);
  if (check_blocks_) scheduler_.check_blocks();
}

void EngineCore::expire(const OnToken& on_token) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= step_time_)
    abort(deadlines_.extract(deadlines_.begin()).value().second, FinishReason::deadline, on_token);
}

void EngineCore::build_input(const ScheduledBatch& batch) {
  input_.clear();
  input_.copies = batch.copies;
  wanted_ = {};
  edited_.clear();
  failed_.clear();
  std::int64_t logits = 0;
  for (const ScheduledSequence& scheduled : batch.sequences) {
    const Sequence& sequence = *scheduled.sequence;
    const SequenceGroup& group = *sequence.group;
    LiveRequest& live = live_.at(group.request_id);
    if (live.start(step_time_)) count_start(live);
    sequence.copy_tokens(sequence.num_computed_tokens, scheduled.num_tokens, input_.token_ids);
    input_.sequences.push_back(
        {scheduled.num_tokens, sequence.num_computed_tokens, sequence.block_table.blocks(), scheduled.num_logits});
    logits += scheduled.num_logits;
    if (scheduled.samples) add_row(sequence, logits - 1);
  }
}

namespace {

// Sets what the penalties look at.
void set_history(const Sequence& sequence, SampledRow& row) {
  const SequenceGroup& group = *sequence.group;
  row.penalize_prompt = group.penalize_prompt;
  row.output = sequence.output_token_ids;
  if (row.penalize_prompt || group.sampling.repetition_penalty != 1.0f) row.prompt = group.prompt;
  if (group.penalty_window == 0) return;
  const auto window = static_cast<std::size_t>(group.penalty_window);
  row.output = row.output.last(std::min(window, row.output.size()));
  row.prompt = row.prompt.last(std::min(window - row.output.size(), row.prompt.size()));
}

}  // namespace

void EngineCore::add_row(const Sequence& sequence, std::int64_t logits_row) {
  const SequenceGroup& group = *sequence.group;
  const bool early = static_cast<std::int64_t>(sequence.output_token_ids.size()) < group.min_tokens;
  SampledRow& row = input_.rows.emplace_back();
  row.logits_row = logits_row;
  row.params = &group.sampling;
  row.position = sequence.output_token_ids.size();
  row.subsequence = group.first_subsequence + sequence.index;
  set_history(sequence, row);
  row.bias = early ? group.early_logit_bias : group.logit_bias;
  row.allowed = group.allowed;
  row.processed_logprobs = group.logprobs_mode == LogprobsMode::processed && (group.logprobs || group.top_logprobs > 0);
  wanted_.logprobs = wanted_.logprobs || group.logprobs;
  wanted_.top_logprobs = std::max(wanted_.top_logprobs, group.top_logprobs);
  wanted_.processed = wanted_.processed || row.processed_logprobs;

  const CompletionContext context{sequence.index, group.prompt, sequence.output_token_ids};
  const auto run = [this, id = group.request_id](const char* name, const auto& callback) {
    if (std::string error = error_of(name, callback); !error.empty()) failed_.emplace_back(id, std::move(error));
  };
  if (group.constraint) {
    Edited& edited =
        *edited_.emplace_back(std::make_unique<Edited>(Edited{group.allowed, {row.bias.begin(), row.bias.end()}}));
    TokenEdit edit(edited.allowed, edited.bias, model_->shape().vocab_size);
    run("constraint", [&] {
      group.constraint(context, edit);
      for (const LogitBias& bias : edited.bias)
        if (bias.token < 0 || bias.token >= model_->shape().vocab_size)
          throw InvalidArgument(
              fmt::format("bias for token {}, which is not in [0, {})", bias.token, model_->shape().vocab_size));
      row.bias = edited.bias;
      row.allowed = edited.allowed;
    });
  }
  if (group.logits_processor)
    row.edit_logits = [&group, context, run](std::span<float> logits) {
      run("logits_processor", [&] { group.logits_processor(context, logits); });
    };
}

void EngineCore::read_prompt_logprobs(const ScheduledBatch& batch) {
  std::int64_t row = 0;
  for (const ScheduledSequence& scheduled : batch.sequences) {
    const SequenceGroup& group = *scheduled.sequence->group;
    if (scheduled.num_logits > (scheduled.samples ? 1 : 0)) {
      const std::int64_t first = scheduled.sequence->num_computed_tokens;  // whose logits tell of the token after it
      const std::int64_t end = std::min(first + scheduled.num_tokens, group.prompt_size() - 1);
      if (first < end)
        live_.at(group.request_id)
            .add_prompt_logprobs(
                prompt_logprobs(runner_, row,
                                std::span(group.prompt)
                                    .subspan(static_cast<std::size_t>(first + 1), static_cast<std::size_t>(end - first))));
    }
    row += scheduled.num_logits;
  }
}

namespace {

// Why a row of logits gave no token.
std::string cause_of(const SequenceGroup& group, SampleStatus status) {
  const char* after = group.logits_processor ? ", after the logits processor" : "";
  if (status != SampleStatus::all_masked)
    return fmt::format("the logits, with penalties and biases, hold NaN or +infinity{}", after);
  return fmt::format(
      "no token may be drawn: the logits are all -infinity with the request's biases, allowed and banned tokens{}{}",
      group.constraint ? " and constraint" : "", after);
}

}  // namespace

void EngineCore::report(const ScheduledBatch& batch, const OnToken& on_token) {
  for (auto& [id, error] : failed_) abort(id, FinishReason::error, on_token, std::move(error));
  std::size_t next = 0;
  for (const ScheduledSequence& scheduled : batch.sequences) {
    const SampleResult* result = scheduled.samples ? &results_[next++] : nullptr;
    Sequence& sequence = *scheduled.sequence;
    LiveRequest& live = live_.at(sequence.group->request_id);
    if (live.has_ended(sequence.index)) continue;
    if (result && result->status == SampleStatus::ok) {
      process_token(live, sequence, *result, on_token);
    } else if (sequence.finished()) {
      if (result) live.set_error(cause_of(*sequence.group, result->status));
      end(live, sequence.index, sequence.finish_reason, on_token);
    }
  }
}

void EngineCore::process_token(LiveRequest& live, Sequence& sequence, const SampleResult& result, const OnToken& on_token) {
  const FinishReason reason = live.push(sequence.index, result, sequence.finish_reason, step_time_, on_token);
  count_token(live.stream(sequence.index));
  if (reason == FinishReason::running) return;
  count_end(live, reason);
  if (!sequence.finished()) scheduler_.finish(sequence, reason);
}

void EngineCore::end(LiveRequest& live, std::uint32_t index, FinishReason reason, const OnToken& on_token) {
  live.end(index, reason, on_token);
  count_end(live, reason);
}

void EngineCore::abort(RequestId id, FinishReason reason, const OnToken& on_token, std::string error) {
  const Busy busy(*this);
  LiveRequest& live = live_.at(id);
  if (live.ended()) return;
  scheduler_.abort(*live.group(), reason);
  if (!error.empty()) live.set_error(std::move(error));  // else what ended an earlier completion stays
  for (std::uint32_t i = 0; i < live.group()->n; ++i)
    if (!live.has_ended(i)) end(live, i, reason, on_token);
}

std::vector<EngineCore::RequestId> EngineCore::in_step() const {
  std::vector<RequestId> ids;
  for (const ScheduledSequence& scheduled : scheduler_.batch().sequences) {
    const RequestId id = scheduled.sequence->group->request_id;
    if (live_.contains(id) && std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

RequestOutput EngineCore::take_output(RequestId id) {
  const Busy busy(*this);
  taken_.push_back(id);
  return live_.at(id).take_output();
}

void EngineCore::forget_ended() {
  const Busy busy(*this);
  for (const auto& [id, live] : live_)
    if (live.ended()) taken_.push_back(id);
}

void EngineCore::forget_taken() {
  for (const RequestId id : taken_) {
    const auto found = live_.find(id);
    if (found->second.has_deadline()) deadlines_.erase({found->second.deadline(), id});
    live_.erase(found);
  }
  taken_.clear();
}

void EngineCore::count_start(const LiveRequest& live) {
  stats_.queue_time.add(live.queue_seconds());
  stats_.prompt_tokens += live.group()->prompt.size();
  if (caches_prefixes_ && !live.group()->prompt_logprobs) stats_.queried_prompt_tokens += live.group()->prompt.size();
  stats_.cached_prompt_tokens += static_cast<std::uint64_t>(live.group()->num_cached_tokens);
}

void EngineCore::count_token(const OutputStream& stream) {
  ++stats_.generated_tokens;
  (stream.num_tokens() == 1 ? stats_.time_to_first_token : stats_.inter_token_latency).add(stream.last_latency());
}

void EngineCore::count_end(const LiveRequest& live, FinishReason reason) {
  ++stats_.finished_completions[static_cast<std::size_t>(reason)];
  if (live.ended()) count_request(live);
}

void EngineCore::count_request(const LiveRequest& live) {
  const double latency = seconds(step_time_ - live.submitted());
  double first_token = latency;
  std::size_t tokens = 0;
  for (std::uint32_t i = 0; i < live.group()->n; ++i) {
    const OutputStream& stream = live.stream(i);
    const std::size_t count = stream.num_tokens();
    tokens += count;
    if (count > 0) first_token = std::min(first_token, stream.timings().time_to_first_token);
    if (count > 1)
      stats_.request_time_per_output_token.add(stream.timings().decode_seconds / static_cast<double>(count - 1));
  }
  stats_.request_latency.add(latency);
  stats_.request_prompt_tokens.add(static_cast<double>(live.group()->prompt.size()));
  stats_.request_generated_tokens.add(static_cast<double>(tokens));
  if (live.queue_seconds() >= 0.0) stats_.request_inference_time.add(latency - live.queue_seconds());
  if (tokens == 0) return;
  stats_.request_prefill_time.add(first_token - live.queue_seconds());
  stats_.request_decode_time.add(latency - first_token);
}

void EngineCore::count_step(const ScheduledBatch& batch, Clock::time_point begin, Clock::time_point model_begin) {
  IterationStats& step = last_step_;
  step.step = ++stats_.steps;
  step.seconds = seconds(now_() - begin);
  step.model_seconds = seconds(step_time_ - model_begin);
  step.num_sequences = static_cast<std::int64_t>(batch.sequences.size());
  step.num_tokens = static_cast<std::int64_t>(input_.token_ids.size());
  step.num_generated = static_cast<std::int64_t>(input_.rows.size());
  step.num_waiting = scheduler_.num_waiting();
  step.num_running = scheduler_.num_running();
  step.kv_cache_usage = kv_cache_usage();
  stats_.computed_tokens += static_cast<std::uint64_t>(step.num_tokens);
  stats_.step_time.add(step.seconds);
  stats_.step_tokens.add(static_cast<double>(step.num_tokens));
}

}  // namespace warploom
