// How likely a model finds a text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "warploom/export.h"
#include "warploom/model.h"
#include "warploom/types.h"

namespace warploom {

struct Score {
  std::vector<double> logprobs;  ///< of each scored token given those before it in its window; natural logarithm
  double mean_nll = 0.0;         ///< mean of -logprobs
  double perplexity = 0.0;       ///< exp(mean_nll)
};

struct ScoreOptions {
  std::int64_t window =
      0;  ///< maximum number of tokens that are scored together, in [2, context length]; 0: the context length
  /// A token that is put before each window, which then scores all of its own tokens and takes one less: as evaluations with
  /// lm-eval do with the beginning-of-sequence token. -1: none, and the first token of each window is not scored.
  TokenId bos = -1;
  DType kv_type = DType::f16;    ///< as EngineOptions
  bool round_attention = false;  ///< as EngineOptions
  std::int64_t block_size = 16;
  /// Called on the calling thread after each step, with the share of the tokens that are done, in [0, 1]. What it throws ends
  /// the scoring.
  std::function<void(double)> progress = {};
};

/// Scores every token but the first of each window; each window starts afresh. Throws InvalidArgument if there is nothing to
/// score, an id is outside the vocabulary or an option is out of range; ModelError if logits are not numbers; OutOfMemory;
/// BackendError; and what `progress` throws.
[[nodiscard]] WARPLOOM_EXPORT Score score(const std::shared_ptr<const Model>& model, std::span<const TokenId> tokens,
                                          const ScoreOptions& options = {});

}  // namespace warploom
