// Drawing tokens from logits: one row, one set of parameters, one seed and one position give exactly one token, on every
// device and in every batch. docs/sampling.md fixes the arithmetic bit by bit.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

/// What a user chooses about sampling. The filters run in the order top-k, top-p, min-p.
struct SamplingParams {
  float temperature = 1.0f;         ///< >= 0; 0 is greedy
  std::int64_t top_k = 0;           ///< >= 0; 0: off
  float top_p = 1.0f;               ///< > 0; >= 1: off
  float min_p = 0.0f;               ///< in [0, 1]; 0: off
  float repetition_penalty = 1.0f;  ///< > 0; 1: off
  float frequency_penalty = 0.0f;   ///< finite; 0: off
  float presence_penalty = 0.0f;    ///< finite; 0: off
  std::uint64_t seed = 0;
};

/// Throws InvalidArgument naming the first field out of range (NaN is out of every range).
WARPLOOM_EXPORT void validate(const SamplingParams& params);

struct LogitBias {
  TokenId token = 0;
  float bias = 0.0f;  ///< added to the logit; -inf removes the token; NaN and +inf make the row invalid
};

/// Everything besides the logits that decides a row's token.
struct SamplingInput {
  SamplingParams params;
  std::uint64_t position = 0;        ///< tokens the sequence has generated before this one
  std::uint32_t subsequence = 0;     ///< tells apart several continuations of one request
  std::span<const TokenId> history;  ///< the tokens that the penalties count; each in [0, vocab_size)
  std::span<const LogitBias> bias;   ///< each token in [0, vocab_size)
};

/// `rows` rows of `vocab_size` logits; row r starts `row_stride` elements after row r - 1. A view: the caller owns the data.
struct LogitsView {
  const void* data = nullptr;
  DType type = DType::f32;
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;  ///< in [1, 2^22]
  std::int64_t row_stride = 0;  ///< >= vocab_size
};

enum class SampleStatus : std::uint8_t {
  ok,
  invalid_logits,      ///< the row holds NaN or +inf, before or after the bias
  all_masked,          ///< every logit is -inf
  invalid_parameters,  ///< only from a device: a parameter, a history or a bias is out of its range
};

struct TokenLogprob {
  TokenId token = -1;
  double logprob = 0.0;  ///< natural logarithm
};

/// Extra results. Asking for any of them never changes a token.
struct SampleOutputs {
  bool logprob = false;           ///< of the token, at temperature 1 before the filters
  bool filtered_logprob = false;  ///< of the token, after temperature and filters
  int top_logprobs = 0;           ///< how many of the most probable tokens to list, at temperature 1 before the filters
  bool kept = false;              ///< the ids of the kept tokens
};

struct SampleResult {
  SampleStatus status = SampleStatus::ok;
  TokenId token = -1;              ///< -1 unless status is ok
  TokenId argmax = -1;             ///< the first candidate in the order (logit descending, id ascending)
  std::int64_t num_kept = 0;       ///< tokens that passed every filter
  std::uint64_t total_weight = 0;  ///< their weights' sum, in units of 2^-40 of the argmax's
  double logprob = 0.0;
  double filtered_logprob = 0.0;
  std::vector<TokenLogprob> top;  ///< descending, ties by ascending id
  std::vector<TokenId> kept;      ///< ascending
};

/// Draws one token a row on the CPU with `threads` threads (rows are spread over them).
/// Throws InvalidArgument where a view, a parameter, a history or a bias is out of range; a row with bad logits only gets
/// its status, and its neighbours are untouched.
WARPLOOM_EXPORT std::vector<SampleResult> sample(const LogitsView& logits, std::span<const SamplingInput> rows,
                                                 const SampleOutputs& wants = {}, int threads = 1);

}  // namespace warploom
