#include "engine/output_stream.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace warploom {

OutputStream::OutputStream(const std::shared_ptr<const Tokenizer>& tokenizer, const Request& request, std::uint32_t index,
                           std::string echo, double queue_seconds, Clock::time_point submitted)
    : request_(request),
      decoder_(tokenizer),
      matcher_(request.stop, request.include_stop),
      echo_(std::move(echo)),
      submitted_(submitted) {
  completion_.index = index;
  completion_.subsequence = request.first_subsequence + index;
  completion_.timings.queue_seconds = queue_seconds;
}

TokenEvent OutputStream::push(const SampleResult& result, FinishReason reason, Clock::time_point now) {
  Timings& timings = completion_.timings;
  if (++num_tokens_ == 1) {
    first_token_ = now;
    last_latency_ = timings.time_to_first_token = seconds(now - submitted_);
  } else {
    last_latency_ = seconds(now - last_token_);
  }
  last_token_ = now;
  timings.decode_seconds = seconds(now - first_token_);
  completion_.token_ids.push_back(result.token);
  logprob_sum_ += result.logprob;

  std::string text = decoder_.push(result.token);
  if (static_cast<std::int64_t>(num_tokens_) > request_.min_tokens) text = matcher_.push(text);
  if (reason != FinishReason::stop_token && matcher_.matched()) reason = FinishReason::stop_string;
  TokenEvent event = release(std::move(text));
  if (reason != FinishReason::running) {
    event.text += end(reason).text;
    event.finish_reason = reason;
  }
  event.token = result.token;
  if (request_.logprobs) {
    event.logprob = result.logprob;
    completion_.logprobs.push_back(result.logprob);
  }
  if (request_.top_logprobs > 0) {  // the step may have listed more, for others
    const auto count = std::min(result.top.size(), static_cast<std::size_t>(request_.top_logprobs));
    event.top_logprobs.assign(result.top.begin(), result.top.begin() + static_cast<std::ptrdiff_t>(count));
    completion_.top_logprobs.push_back(event.top_logprobs);
  }
  return event;
}

TokenEvent OutputStream::end(FinishReason reason) {
  completion_.finish_reason = reason;
  std::string rest = matcher_.push(decoder_.finish());
  rest += matcher_.finish();
  TokenEvent event = release(std::move(rest));
  if (reason == FinishReason::stop_string) completion_.stop_string = matcher_.matched_stop();
  event.finish_reason = reason;
  return event;
}

TokenEvent OutputStream::release(std::string text) {
  if (!echo_.empty()) text.insert(0, std::exchange(echo_, {}));
  completion_.text += text;
  TokenEvent event;
  event.index = completion_.index;
  event.text = std::move(text);
  return event;
}

double OutputStream::mean_logprob() const {
  if (num_tokens_ == 0) return -std::numeric_limits<double>::infinity();
  return logprob_sum_ / static_cast<double>(num_tokens_);
}

}  // namespace warploom
