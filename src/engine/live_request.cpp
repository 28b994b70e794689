#include "engine/live_request.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace warploom {

LiveRequest::LiveRequest(PreparedRequest prepared, std::shared_ptr<const Tokenizer> tokenizer, Clock::time_point submitted)
    : request_(std::move(prepared.request)),
      group_(std::move(prepared.group)),
      tokenizer_(std::move(tokenizer)),
      echo_(std::move(prepared.echo)),
      submitted_(submitted) {
  streams_.resize(group_->n);
  if (group_->n > static_cast<std::uint32_t>(request_.n)) held_.resize(group_->n);
}

bool LiveRequest::start(Clock::time_point now) {
  if (queue_seconds_ >= 0.0) return false;
  queue_seconds_ = seconds(now - submitted_);
  return true;
}

OutputStream& LiveRequest::stream_of(std::uint32_t index) {
  std::unique_ptr<OutputStream>& stream = streams_[index];
  if (!stream)
    stream = std::make_unique<OutputStream>(tokenizer_, request_, index, echo_, std::max(queue_seconds_, 0.0), submitted_);
  return *stream;
}

FinishReason LiveRequest::push(std::uint32_t index, const SampleResult& result, FinishReason reason, Clock::time_point now,
                               const OnToken& on_token) {
  return report(stream_of(index).push(result, reason, now), on_token);
}

void LiveRequest::end(std::uint32_t index, FinishReason reason, const OnToken& on_token) {
  report(stream_of(index).end(reason), on_token);
}

// Ends the completion if on_token wants that.
FinishReason LiveRequest::report(TokenEvent event, const OnToken& on_token) {
  const FinishReason reason = event.finish_reason;
  if (reason != FinishReason::running) ++num_ended_;
  event.request = group_->request_id;
  if (!held_.empty()) {
    held_[event.index].push_back(std::move(event));
    if (ended()) report_best(on_token);
    return reason;
  }
  event.last = ended();
  if (!on_token || on_token(event) || reason != FinishReason::running) return reason;
  report(streams_[event.index]->end(FinishReason::cancelled), on_token);
  return FinishReason::cancelled;
}

// The n best sequences, as completions 0 to n - 1.
void LiveRequest::report_best(const OnToken& on_token) {
  chosen_.resize(streams_.size());
  std::iota(chosen_.begin(), chosen_.end(), 0u);
  std::ranges::stable_sort(chosen_, std::greater(), [&](std::uint32_t i) { return streams_[i]->mean_logprob(); });
  chosen_.resize(static_cast<std::size_t>(request_.n));
  if (!on_token) return;
  std::vector<TokenEvent> events;
  for (std::uint32_t rank = 0; rank < chosen_.size(); ++rank)
    for (TokenEvent& event : held_[chosen_[rank]]) {
      event.index = rank;
      events.push_back(std::move(event));
    }
  events.back().last = true;
  for (const TokenEvent& event : events) on_token(event);
}

void LiveRequest::add_prompt_logprobs(const std::vector<double>& logprobs) {
  prompt_logprobs_.insert(prompt_logprobs_.end(), logprobs.begin(), logprobs.end());
}

RequestOutput LiveRequest::take_output() {
  RequestOutput output;
  output.prompt_token_ids = group_->prompt;  // the step in progress may still look at it
  output.prompt_logprobs = std::move(prompt_logprobs_);
  output.cached_tokens = std::max<std::int64_t>(group_->num_cached_tokens, 0);
  output.error = std::move(error_);
  if (held_.empty()) {
    for (const auto& stream : streams_) output.completions.push_back(stream->take());
  } else {
    for (std::uint32_t rank = 0; rank < chosen_.size(); ++rank) {
      output.completions.push_back(streams_[chosen_[rank]]->take());
      output.completions.back().index = rank;
    }
  }
  return output;
}

}  // namespace warploom
