// One batch as the forward pass sees it: every array is in the device's memory.
#pragma once

#include "backend/ops.h"

namespace warploom {

struct DeviceBatch {
  const TokenId* token_ids = nullptr;  // [metadata.num_tokens]
  AttentionMetadata metadata;
  const std::int32_t* logits_indices = nullptr;  // [num_logits], tokens whose logits are wanted
  std::int64_t num_logits = 0;
  /// The same sequences with these tokens alone. Not set if all tokens' logits are wanted, or none.
  AttentionMetadata logits_metadata;
};

/// The maximum that buffers hold of one batch.
struct BatchLimits {
  std::int64_t max_num_tokens = 0;
  std::int64_t max_num_logits = 0;
  std::int64_t max_num_seqs = 0;
  std::int64_t max_blocks_per_seq = 0;
};

}  // namespace warploom
