// One sequence on its way from prompt to text.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/stop_matcher.h"
#include "warploom/generator.h"
#include "warploom/kv_blocks.h"

namespace warploom {

using Clock = std::chrono::steady_clock;

/// The scheduler's view: tokens, how many of them the cache holds, and the blocks. The user's view: the Generation that grows.
class Sequence {
 public:
  Sequence(BlockPool& pool, const std::shared_ptr<const Tokenizer>& tokenizer, const GenerateOptions& options,
           std::size_t prompt, std::uint32_t index, const std::vector<TokenId>& prompt_token_ids);

  /// Takes the next token (or none, where the logits were bad) and tells the callback. `room` says whether another could follow.
  void take(const SampleResult& result, bool room, Clock::time_point start, const TokenCallback& callback);
  /// Ends without another token.
  void end(FinishReason reason, const TokenCallback& callback);
  bool finished() const { return generation.finish_reason != FinishReason::running; }

  /// Gives its blocks back: everything is to be computed again.
  void forget();
  /// What others' keys and values may stand for: the last token is computed in any case, for its logits.
  std::span<const TokenId> all_but_last() const { return std::span(tokens).first(tokens.size() - 1); }
  /// Tokens that the cache does not hold yet; the last one's logits give the next token.
  std::int64_t pending() const { return static_cast<std::int64_t>(tokens.size()) - cached; }
  std::int64_t prompt_size() const { return static_cast<std::int64_t>(generation.prompt_token_ids.size()); }
  SamplingInput sample_row() const;

  Generation generation;
  std::vector<TokenId> tokens;  // prompt and generated
  std::int64_t cached = 0;
  BlockTable table;
  bool started = false;  // admitted, now or before

 private:
  FinishReason reason_after(TokenId token, bool room) const;
  void emit(TokenId token, std::string text, const TokenCallback& callback);

  const GenerateOptions& options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  StreamDecoder decoder_;
  StopMatcher matcher_;
  Clock::time_point first_token_;
};

}  // namespace warploom
