#include "engine/capacity.h"

#include <algorithm>
#include <functional>
#include <limits>

#include <fmt/format.h>

#include "engine/check_request.h"
#include "warploom/block_pool.h"
#include "warploom/error.h"

namespace warploom {

KvCacheShape cache_shape(const ModelShape& shape, const EngineOptions& options) {
  return {shape.num_layers, shape.num_kv_heads, shape.head_dim,         1,
          options.kv_type,  options.block_size, options.round_attention};
}

std::int64_t max_kv_tokens(const DecoderModel& decoder, const EngineOptions& options, std::int64_t limit) {
  check_options(options);
  const ModelShape& shape = decoder.config().shape;
  decoder.backend().check_kv_cache_shape(cache_shape(shape, options));  // before anything is derived from it
  // Each sequence has a spare block, for the copy that a shared block may need.
  std::int64_t tokens = options.kv_cache_tokens > 0 ? options.kv_cache_tokens
                                                    : options.max_num_seqs * (shape.context_length + 2 * options.block_size);
  if (limit > 0) tokens = std::min(tokens, limit);
  return std::min(tokens, std::numeric_limits<std::int32_t>::max() * options.block_size);
}

std::unique_ptr<KvCache> create_cache(const DecoderModel& decoder, const EngineOptions& options, std::int64_t max_tokens) {
  const ModelShape& shape = decoder.config().shape;
  KvCacheShape cache = cache_shape(shape, options);
  cache.num_blocks = blocks_for(max_tokens, options.block_size);
  if (options.kv_cache_tokens == 0) {
    const double share = options.kv_cache_share > 0 ? options.kv_cache_share : decoder.backend().kv_cache_share();
    const auto block_bytes = static_cast<double>(shape.kv_bytes_per_token(options.kv_type) * options.block_size);
    const double fit = share * static_cast<double>(decoder.backend().free_bytes()) / block_bytes;
    if (fit < static_cast<double>(cache.num_blocks))
      cache.num_blocks = std::max<std::int64_t>(1, static_cast<std::int64_t>(fit));
  }
  try {
    return decoder.backend().create_kv_cache(cache);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(fmt::format("{}; give a smaller kv_cache_tokens or kv_cache_share", error.what()));
  }
}

BatchLimits batch_limits(const DecoderModel& decoder, const EngineOptions& options, std::int64_t max_tokens,
                         std::int64_t min_logits) {
  const std::int64_t usual = std::max(decoder.backend().max_num_batched_tokens(), options.max_num_seqs),
                     asked = options.max_num_batched_tokens, context = decoder.config().shape.context_length;
  BatchLimits limits;
  limits.max_num_tokens = std::min(asked > 0 ? asked : usual, max_tokens);
  limits.max_num_seqs = std::min(options.max_num_seqs, limits.max_num_tokens);
  limits.max_num_logits = std::min(std::max(limits.max_num_seqs, min_logits), limits.max_num_tokens);
  limits.max_blocks_per_seq = blocks_for(std::min(context, max_tokens), options.block_size);
  return limits;
}

SchedulerOptions scheduler_options(const ModelShape& shape, const EngineOptions& options, const BatchLimits& limits) {
  return {options.max_num_seqs, limits.max_num_tokens, shape.context_length,   options.enable_prefix_caching,
          options.use_kv_cache, limits.max_num_logits, options.priority_window};
}

std::int64_t kv_cache_tokens_for(std::span<const PreparedRequest> requests, const EngineOptions& options,
                                 const ModelShape& shape) {
  // Each has a spare block, for the copy that a shared block may need.
  std::vector<std::int64_t> blocks;
  for (const PreparedRequest& request : requests) {
    const SequenceGroup& group = *request.group;
    const std::int64_t longest =
        group.prompt_size() + std::min(group.max_tokens, shape.context_length - group.prompt_size());
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(group.n, options.max_num_seqs));
    blocks.insert(blocks.end(), count, blocks_for(longest, options.block_size) + 1);
  }
  std::ranges::sort(blocks, std::greater());
  if (static_cast<std::int64_t>(blocks.size()) > options.max_num_seqs)
    blocks.resize(static_cast<std::size_t>(options.max_num_seqs));
  std::int64_t sum = 0;
  for (const std::int64_t count : blocks) sum += count;
  return sum * options.block_size;
}

}  // namespace warploom
