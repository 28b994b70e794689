#include "engine/engine_core.h"

#include <algorithm>
#include <functional>
#include <limits>

#include <fmt/format.h>

#include "engine/check_request.h"
#include "model/loaded_model.h"
#include "warploom/error.h"

namespace warploom {

namespace {

KvCacheShape cache_shape(const ModelShape& shape, const EngineOptions& options) {
  return {shape.num_layers, shape.num_kv_heads, shape.head_dim, 1, options.kv_type, options.block_size};
}

/// Tokens beyond which a larger KV cache would be of no use, or was not asked for.
std::int64_t max_kv_tokens(const DecoderModel& decoder, const EngineOptions& options, std::int64_t limit) {
  check_options(options);
  const ModelShape& shape = decoder.config().shape;
  decoder.backend().check_kv_cache_shape(cache_shape(shape, options));  // before anything is derived from it
  // With a spare block for each sequence, for the copy that a shared block may need.
  std::int64_t tokens = options.kv_cache_tokens > 0 ? options.kv_cache_tokens
                                                    : options.max_num_seqs * (shape.context_length + 2 * options.block_size);
  if (limit > 0) tokens = std::min(tokens, limit);
  return std::min(tokens, std::numeric_limits<std::int32_t>::max() * options.block_size);
}

/// As many blocks as `max_tokens` tokens take, or the device has memory for if no capacity was asked for; at least one.
std::unique_ptr<KvCache> create_cache(const DecoderModel& decoder, const EngineOptions& options, std::int64_t max_tokens) {
  const ModelShape& shape = decoder.config().shape;
  KvCacheShape cache = cache_shape(shape, options);
  cache.num_blocks = blocks_for(max_tokens, options.block_size);
  if (options.kv_cache_tokens == 0) {
    const double share = options.kv_cache_share > 0 ? options.kv_cache_share : decoder.backend().kv_cache_share();
    const auto block_bytes = static_cast<double>(shape.kv_bytes_per_token(options.kv_type) * options.block_size);
    const double fit = share * static_cast<double>(decoder.backend().free_bytes()) / block_bytes;
    if (fit < static_cast<double>(cache.num_blocks))
      cache.num_blocks = std::max<std::int64_t>(1, static_cast<std::int64_t>(fit));
  }
  return decoder.backend().create_kv_cache(cache);
}

BatchLimits batch_limits(const ModelShape& shape, const EngineOptions& options, std::int64_t max_tokens) {
  BatchLimits limits;
  limits.max_num_tokens = std::min(options.max_num_batched_tokens, max_tokens);
  limits.max_num_seqs = limits.max_num_logits = std::min(options.max_num_seqs, limits.max_num_tokens);
  limits.max_blocks_per_seq = blocks_for(std::min(shape.context_length, max_tokens), options.block_size);
  return limits;
}

SchedulerOptions scheduler_options(const ModelShape& shape, const EngineOptions& options, const BatchLimits& limits) {
  return {options.max_num_seqs, limits.max_num_tokens, shape.context_length, options.enable_prefix_caching,
          options.use_kv_cache};
}

template <typename T>
std::shared_ptr<T> not_null(std::shared_ptr<T> pointer, const char* what) {
  if (!pointer) throw InvalidArgument(fmt::format("{} is null", what));
  return pointer;
}

}  // namespace

EngineCore::EngineCore(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer,
                       const EngineOptions& options, std::int64_t kv_cache_limit)
    : model_(not_null(std::move(model), "model")),
      tokenizer_(not_null(std::move(tokenizer), "tokenizer")),
      decoder_(decoder_of(*model_)),
      max_kv_tokens_(max_kv_tokens(decoder_, options, kv_cache_limit)),
      limits_(batch_limits(model_->shape(), options, max_kv_tokens_)),
      runner_(decoder_, cache_shape(model_->shape(), options), limits_),
      cache_(create_cache(decoder_, options, max_kv_tokens_)),
      pool_(cache_->shape().num_blocks, options.block_size),
      scheduler_(pool_, scheduler_options(model_->shape(), options, limits_)) {
  runner_.use(*cache_);
}

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, Prompt prompt) {
  if (auto* ids = std::get_if<std::vector<TokenId>>(&prompt)) return std::move(*ids);
  if (const auto* text = std::get_if<std::string>(&prompt)) return tokenizer.encode(*text);
  return tokenizer.encode_chat(std::get<std::vector<ChatMessage>>(prompt));
}

EngineCore::RequestId EngineCore::add(Request request) {
  check_request(request, model_->shape());
  auto group = std::make_shared<SequenceGroup>();
  group->prompt = encode_prompt(*tokenizer_, std::move(request.prompt));
  check_prompt(group->prompt, model_->shape());
  request.prompt = {};
  group->request_id = ++last_id_;
  group->sampling = request.sampling;
  group->logit_bias = request.logit_bias;
  group->stop_token_ids = request.stop_token_ids;
  if (!request.ignore_eos)
    group->stop_token_ids.insert(group->stop_token_ids.end(), tokenizer_->eog_token_ids().begin(),
                                 tokenizer_->eog_token_ids().end());
  group->max_tokens = request.max_tokens;
  group->n = static_cast<std::uint32_t>(request.n);
  group->logprobs = request.logprobs;
  group->top_logprobs = request.top_logprobs;
  if (!request.allowed_token_ids.empty()) {
    group->allowed.resize(static_cast<std::size_t>((model_->shape().vocab_size + 31) / 32));
    for (const TokenId token : request.allowed_token_ids)
      group->allowed[static_cast<std::size_t>(token / 32)] |= std::uint32_t{1} << token % 32;
  }

  LiveRequest live{std::move(request), group, {}, Clock::now()};
  live.streams.resize(group->n);
  live_.emplace(group->request_id, std::move(live));
  scheduler_.add(std::move(group));
  return last_id_;
}

