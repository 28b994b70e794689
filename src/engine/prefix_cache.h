// What a PrefixCache holds, and the right to use it.
#pragma once

#include <atomic>

#include "engine/run_memory.h"
#include "warploom/prefix_cache.h"

namespace warploom {

class PrefixCache::State {
 public:
  State(std::shared_ptr<const Model> model, std::int64_t tokens, std::int64_t max_num_seqs);

  const std::shared_ptr<const Model> model;
  RunMemory memory;
  std::atomic<bool> used = false;
};

/// Exclusive use while it lives. Throws InvalidArgument where somebody has it.
class PrefixCacheUse {
 public:
  explicit PrefixCacheUse(const PrefixCache& cache);
  ~PrefixCacheUse() { state_.used = false; }
  PrefixCacheUse(const PrefixCacheUse&) = delete;
  PrefixCacheUse& operator=(const PrefixCacheUse&) = delete;

  const Model& model() const { return *state_.model; }
  RunMemory& memory() const { return state_.memory; }

 private:
  PrefixCache::State& state_;
};

}  // namespace warploom
