// The steps of sampling one by one, for those who compose their own: over rows in device memory, on the caller's stream, without
// allocation or synchronisation, capturable into a CUDA graph. sample() (warploom/cuda/sampling.h) does all of them at once.
// Each is as exact as the fused path: a row's results depend on that row and its parameters alone, bit by bit.
#pragma once

#include "warploom/cuda/sampling.h"

namespace warploom::cuda {

/// Rows to read: [rows, vocab_size] of logits, or of probabilities (f32, not negative, of any sum).
struct InputRows {
  const void* data = nullptr;
  DType type = DType::f32;
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;          ///< in [1, 2^22]
  std::int64_t stride = 0;              ///< elements between rows, >= vocab_size
  const std::int64_t* index = nullptr;  ///< which row of `data` each row reads; null: row i reads row i
};

/// Rows to write: f32 [rows, vocab_size]. NaN if a row's status is not ok.
struct OutputRows {
  float* data = nullptr;
  std::int64_t stride = 0;  ///< elements between rows, >= vocab_size
};

/// In this order; each array is [rows] in device memory, null if the filter is off. Ties go to the lower id.
struct Filters {
  const std::int32_t* top_k = nullptr;
  const float* top_p = nullptr;
  const float* min_p = nullptr;
};

/// What a draw takes its number from, as docs/sampling.md section 5 says; each array is [rows], null for zeros.
struct RngState {
  const std::uint64_t* seed = nullptr;
  const std::uint64_t* position = nullptr;
  const std::uint32_t* subsequence = nullptr;
};

/// Bytes that suffice for any of the functions below. Throws as they do: InvalidArgument for a shape out of range, BackendError
/// if the device cannot be asked or a launch fails. A status array may always be null. `workspace` is device memory, in use
/// until the call is done on its stream.
[[nodiscard]] WARPLOOM_EXPORT std::size_t block_workspace_bytes(const InputRows& rows);

/// Softmax of the logits that pass the filters, at the row's temperature (null: 1; 0: all to the argmax). Others get 0.
WARPLOOM_EXPORT void softmax(const InputRows& logits, const float* temperature, const Filters& filters,
                             const OutputRows& probabilities, SampleStatus* status, Workspace workspace,
                             cudaStream_t stream);

/// The logits that pass the filters, -inf for the others. Top-p and min-p go by the probabilities at the row's temperature.
WARPLOOM_EXPORT void mask(const InputRows& logits, const float* temperature, const Filters& filters,
                          const OutputRows& masked, SampleStatus* status, Workspace workspace, cudaStream_t stream);

/// Bytes to write: [rows, vocab_size].
struct MaskRows {
  std::uint8_t* data = nullptr;
  std::int64_t stride = 0;  ///< bytes between rows, >= vocab_size
};

/// 1 for each token that a draw may pick: it passes the filters, and its weight is not 0 (docs/sampling.md section 4). 0 for
/// the others, and all over a row whose status is not ok.
WARPLOOM_EXPORT void kept_mask(const InputRows& logits, const float* temperature, const Filters& filters,
                               const MaskRows& mask, SampleStatus* status, Workspace workspace, cudaStream_t stream);

/// The probabilities that pass the filters, scaled to a sum of 1; 0 for the others.
WARPLOOM_EXPORT void renormalize(const InputRows& probabilities, const Filters& filters, const OutputRows& renormalized,
                                 SampleStatus* status, Workspace workspace, cudaStream_t stream);

/// The id of each row's largest logit; -1 unless the status is ok.
WARPLOOM_EXPORT void argmax(const InputRows& logits, TokenId* token, SampleStatus* status, Workspace workspace,
                            cudaStream_t stream);

/// The k largest logits of each row, descending: ids and values [rows, k]. k in [1, 1024]. Masked logits (-inf) are never
/// listed: if a row has fewer others, or its status is not ok, -1 and -inf follow.
WARPLOOM_EXPORT void top_k(const InputRows& logits, int k, TokenId* ids, float* values, SampleStatus* status,
                           Workspace workspace, cudaStream_t stream);

/// Draws a token from the probabilities that pass the filters; -1 unless the status is ok.
WARPLOOM_EXPORT void multinomial(const InputRows& probabilities, const Filters& filters, const RngState& rng, TokenId* token,
                                 SampleStatus* status, Workspace workspace, cudaStream_t stream);

/// Draws a token by integer weights [rows, vocab_size], `stride` elements apart, each below 2^42 (docs/sampling.md section 3
/// makes such). A larger one gives its row the status invalid_logits, a row of zeros all_masked.
struct WeightRows {
  const std::uint64_t* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t vocab_size = 0;  ///< in [1, 2^22]
  std::int64_t stride = 0;      ///< >= vocab_size
};
WARPLOOM_EXPORT void multinomial(const WeightRows& weights, const RngState& rng, TokenId* token, SampleStatus* status,
                                 Workspace workspace, cudaStream_t stream);

}  // namespace warploom::cuda
