// A request for text and what comes back.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "warploom/export.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"

namespace warploom {

/// Token ids are taken as they are. Text is encoded with the default EncodeOptions: special tokens that it spells are
/// recognised, so pass untrusted text as messages or as token ids. Messages are rendered by the model's chat template:
/// request.prompt = std::vector<ChatMessage>{{"user", "Hello"}}.
using Prompt = std::variant<std::vector<TokenId>, std::string, std::vector<ChatMessage>>;

/// What a completion consists of so far. Views, valid during the call.
struct CompletionContext {
  std::uint32_t index = 0;  ///< which of the request's completions
  std::span<const TokenId> prompt;
  std::span<const TokenId> output;
};

/// What a TokenConstraint may change about the next draw.
class TokenEdit {
 public:
  TokenEdit(std::vector<std::uint32_t>& allowed, std::vector<LogitBias>& bias, std::int64_t vocab_size)
      : allowed_(allowed), bias_(bias), vocab_size_(vocab_size) {}

  /// A bit for each token, as SamplingInput::allowed. At the first call those bits are set that the request allows; clear bits to
  /// forbid tokens. If none is left, the completion ends as invalid_logits.
  std::span<std::uint32_t> allowed() {
    if (allowed_.empty()) allowed_.assign(static_cast<std::size_t>((vocab_size_ + 31) / 32), ~std::uint32_t{0});
    return allowed_;
  }
  /// Added to the token's logit, after the request's own biases. The token must be in the vocabulary.
  void add_bias(TokenId token, float bias) { bias_.push_back({token, bias}); }
  std::int64_t vocab_size() const { return vocab_size_; }

 private:
  std::vector<std::uint32_t>& allowed_;
  std::vector<LogitBias>& bias_;
  std::int64_t vocab_size_;
};

/// For grammars and other rules on tokens. Called once for each token, in order, with all tokens before it, however often the
/// request is preempted; the logits stay on the device. A constraint belongs to one request: capture what it needs to know of
/// it.
using TokenConstraint = std::function<void(const CompletionContext&, TokenEdit&)>;
/// Called with the row of logits, [vocab_size], that the next token is drawn from, before penalties, bias and mask. The row
/// travels from the GPU to the host and back, so prefer a TokenConstraint if the logits themselves do not matter. No lock is held
/// meanwhile: it may run the same model by another Generator, to compare two prompts for instance.
using LogitsProcessor = std::function<void(const CompletionContext&, std::span<float> logits)>;

enum class LogprobsMode : std::uint8_t {
  raw,        ///< at temperature 1, before the filters
  processed,  ///< after temperature and filters: what the token was drawn from
};

/// Owns everything that it says; requests of one call may differ in everything. Callbacks run on the thread that runs the
/// steps, one at a time; an exception from one ends the request as `error`.
struct Request {
  Prompt prompt;  ///< at least one token
  /// >= 0, for each completion; 0: only compute the prompt, for prompt_logprobs or the prefix cache.
  std::int64_t max_tokens = 256;
  /// In [0, max_tokens]; before that many, stop tokens are not drawn and stop strings do not stop.
  std::int64_t min_tokens = 0;
  SamplingParams sampling;  ///< its seed is mixed with the prompt: see request_seed()
  /// The frequency and presence penalties count the prompt's tokens, too; the repetition penalty always does.
  bool penalize_prompt = false;
  /// >= 0; all penalties look at this many of the last tokens, the prompt's included; 0: at every token.
  std::int64_t penalty_window = 0;
  int n = 1;  ///< completions, in [1, 65536]
  /// Completion i draws from subsequence first_subsequence + i, at most 2^32 - 1. Requests with equal prompts and seeds draw
  /// alike unless their subsequences differ.
  std::uint32_t first_subsequence = 0;
  /// Completions that are generated, of which the n with the highest mean log-probability come back; in [n, 65536], 0: n. If
  /// larger than n, events come when all have ended.
  int best_of = 0;

