#include "engine/sequence.h"

#include <algorithm>

namespace warploom {

namespace {

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Sequence::Sequence(BlockPool& pool, const std::shared_ptr<const Tokenizer>& tokenizer, const GenerateOptions& options,
                   std::size_t prompt, std::uint32_t index, const std::vector<TokenId>& prompt_token_ids)
    : tokens(prompt_token_ids),
      table(pool),
      options_(options),
      tokenizer_(tokenizer),
      decoder_(tokenizer),
      matcher_(options.stop) {
  generation.prompt = prompt;
  generation.index = index;
  generation.prompt_token_ids = prompt_token_ids;
  generation.timings.prompt_tokens = prompt_size();
}

void Sequence::forget() {
  table.clear();
  cached = 0;
}

SamplingInput Sequence::sample_row() const {
  SamplingInput row;
  row.params = options_.sampling;
  row.position = generation.ids.size();
  row.subsequence = generation.index;
  row.history = tokens;
  row.bias = options_.bias;
  return row;
}

FinishReason Sequence::reason_after(TokenId token, bool room) const {
  if (!options_.ignore_eos && tokenizer_->is_eog(token)) return FinishReason::stop_token;
  if (std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), token) != options_.stop_tokens.end())
    return FinishReason::stop_token;
  if (matcher_.matched()) return FinishReason::stop_string;
  if (static_cast<std::int64_t>(generation.ids.size()) >= options_.max_tokens) return FinishReason::length;
  return room ? FinishReason::running : FinishReason::context_full;
}

void Sequence::take(const SampleResult& result, bool room, Clock::time_point start, const TokenCallback& callback) {
  if (result.status != SampleStatus::ok) return end(FinishReason::invalid_logits, callback);
  const Clock::time_point now = Clock::now();
  if (generation.ids.empty()) {
    first_token_ = now;
    generation.timings.prefill_seconds = seconds(now - start);
  }
  generation.timings.decode_seconds = seconds(now - first_token_);
  ++generation.timings.generated_tokens;
  tokens.push_back(result.token);
  generation.ids.push_back(result.token);
  if (options_.logprobs) generation.logprobs.push_back(result.logprob);
  std::string text = matcher_.push(decoder_.push(result.token));
  generation.finish_reason = reason_after(result.token, room);
  if (finished()) text += matcher_.push(decoder_.finish()) + matcher_.finish();
  emit(result.token, std::move(text), callback);
}

void Sequence::end(FinishReason reason, const TokenCallback& callback) {
  generation.finish_reason = reason;
  emit(-1, matcher_.push(decoder_.finish()) + matcher_.finish(), callback);
}

void Sequence::emit(TokenId token, std::string text, const TokenCallback& callback) {
  generation.text += text;
  if (!callback) return;
  const bool go_on = callback({generation.prompt, generation.index, token, text, generation.finish_reason});
  if (go_on || finished()) return;
  generation.finish_reason = FinishReason::cancelled;
  generation.text += matcher_.push(decoder_.finish()) + matcher_.finish();
}

}  // namespace warploom
