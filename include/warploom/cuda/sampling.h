// Drawing tokens from logits in device memory: docs/sampling.md bit by bit, so that a GPU picks the very token that the CPU
// picks. Stream-ordered: no allocation, no synchronisation, nothing read back; calls can be captured into a CUDA graph.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "warploom/export.h"
#include "warploom/sampling.h"
#include "warploom/types.h"

namespace warploom::cuda {

enum class SampleInput : std::uint8_t {
  logits,
  probabilities,  ///< not negative, of any sum; 0 is masked. Temperature, penalties, bias, mask and log-probabilities are
                  ///< not to be had
};

/// One call's arguments. Every pointer is to device memory. Arrays are [rows] unless said otherwise; a null array means the
/// parameter's default in SamplingParams. What a row draws depends on its own logits and parameters alone.
struct SampleArgs {
  const void* logits = nullptr;
  SampleInput input = SampleInput::logits;
  DType type = DType::f32;
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;              ///< in [1, 2^22]
  std::int64_t row_stride = 0;              ///< elements between rows of logits, >= vocab_size
  const std::int64_t* row_index = nullptr;  ///< which row of logits each row reads, >= 0; null: row i reads row i

  const float* temperature = nullptr;
  float default_temperature = 1.0f;  ///< where temperature is null; 0: every row is greedy
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
  const std::int64_t* history_offsets = nullptr;  ///< [rows + 1] into history
  const LogitBias* bias = nullptr;                ///< all rows' biases; null: none
  const std::int64_t* bias_offsets = nullptr;     ///< [rows + 1] into bias
  const std::uint32_t* allowed = nullptr;         ///< [rows, allowed_stride] bit masks: token t is bit t % 32 of word t / 32
  std::int64_t allowed_stride = 0;                ///< words, >= vocab_size / 32 rounded up

  TokenId* token = nullptr;               ///< -1 unless the status is ok; required
  SampleStatus* status = nullptr;         ///< required
  TokenId* argmax = nullptr;              ///< these are written where given; asking never changes a token
  std::int64_t* num_kept = nullptr;       ///< tokens that passed every filter
  std::uint64_t* total_weight = nullptr;  ///< their weights' sum
  double* logprob = nullptr;              ///< of the token at temperature 1 before the filters
  double* filtered_logprob = nullptr;     ///< of the token after temperature and filters

  int top = 0;  ///< how many of the most probable tokens to list before temperature and filters, in [0, 1024]
  TokenId* top_token =
      nullptr;  ///< [rows, top], by logit descending, then id ascending; -1 where a row has fewer candidates
  double* top_logprob = nullptr;  ///< [rows, top], -inf there; null: not wanted
  float* top_logit = nullptr;     ///< [rows, top], as docs/sampling.md section 1 leaves them; -inf there; null: not wanted
  std::int64_t* kept_offsets = nullptr;  ///< [rows + 1]: where each row's kept tokens begin in `kept`; null: no list
  TokenId* kept = nullptr;               ///< their ids, ascending, row after row
  std::int64_t kept_capacity = 0;        ///< ids that fit `kept`; more are counted in kept_offsets, not written
  float* probabilities = nullptr;        ///< [rows, dense_stride]: of each kept token, 0 for the others; NaN in a bad row
  float* filtered_logits =
      nullptr;  ///< [rows, dense_stride]: of the kept tokens, as docs/sampling.md section 1 leaves them; else -inf
  std::int64_t dense_stride = 0;  ///< elements, >= vocab_size

  int parts = 0;  ///< blocks that share a row, in [1, 128]; 0: by the number of rows and the device. Never changes a result
};

/// Bytes of device memory that sample() needs for these shapes on the current device; 0 where it needs none.
/// Throws InvalidArgument as sample() does, BackendError where the device cannot be asked.
WARPLOOM_EXPORT std::size_t sample_workspace_bytes(const SampleArgs& args);

/// Draws one token a row on `stream`: one launch, and one more for each of the list of the most probable, the kept tokens'
/// list, and the dense outputs, where asked for. Workspace: device memory, 16-byte aligned; calls that may run at once need
/// one each. Throws InvalidArgument for what the host can see to be out of range, BackendError where the launch fails. A
/// parameter that only the device sees to be out of range gives its row the status invalid_parameters.
WARPLOOM_EXPORT void sample(const SampleArgs& args, void* workspace, std::size_t workspace_bytes, cudaStream_t stream);

}  // namespace warploom::cuda
