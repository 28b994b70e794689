// How the tokens of a batch belong to sequences and where their keys and values lie: the metadata of paged attention, one struct
// for the CPU, for CUDA and for applications that run a model of their own.
#pragma once

#include <cstdint>

namespace warploom {

/// A sequence's tokens are adjacent in the batch and their positions ascend by one. Arrays are memory of the device that
/// computes.
struct AttentionMetadata {
  std::int64_t num_tokens = 0;
  std::int64_t num_seqs = 0;       ///< in [1, 65535] on CUDA, if there are tokens
  std::int64_t max_query_len = 0;  ///< upper bound on the tokens of any sequence in this batch; 1 means pure decode
  const std::int32_t* positions =
      nullptr;  ///< [num_tokens]; -1: a padding token, which stores nothing and whose attention is 0. It is a sequence of its own
  const std::int32_t* token_to_seq = nullptr;  ///< [num_tokens], row of block_tables; read by rope_append
  const std::int32_t* qo_indptr =
      nullptr;  ///< [num_seqs + 1], first token of each sequence, never descending: a sequence may have none; the last is num_tokens; read by
                ///< paged_attention
  /// [num_seqs, max_blocks_per_seq]; entry i is the block that holds positions [i * block_size, (i + 1) * block_size).
  const std::int32_t* block_tables = nullptr;
  std::int64_t max_blocks_per_seq = 0;  ///< no sequence reaches beyond position max_blocks_per_seq * block_size - 1

  bool operator==(const AttentionMetadata&) const = default;
};

}  // namespace warploom
