// How an engine is set up: its KV cache, and how much it does at a time. Only kv_type and round_attention change which tokens are
// drawn (on CUDA the other options can, too, unless CudaOptions::deterministic is set). A cache that is too small for a sequence
// ends it as context_full.
#pragma once

#include <cstdint>

#include "warploom/types.h"

namespace warploom {

struct EngineOptions {
  /// Capacity of the KV cache in tokens, rounded up to whole blocks. 0: enough for max_num_seqs sequences that fill the model's
  /// context, but no more than kv_cache_share allows. The function generate() never makes it larger than its requests can use.
  std::int64_t kv_cache_tokens = 0;
  /// Share of the memory that is free after the work buffers were allocated, in (0, 1]; used if kv_cache_tokens is 0. 0: in the
  /// function generate(), whose cache goes with the call, 0.875; in a Generator and an Engine 0.9 on CUDA and 0.25 on the CPU,
  /// where memory is only taken as it is filled.
  double kv_cache_share = 0.0;
  std::int64_t block_size = 16;  ///< tokens a block of the KV cache: 16 on the CPU; 8, 16 or 32 on CUDA
  DType kv_type = DType::f16;    ///< f16, bf16 or f32; on the CPU also int8
  /// With kv_type bf16: attention rounds queries and probabilities to bf16, too, which is faster and less exact
  /// (PagedAttentionArgs::round_to_bf16); the CPU always does. With another kv_type it is refused.
  bool round_attention = false;
  std::int64_t max_num_seqs = 64;  ///< maximum number of sequences that run at a time, in [1, 4096]; the rest are queued
  /// Maximum number of tokens in a step, prompts and decoding together, in [0, 2^20]. 0: 256 on the CPU, where larger steps are
  /// no faster, 512 on CUDA, but no fewer than max_num_seqs.
  std::int64_t max_num_batched_tokens = 0;
  bool enable_prefix_caching = true;  ///< keep computed prefixes and reuse them for later sequences
  bool use_kv_cache = true;           ///< false: recompute the whole sequence at every step, to see what the cache is worth

  /// Requests are served in order of arrival + priority_window * priority, so a request is overtaken by at most priority_window
  /// later ones for each step of priority that lies between them. In [0, 2^20]; 0: priorities mean nothing.
  std::int64_t priority_window = 256;
  /// Throw std::logic_error at the first step after which references, owners and lists of blocks do not agree. The cost is
  /// linear in the number of blocks.
  bool check_blocks = false;

  // The rest is for an Engine alone.
  /// How many requests may wait, 0: any number. A request waits from submission to the end of the first step that computes a
  /// part of it, also if sequences are free.
  std::int64_t max_queued_requests = 0;
  bool own_thread = true;  ///< false: the application calls Engine::step()
  /// How many of the latest are kept for Engine::take_iteration_stats() and Engine::take_kv_cache_events(); 0: none.
  std::size_t iteration_stats_capacity = 0;
  std::size_t kv_cache_events_capacity = 0;
};

}  // namespace warploom
