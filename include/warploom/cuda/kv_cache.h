// A paged KV cache in device memory for applications that run a model of their own: where keys and values lie, appending to it
// with rotary embedding, attention over it, and copies of blocks. Stream-ordered: no allocation, no synchronisation, nothing
// read back; calls can be captured into a CUDA graph. The caller decides which sequence owns which block:
// warploom/block_pool.h has a pool and tables for it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "warploom/export.h"
#include "warploom/paged_attention_args.h"

namespace warploom::cuda {

/// How many bytes at the start of paged_attention()'s workspace must be zero: its counters.
inline constexpr std::size_t kAttentionZeroBytes = 4096;

// These throw InvalidArgument for what the host can see to be out of range, BackendError if a launch or a copy fails.

WARPLOOM_EXPORT void rope_append(const RopeAppendArgs& args, cudaStream_t stream);

/// args.workspace: device memory of paged_attention_workspace_bytes(); calls that may run at once need one each. Its first
/// kAttentionZeroBytes (or as many as it has) are zero before the first call; every call leaves them so. The rest may hold
/// anything. One launch, and one more if some sequences may have more than 64 rows (a row is a query head of a token) for each kv
/// head and others fewer. How a context is shared among blocks follows from the lengths on the device: a captured call follows
/// them too.
WARPLOOM_EXPORT void paged_attention(const PagedAttentionArgs& args, cudaStream_t stream);

/// Enough for every batch of at most these tokens, sequences, max_query_len and max_blocks_per_seq; 0: none is needed. Looks at
/// shapes and counts alone: pointers may be null yet.
[[nodiscard]] WARPLOOM_EXPORT std::size_t paged_attention_workspace_bytes(const PagedAttentionArgs& args);

/// Copies block `from` to block `to` in every layer: what copy-on-write takes.
WARPLOOM_EXPORT void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to, cudaStream_t stream);

}  // namespace warploom::cuda