void EngineCore::step(const OnToken& on_token) {
  const ScheduledBatch& batch = scheduler_.schedule();
  for (const Sequence* sequence : batch.exhausted)
    end(live_.at(sequence->group->request_id), sequence->index, FinishReason::context_full, on_token);
  if (batch.sequences.empty()) return;
  build_input(batch);
  results_.resize(input_.rows.size());
  runner_.run(input_, wanted_, results_);
  scheduler_.commit(results_);
  std::size_t next = 0;
  for (const ScheduledSequence& scheduled : batch.sequences)
    if (scheduled.samples) process_token(*scheduled.sequence, results_[next++], on_token);
}

void EngineCore::build_input(const ScheduledBatch& batch) {
  input_.clear();
  input_.copies = batch.copies;
  wanted_ = {};
  for (const ScheduledSequence& scheduled : batch.sequences) {
    const Sequence& sequence = *scheduled.sequence;
    const SequenceGroup& group = *sequence.group;
    sequence.copy_tokens(sequence.num_computed_tokens, scheduled.num_tokens, input_.token_ids);
    input_.sequences.push_back(
        {scheduled.num_tokens, sequence.num_computed_tokens, sequence.block_table.blocks(), scheduled.samples ? 1 : 0});
    if (!scheduled.samples) continue;
    input_.rows.push_back({&group.sampling, sequence.output_token_ids.size(), sequence.index, group.prompt,
                           sequence.output_token_ids, group.logit_bias, group.allowed});
    wanted_.logprobs = wanted_.logprobs || group.logprobs;
    wanted_.top_logprobs = std::max(wanted_.top_logprobs, group.top_logprobs);
  }
}

OutputStream& EngineCore::stream_of(LiveRequest& live, std::uint32_t index) {
  std::unique_ptr<OutputStream>& stream = live.streams[index];
  if (!stream) stream = std::make_unique<OutputStream>(tokenizer_, live.request, index, live.submitted);
  return *stream;
}

void EngineCore::process_token(Sequence& sequence, const SampleResult& result, const OnToken& on_token) {
  LiveRequest& live = live_.at(sequence.group->request_id);
  if (result.status != SampleStatus::ok) return end(live, sequence.index, FinishReason::invalid_logits, on_token);
  OutputStream& stream = stream_of(live, sequence.index);
  const std::string text = stream.push(result, sequence.finish_reason);
  const FinishReason reason = stream.completion().finish_reason;
  if (reason != FinishReason::running && !sequence.finished()) scheduler_.finish(sequence, reason);
  if (!on_token || on_token(live.group->request_id, {0, sequence.index, result.token, text, reason})) return;
  if (reason != FinishReason::running) return;
  stream.end(FinishReason::cancelled);
  scheduler_.finish(sequence, FinishReason::cancelled);
}

void EngineCore::end(LiveRequest& live, std::uint32_t index, FinishReason reason, const OnToken& on_token) {
  const std::string text = stream_of(live, index).end(reason);
  if (on_token) on_token(live.group->request_id, {0, index, -1, text, reason});
}

void EngineCore::abort(RequestId id, const OnToken& on_token) {
  LiveRequest& live = live_.at(id);
  scheduler_.abort(*live.group);
  for (std::uint32_t i = 0; i < live.group->n; ++i)
    if (stream_of(live, i).completion().finish_reason == FinishReason::running)
      end(live, i, FinishReason::cancelled, on_token);
}

RequestOutput EngineCore::take_output(RequestId id) {
  const auto found = live_.find(id);
  LiveRequest& live = found->second;
  RequestOutput output;
  output.prompt_token_ids = std::move(live.group->prompt);
  output.cached_tokens = std::max<std::int64_t>(live.group->num_cached_tokens, 0);
  for (const auto& stream : live.streams) output.completions.push_back(stream->take());
  live_.erase(found);
  return output;
}

std::int64_t kv_cache_tokens_for(std::span<const Request> requests, std::span<const std::int64_t> prompt_sizes,
                                 const EngineOptions& options, const ModelShape& shape) {
  // A spare block for each, for the copy that a shared block may need.
  std::vector<std::int64_t> blocks;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::int64_t room = shape.context_length - prompt_sizes[i];
    const std::int64_t longest = prompt_sizes[i] + std::min(requests[i].max_tokens, room);
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(requests[i].n, options.max_num_seqs));
    blocks.insert(blocks.end(), count, blocks_for(longest, options.block_size) + 1);
  }
  std::ranges::sort(blocks, std::greater());
  if (static_cast<std::int64_t>(blocks.size()) > options.max_num_seqs)
    blocks.resize(static_cast<std::size_t>(options.max_num_seqs));
  std::int64_t sum = 0;
  for (const std::int64_t count : blocks) sum += count;
  return sum * options.block_size;
}

}  // namespace warploom
