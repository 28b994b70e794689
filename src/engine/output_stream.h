// From the tokens of one completion to its text: detokenising, stop strings, timings.
#pragma once

#include <memory>
#include <string>

#include "engine/clock.h"
#include "engine/stop_matcher.h"
#include "warploom/request.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"

namespace warploom {

class OutputStream {
 public:
  /// `request` must outlive it. The text begins with `echo`.
  OutputStream(const std::shared_ptr<const Tokenizer>& tokenizer, const Request& request, std::uint32_t index,
               std::string echo, double queue_seconds, Clock::time_point submitted);

  /// Takes the next token, and why the scheduler ended the sequence if it did. The event's finish_reason also says whether a
  /// stop string ended it.
  TokenEvent push(const SampleResult& result, FinishReason reason, Clock::time_point now);
  /// Ends without another token. The event has the text that was withheld.
  TokenEvent end(FinishReason reason);

  bool ended() const { return completion_.finish_reason != FinishReason::running; }
  /// Seconds between the last two tokens, or from submission to the only one.
  double last_latency() const { return last_latency_; }
  // What follows also holds after take().
  std::size_t num_tokens() const { return num_tokens_; }
  const Timings& timings() const { return completion_.timings; }
  /// -inf before the first token. Needs logprobs.
  double mean_logprob() const;
  Completion take() { return std::move(completion_); }

 private:
  TokenEvent release(std::string text);

  const Request& request_;
  Completion completion_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  std::string echo_;  // until the first text is released
  std::size_t num_tokens_ = 0;
  double logprob_sum_ = 0.0, last_latency_ = 0.0;
  Clock::time_point submitted_, first_token_, last_token_;
};

}  // namespace warploom
