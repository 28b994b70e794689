// A sequence as the scheduler sees it: token ids and blocks, no text and no device.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "warploom/block_table.h"
#include "warploom/request.h"

namespace warploom {

class Sequence;

/// When a sequence has its turn: a smaller one comes first. No two are equal.
struct Turn {
  std::int64_t order = 0;  // of its group
  std::uint64_t request_id = 0;
  std::uint32_t index = 0;

  auto operator<=>(const Turn&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 means the 0 inside
};

/// The sequences that continue one prompt, which is held once for all of them. Sequences come to life when they are admitted.
struct SequenceGroup {
  std::uint64_t request_id = 0;
  int priority = 0;  // lower comes first
  std::vector<TokenId> prompt;
  SamplingParams sampling;              // its seed is the request's own: request_seed()
  std::uint32_t first_subsequence = 0;  // as in Request, and the next two
  bool penalize_prompt = false;
  std::int64_t penalty_window = 0;
  std::vector<LogitBias> logit_bias;
  std::vector<LogitBias> early_logit_bias;  // the same and -inf for every stop token: before min_tokens
  std::vector<TokenId> stop_token_ids;      // the model's end tokens among them, unless they are ignored
  std::int64_t max_tokens = 0;              // 0: the prompt is computed and nothing is drawn
  std::int64_t min_tokens = 0;
  std::uint32_t n = 1;
  std::vector<std::uint32_t> allowed;  // bit mask of the tokens that may be drawn; empty: all
  TokenConstraint constraint;          // may be empty, as the next one
  LogitsProcessor logits_processor;
  bool logprobs = false;
  int top_logprobs = 0;
  LogprobsMode logprobs_mode = LogprobsMode::raw;
  bool prompt_logprobs = false;

  std::int64_t order = 0;  // set by the scheduler
  std::uint32_t num_started = 0;
  std::int64_t num_scored = 0;  // tokens of the prompt whose logits were computed, if prompt_logprobs
  std::int64_t num_cached_tokens =
      -1;  // of the prompt, that its first sequence found in the cache when it was first admitted; -1 before
  std::vector<Sequence*> running;  // admitted and not finished

  std::int64_t prompt_size() const { return static_cast<std::int64_t>(prompt.size()); }
  Turn next_turn() const { return {order, request_id, num_started}; }
};

class Sequence {
 public:
  Sequence(std::shared_ptr<SequenceGroup> of, std::uint32_t which, BlockPool& pool)
      : group(std::move(of)), index(which), block_table(pool) {}

  Turn turn() const { return {group->order, group->request_id, index}; }
  std::int64_t num_tokens() const { return group->prompt_size() + static_cast<std::int64_t>(output_token_ids.size()); }
  /// Tokens that the cache does not hold yet; the last one's logits give the next token.
  std::int64_t num_new_tokens() const { return num_tokens() - num_computed_tokens; }
  /// Appends tokens [from, from + count) of prompt and output to `out`.
  void copy_tokens(std::int64_t from, std::int64_t count, std::vector<TokenId>& out) const;
  bool finished() const { return finish_reason != FinishReason::running; }

  /// Drops its blocks: everything is to be computed again.
  void free_blocks();

  const std::shared_ptr<SequenceGroup> group;
  const std::uint32_t index;  // which of the group's n
  std::vector<TokenId> output_token_ids;
  std::int64_t num_computed_tokens = 0;
  BlockTable block_table;
  std::vector<Prefix> prefixes;  // of its full, computed blocks, as the pool knows them
  FinishReason finish_reason = FinishReason::running;
  bool was_admitted = false;
};

}  // namespace warploom
