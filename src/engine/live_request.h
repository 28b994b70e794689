// A request from its admission to its output: the texts of its completions, which of them come back, and who is told.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/output_stream.h"
#include "engine/sequence.h"
#include "warploom/request.h"

namespace warploom {

/// A request that was checked, with its prompt as tokens.
struct PreparedRequest {
  Request request;  // without its prompt
  std::shared_ptr<SequenceGroup> group;
  std::string echo;
};

class LiveRequest {
 public:
  LiveRequest(PreparedRequest prepared, std::shared_ptr<const Tokenizer> tokenizer, Clock::time_point submitted);

  const std::shared_ptr<SequenceGroup>& group() const { return group_; }
  Clock::time_point submitted() const { return submitted_; }
  bool has_deadline() const { return request_.deadline > 0.0; }
  Clock::time_point deadline() const {
    return submitted_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(request_.deadline));
  }

  /// Its first tokens are computed now; false if others were before.
  bool start(Clock::time_point now);
  double queue_seconds() const { return queue_seconds_; }

  /// Takes the next token of a sequence, and why the scheduler ended it if it did. Returns why it has ended now, `running` if
  /// it has not.
  FinishReason push(std::uint32_t index, const SampleResult& result, FinishReason reason, Clock::time_point now,
                    const OnToken& on_token);
  /// Ends a sequence that has not ended.
  void end(std::uint32_t index, FinishReason reason, const OnToken& on_token);
  bool has_ended(std::uint32_t index) const { return streams_[index] && streams_[index]->ended(); }
  void set_error(std::string error) { error_ = std::move(error); }

  void add_prompt_logprobs(const std::vector<double>& logprobs);

  const OutputStream& stream(std::uint32_t index) const { return *streams_[index]; }
  bool ended() const { return num_ended_ == streams_.size(); }
  /// When all have ended; once.
  RequestOutput take_output();

 private:
  OutputStream& stream_of(std::uint32_t index);
  FinishReason report(TokenEvent event, const OnToken& on_token);
  void report_best(const OnToken& on_token);

  Request request_;
  std::shared_ptr<SequenceGroup> group_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string echo_;
  Clock::time_point submitted_;
  double queue_seconds_ = -1.0;                         // negative until it starts
  std::vector<std::unique_ptr<OutputStream>> streams_;  // by sequence; made when their first token comes
  std::vector<std::vector<TokenEvent>> held_;           // by sequence, until all have ended; empty without best_of
  std::vector<std::uint32_t> chosen_;                   // of the sequences, best first; empty without best_of
  std::size_t num_ended_ = 0;
  std::vector<double> prompt_logprobs_;
  std::string error_;
};

}  // namespace warploom