  /// Stop strings, none empty; the text ends before the first that appears. One that spells a special token is a stop token, too.
  std::vector<std::string> stop;
  bool include_stop = false;            ///< the text ends after it instead
  std::vector<TokenId> stop_token_ids;  ///< beside the model's own end tokens
  bool ignore_eos = false;              ///< go on past the model's end tokens
  std::vector<LogitBias> logit_bias;
  std::vector<TokenId> allowed_token_ids;  ///< the only tokens that may be drawn; empty: all
  std::vector<TokenId> banned_token_ids;   ///< are never drawn
  TokenConstraint constraint;              ///< may be empty
  LogitsProcessor logits_processor;        ///< may be empty

  bool logprobs = false;  ///< fill Completion::logprobs; top_logprobs alone does not
  int top_logprobs = 0;   ///< how many of the most probable tokens to list at each step, in [0, 1024]
  LogprobsMode logprobs_mode = LogprobsMode::raw;
  bool prompt_logprobs = false;  ///< fill RequestOutput::prompt_logprobs; the prompt is computed even if the cache holds it
  bool echo = false;             ///< texts begin with the prompt's

  /// Lower is served earlier; in [-1000, 1000]. See EngineOptions::priority_window.
  int priority = 0;
  double deadline = 0.0;  ///< seconds after submission at which it ends as `deadline`, with what it has by then; 0: none
};

struct Timings {
  double queue_seconds = 0.0;        ///< from submission to the first step that computes a part of the prompt
  double time_to_first_token = 0.0;  ///< seconds from submission to the first token; waiting is included
  double decode_seconds = 0.0;       ///< from the first token to the last
};

/// One continuation of a prompt.
struct Completion {
  std::uint32_t index = 0;         ///< which of the request's n
  std::uint32_t subsequence = 0;   ///< which random numbers it drew from: Request::first_subsequence
  std::vector<TokenId> token_ids;  ///< the token that ended it is included
  std::string text;                ///< without special tokens and, unless Request::include_stop, without the stop string
  std::string stop_string;         ///< the one that ended it; empty if none did
  std::vector<double> logprobs;    ///< of each token, by Request::logprobs_mode; empty unless asked for
  /// For each token the most probable ones in its place, by descending probability; fewer than asked for if fewer are not
  /// masked, or in processed mode not kept. Empty unless asked for.
  std::vector<std::vector<TokenLogprob>> top_logprobs;
  FinishReason finish_reason = FinishReason::running;
  Timings timings;
};

struct RequestOutput {
  std::vector<TokenId> prompt_token_ids;
  /// Entry i belongs to prompt token i + 1: its log-probability after the tokens before it, at temperature 1, without
  /// penalties, bias or mask. Shorter if the request ended early; empty unless asked for.
  std::vector<double> prompt_logprobs;
  std::int64_t cached_tokens = 0;  ///< of the prompt, whose keys and values were in the cache when it was first admitted
  std::vector<Completion> completions;  ///< n of them, by index; with best_of, best first
  /// What went wrong: why completions ended as `error` or `invalid_logits`, or for want of KV cache. Empty otherwise.
  std::string error;
};

/// One new token, or the end of a completion. The texts of a completion's events concatenate to Completion::text, and its last
/// event has a finish_reason other than `running`.
struct TokenEvent {
  std::uint64_t request = 0;               ///< which request of the call; in an Engine, its id
  std::uint32_t index = 0;                 ///< which of its completions
  TokenId token = -1;                      ///< -1 if the completion ends without a token
  std::string text;                        ///< safe to show now: text that may begin a stop string is withheld
  double logprob = 0.0;                    ///< 0 unless asked for
  std::vector<TokenLogprob> top_logprobs;  ///< if asked for
  FinishReason finish_reason = FinishReason::running;
  bool last = false;  ///< no event of this request follows
};

/// Returns false to end the event's completion as `cancelled`; its last event follows. What it returns for a last event is
/// ignored.
using OnToken = std::function<bool(const TokenEvent&)>;

/// What a call reports while it runs, on the thread that called. Each may be empty. They must not call the Generator that runs
/// them.
struct Callbacks {
  OnToken on_token;
  std::function<bool()> should_abort;  ///< asked before each step; true ends every completion as `cancelled`
  /// A request of the call has ended, and this is its output, after its last event.
  std::function<void(std::uint64_t request, const RequestOutput&)> on_output;
};

}  // namespace warploom
