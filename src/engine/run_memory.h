// What runs work in: step buffers, the KV cache, and who holds its blocks.
#pragma once

#include <memory>
#include <optional>

#include "engine/run.h"
#include "kv/prefix_index.h"
#include "warploom/kv_blocks.h"

namespace warploom {

/// Of steps with up to `chunk` tokens of prompts beside one each of up to `running` sequences, none longer than `max_query_len`.
BatchLimits batch_limits(std::int64_t chunk, std::int64_t running, std::int64_t max_query_len, std::int64_t block_size);

/// As many of `blocks` as the device has memory for, at least one.
std::int64_t blocks_with_room(const Engine& engine, std::int64_t blocks);

class RunMemory {
 public:
  /// Step buffers for steps within `limits`; made anew, for those asked for before too, where those that there are are too small.
  /// Throws OutOfMemory; the next call tries again.
  void fit_session(const Engine& engine, const BatchLimits& limits);
  void make_pool(const Engine& engine, std::int64_t blocks);
  /// From now on texts are kept.
  void enable_prefix_caching() { texts_.emplace(); }

  ModelRunner& session() { return *session_; }
  KvCache& cache() { return *cache_; }
  BlockPool& pool() { return *pool_; }
  const BlockPool& pool() const { return *pool_; }
  PrefixIndex* texts() { return texts_ ? &*texts_ : nullptr; }  // null: none are kept

 private:
  std::unique_ptr<KvCache> cache_;  // outlives the session
  std::unique_ptr<ModelRunner> session_;
  BatchLimits limits_;
  std::optional<BlockPool> pool_;  // outlives the texts
  std::optional<PrefixIndex> texts_;
};

}  // namespace warploom
