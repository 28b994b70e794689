// From the tokens of one completion to its text: detokenising, stop strings, timings.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "engine/stop_matcher.h"
#include "warploom/request.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"

namespace warploom {

using Clock = std::chrono::steady_clock;

class OutputStream {
 public:
  /// `request` must outlive it.
  OutputStream(const std::shared_ptr<const Tokenizer>& tokenizer, const Request& request, std::uint32_t index,
               Clock::time_point submitted);

  /// Takes the next token and why the scheduler ended the sequence, if it did. Returns the text that it releases. Afterwards the
  /// completion's finish_reason says whether a stop string ended it.
  std::string push(const SampleResult& result, FinishReason reason);
  /// Ends without another token. Returns the text that was withheld.
  std::string end(FinishReason reason);

  const Completion& completion() const { return completion_; }
  Completion take() { return std::move(completion_); }

 private:
  std::string release(std::string text);

  Completion completion_;
  bool logprobs_;
  int top_logprobs_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  Clock::time_point submitted_, first_token_;
};

}  // namespace warploom
