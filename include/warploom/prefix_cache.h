// Keys and values that outlive the call that computed them.
#pragma once

#include <cstdint>
#include <memory>

#include "warploom/export.h"
#include "warploom/model.h"

namespace warploom {

/// The KV pool and step buffers of one call of generate() after the other (GenerateOptions::prefix_cache). Prompts and what followed
/// them stay in it, so that of a prompt that begins as one of those did, only what follows the last whole block in common is
/// computed: a chat, questions under one system message. What was not used for longest makes room. The same tokens are drawn as
/// without it: bit for bit on the CPU, and on CUDA with CudaOptions::deterministic.
///
/// One call at a time may use it, size() and clear() among them; others throw InvalidArgument meanwhile. Keeps the model alive.
class WARPLOOM_EXPORT PrefixCache {
 public:
  /// Takes memory on the model's device: step buffers for `max_num_seqs` sequences at a time (calls with more of them enlarge those,
  /// where there is room), then room for `tokens` tokens, those of running sequences among them, in whole blocks; 0: as many as
  /// the model's context, or as the device has memory for. A sequence that outgrows it ends as `context_full`. On the CPU,
  /// memory is taken as it is filled. Throws InvalidArgument, OutOfMemory or BackendError.
  explicit PrefixCache(std::shared_ptr<const Model> model, std::int64_t tokens = 0, std::int64_t max_num_seqs = 1);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  std::int64_t capacity() const;  ///< in tokens
  std::int64_t size() const;      ///< tokens kept; those that several texts begin with count once for each
  void clear();                   ///< forgets every text

 private:
  class State;
  friend class PrefixCacheUse;
  std::unique_ptr<State> state_;
};

}  // namespace warploom
