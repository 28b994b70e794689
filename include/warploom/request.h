// A request for text and what comes back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "warploom/export.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"

namespace warploom {

/// Token ids are taken as they are. Text is encoded with the default EncodeOptions: special tokens that it spells are recognised, so pass
/// untrusted text as messages or as token ids. Messages are rendered by the model's chat template.
using Prompt = std::variant<std::vector<TokenId>, std::string, std::vector<ChatMessage>>;

/// Owns everything that it says; requests of one call may differ in everything.
struct Request {
  Prompt prompt;                        ///< at least one token
  std::int64_t max_tokens = 256;        ///< >= 1, for each completion
  SamplingParams sampling;              ///< penalties count the prompt's tokens too
  int n = 1;                            ///< completions, in [1, 65536]; completion i draws from subsequence i
  std::vector<std::string> stop;        ///< stop strings, none empty; the text ends before the first that appears
  std::vector<TokenId> stop_token_ids;  ///< beside the model's own end tokens
  bool ignore_eos = false;              ///< go on past the model's end tokens
  std::vector<LogitBias> logit_bias;
  std::vector<TokenId> allowed_token_ids;  ///< the only tokens that may be drawn; empty: all
  bool logprobs = false;                   ///< fill Completion::logprobs
  int top_logprobs = 0;                    ///< how many of the most probable tokens to list at each step, in [0, 1024]
};

struct Timings {
  double time_to_first_token = 0.0;  ///< seconds from submission to the first token; waiting is included
  double decode_seconds = 0.0;       ///< from the first token to the last
};

/// One continuation of a prompt.
struct Completion {
  std::uint32_t index = 0;         ///< which of the request's n
  std::vector<TokenId> token_ids;  ///< the token that ended it is included
  std::string text;                ///< without special tokens and without the stop string
  std::vector<double> logprobs;    ///< of each token at temperature 1 before the filters; empty unless asked for
  /// For each token the most probable ones in its place, by descending probability at temperature 1 before the filters; fewer than
  /// asked for if fewer are not masked. Empty unless asked for.
  std::vector<std::vector<TokenLogprob>> top_logprobs;
  FinishReason finish_reason = FinishReason::running;
  Timings timings;
};

struct RequestOutput {
  std::vector<TokenId> prompt_token_ids;
  std::int64_t cached_tokens = 0;  ///< of the prompt, whose keys and values were in the cache when it was first admitted
  std::vector<Completion> completions;  ///< n of them, by index
};

/// One new token, in the order in which tokens are made.
struct TokenEvent {
  std::size_t request = 0;  ///< which request of the call
  std::uint32_t index = 0;  ///< which of its completions
  TokenId token = -1;       ///< -1 if the completion ends without a token
  /// Text that is safe to show now; text that may begin a stop string is withheld. The pieces of a completion concatenate to
  /// Completion::text, unless on_token ended it: then withheld text is in Completion::text alone, and no event follows. Valid during the
  /// call only.
  std::string_view text;
  FinishReason finish_reason = FinishReason::running;
};

/// What a call reports while it runs, on the thread that called. Either may be empty. They must not call the Generator that runs them.
struct Callbacks {
  std::function<bool(const TokenEvent&)> on_token;  ///< returns false to end this completion as `cancelled`
  std::function<bool()> should_abort;               ///< asked before each step; true ends every completion as `cancelled`
};

}  // namespace warploom
