// From prompts to text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "warploom/export.h"
#include "warploom/model.h"
#include "warploom/prefix_cache.h"
#include "warploom/sampling.h"
#include "warploom/tokenizer.h"
#include "warploom/types.h"

namespace warploom {

struct GenerateOptions {
  std::int64_t max_tokens = 256;  ///< >= 1, for each sequence
  SamplingParams sampling;        ///< penalties count the prompt's tokens too
  std::vector<LogitBias> bias;
  std::vector<std::string> stop;     ///< stop strings, none empty
  std::vector<TokenId> stop_tokens;  ///< beside the model's own
  bool ignore_eos = false;           ///< go on past the model's end-of-sequence tokens
  int n = 1;             ///< continuations of each prompt, at most 65536; continuation i draws from subsequence i
  bool kv_cache = true;  ///< false: recompute the whole sequence at every step
  std::int64_t kv_cache_tokens = 0;  ///< size of the KV pool in tokens; 0: what the request can need
  /// Of the same model; null: none. It is the call's KV pool: kv_cache must be true and kv_cache_tokens 0. A conversation: encode_chat()
  /// of all messages so far as the prompt of each turn, as examples/conversation.cpp does.
  std::shared_ptr<PrefixCache> prefix_cache;
  std::int64_t max_num_batched_tokens = 512;  ///< most prompt tokens in one step
  std::int64_t max_num_seqs = 64;             ///< most sequences in one step; the others wait
  bool logprobs = false;                      ///< fill Generation::logprobs
  std::function<bool()> abort_requested;      ///< asked before each step; true ends every sequence as `cancelled`
};

struct Timings {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  ///< of the prompt, whose keys and values were there when it was first admitted
  std::int64_t generated_tokens = 0;
  double prefill_seconds = 0.0;  ///< from start to this sequence's first token
  double decode_seconds = 0.0;   ///< from its first token to its last
};

struct Generation {
  std::size_t prompt = 0;   ///< index of the prompt that it continues
  std::uint32_t index = 0;  ///< which of the n continuations
  std::vector<TokenId> prompt_token_ids;
  std::vector<TokenId> ids;      ///< generated tokens, the one that stopped it included
  std::string text;              ///< without special tokens, and without the stop string
  std::vector<double> logprobs;  ///< of each id at temperature 1 before filters; empty unless asked for
  FinishReason finish_reason = FinishReason::running;
  Timings timings;
};

/// Handed to the callback for every token, in the order in which tokens are made.
struct TokenEvent {
  std::size_t prompt = 0;
  std::uint32_t index = 0;
  TokenId token = -1;
  std::string_view
      text;  ///< what may be shown now, held back while it may begin a stop string; all of a sequence's make its text
  FinishReason finish_reason = FinishReason::running;
};
/// Returns false to end that sequence as `cancelled`. Called on the thread that called generate.
using TokenCallback = std::function<bool(const TokenEvent&)>;

/// Continues each of `prompts` (token ids, at least one each) as one batch. The result holds `n` generations a prompt, in
/// order. A sequence's tokens do not depend on what else is in the batch.
/// Throws InvalidArgument on an empty prompt, an id outside the vocabulary, a prompt longer than the context, or a bad
/// option.
WARPLOOM_EXPORT std::vector<Generation> generate(const std::shared_ptr<const Model>& model,
                                                 std::span<const std::vector<TokenId>> prompts,
                                                 const GenerateOptions& options = {}, const TokenCallback& callback = {});

/// Text in, text out. Safe to use from one thread at a time.
class WARPLOOM_EXPORT Generator {
 public:
  explicit Generator(std::shared_ptr<const Model> model);
  Generator(std::shared_ptr<const Model> model, std::shared_ptr<const Tokenizer> tokenizer);

  /// The text that follows `prompt`.
  std::string generate(std::string_view prompt, const GenerateOptions& options = {},
                       const TokenCallback& callback = {}) const;
  std::string generate(std::string_view prompt, std::int64_t max_tokens, float temperature, std::int64_t top_k = 0,
                       float top_p = 1.0f, std::uint64_t seed = 0) const;
  /// Several prompts as one batch, with everything there is to know about each result.
  std::vector<Generation> generate_batch(std::span<const std::string> prompts, const GenerateOptions& options = {},
                                         const TokenCallback& callback = {}) const;

  const std::shared_ptr<const Model>& model() const { return model_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }

 private:
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

struct Score {
  std::vector<double> logprobs;  ///< of each scored token given those before it in its window; natural logarithm
  double mean_nll = 0.0;         ///< mean of -logprobs
  double perplexity = 0.0;       ///< exp(mean_nll)
};
/// Scores every token but the first in windows of at most `window` tokens (0: the context length); each window starts
/// afresh, and its first token is not scored. Throws InvalidArgument on fewer than 2 tokens or an id outside the vocabulary.
WARPLOOM_EXPORT Score score(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens,
                            std::int64_t window = 0);

}  // namespace warploom
