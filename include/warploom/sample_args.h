// The arguments of drawing tokens for many rows at once, as arrays: one struct for the CPU and for CUDA.
#pragma once

#include <cstdint>

#include "warploom/sampling.h"
#include "warploom/types.h"

namespace warploom {

enum class SampleInput : std::uint8_t {
  logits,
  probabilities,  ///< CUDA only: not negative, of any sum; 0 is masked. Temperature, penalties, bias, mask and log-probabilities
                  ///< are not available
};

/// Pointers are memory of the device that draws, valid until the call is done there. Arrays are [rows] unless said otherwise; a
/// null array means the parameter's default in SamplingParams (for temperature: default_temperature). A row whose parameters
/// are outside the ranges that SamplingParams states gets SampleStatus::invalid_parameters; arguments that are wrong for all
/// rows throw InvalidArgument. What a row draws depends on its own logits and parameters alone. Lists of all rows lie one after the
/// other: row r's has the entries [offsets[r], offsets[r + 1]). Offsets are not checked.
struct SampleArgs {
  const void* logits = nullptr;
  SampleInput input = SampleInput::logits;
  DType type = DType::f32;
  std::int64_t rows = 0;                    ///< >= 0; CUDA: < 2^24
  std::int64_t vocab_size = 0;              ///< in [1, 2^22]
  std::int64_t row_stride = 0;              ///< elements between rows of logits, >= vocab_size
  const std::int64_t* row_index = nullptr;  ///< which row of logits each row reads, >= 0; null: row i reads row i

  const float* temperature = nullptr;
  float default_temperature = 1.0f;  ///< used if temperature is null; 0: every row is greedy
  const std::int32_t* top_k = nullptr;
  const float* top_p = nullptr;
  const float* min_p = nullptr;
  const std::uint64_t* seed = nullptr;
  const std::uint64_t* position = nullptr;
  const std::uint32_t* subsequence = nullptr;

  const float* repetition_penalty = nullptr;
  const float* frequency_penalty = nullptr;
  const float* presence_penalty = nullptr;
  const TokenId* history = nullptr;               ///< all rows' histories; null: none
  const std::int64_t* history_offsets = nullptr;  ///< [rows + 1] into history, ascending
  const std::int64_t* count_begin = nullptr;      ///< as SamplingInput::count_begin
  const LogitBias* bias = nullptr;                ///< all rows' biases; null: none
  const std::int64_t* bias_offsets = nullptr;     ///< [rows + 1] into bias, ascending
  const std::uint32_t* allowed = nullptr;         ///< [rows, allowed_stride], as SamplingInput::allowed; null: all tokens
  std::int64_t allowed_stride = 0;                ///< words, >= vocab_size / 32 rounded up

  TokenId* token = nullptr;        ///< -1 unless the status is ok; required
  SampleStatus* status = nullptr;  ///< required
  // The rest is written if given. Asking for it never changes a token.
  TokenId* argmax = nullptr;
  std::int64_t* num_kept = nullptr;       ///< tokens that passed every filter
  std::uint64_t* total_weight = nullptr;  ///< their weights' sum
  double* logprob = nullptr;              ///< of the token at temperature 1 before the filters
  double* filtered_logprob = nullptr;     ///< of the token after temperature and filters

  int top = 0;  ///< how many of the most probable tokens to list before temperature and filters, in [0, 1024]
  /// [rows, top], by logit descending, then id ascending; -1 if a row has fewer candidates. Required if top > 0.
  TokenId* top_token = nullptr;
  double* top_logprob = nullptr;  ///< [rows, top], -inf beside a token of -1
  float* top_logit = nullptr;     ///< [rows, top], as docs/sampling.md section 1 leaves them; -inf beside a token of -1
  std::int64_t* kept_offsets = nullptr;  ///< [rows + 1]: where each row's kept tokens begin in `kept`; null: no list
  TokenId* kept = nullptr;               ///< their ids, ascending, row after row
  std::int64_t kept_capacity = 0;        ///< ids that fit `kept`; more are counted in kept_offsets, not written
  // CUDA only. [rows, dense_stride].
  float* probabilities = nullptr;    ///< of each kept token, 0 for the others; NaN in a row whose status is not ok
  float* filtered_logits = nullptr;  ///< of each kept token, as docs/sampling.md section 1 leaves them; -inf for the others
  std::int64_t dense_stride = 0;     ///< elements, >= vocab_size

  int parts =
      0;  ///< CUDA only: blocks that share a row, in [1, 128]; 0: by the number of rows and the device. Never changes a result
  Workspace workspace{};  ///< CUDA only: of cuda::sample_workspace_bytes(); calls that may run at once need one each

  bool operator==(const SampleArgs&) const = default;
};

}  // namespace warploom
