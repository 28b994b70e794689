#include "engine/output_stream.h"

#include <algorithm>

namespace warploom {

namespace {

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

OutputStream::OutputStream(const std::shared_ptr<const Tokenizer>& tokenizer, const Request& request, std::uint32_t index,
                           Clock::time_point submitted)
    : logprobs_(request.logprobs),
      top_logprobs_(request.top_logprobs),
      decoder_(tokenizer),
      matcher_(request.stop),
      submitted_(submitted) {
  completion_.index = index;
}

std::string OutputStream::push(const SampleResult& result, FinishReason reason) {
  const Clock::time_point now = Clock::now();
  if (completion_.token_ids.empty()) {
    first_token_ = now;
    completion_.timings.time_to_first_token = seconds(now - submitted_);
  }
  completion_.timings.decode_seconds = seconds(now - first_token_);
  completion_.token_ids.push_back(result.token);
  if (logprobs_) completion_.logprobs.push_back(result.logprob);
  if (top_logprobs_ > 0) {  // the step may have listed more, for others
    const auto count = std::min(result.top.size(), static_cast<std::size_t>(top_logprobs_));
    completion_.top_logprobs.emplace_back(result.top.begin(), result.top.begin() + static_cast<std::ptrdiff_t>(count));
  }
  std::string text = matcher_.push(decoder_.push(result.token));
  if (reason != FinishReason::stop_token && matcher_.matched()) reason = FinishReason::stop_string;
  text = release(std::move(text));
  return reason == FinishReason::running ? text : text + end(reason);
}

std::string OutputStream::end(FinishReason reason) {
  completion_.finish_reason = reason;
  return release(matcher_.push(decoder_.finish()) + matcher_.finish());
}

std::string OutputStream::release(std::string text) {
  completion_.text += text;
  return text;
}

}  // namespace warploom
