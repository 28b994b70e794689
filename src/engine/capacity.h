// How large an engine's KV cache and steps are, by its options, its model and its device.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/live_request.h"
#include "engine/scheduler.h"
#include "model/decoder_model.h"
#include "warploom/engine_options.h"

namespace warploom {

/// The shape of a cache of one block.
KvCacheShape cache_shape(const ModelShape& shape, const EngineOptions& options);

/// Tokens beyond which a larger KV cache would be of no use, or was not asked for. `limit`: what the caller knows; 0: nothing.
/// Throws InvalidArgument if an option is out of range.
std::int64_t max_kv_tokens(const DecoderModel& decoder, const EngineOptions& options, std::int64_t limit);

/// As many blocks as `max_tokens` tokens take, or the device has memory for if no capacity was asked for; at least one.
std::unique_ptr<KvCache> create_cache(const DecoderModel& decoder, const EngineOptions& options, std::int64_t max_tokens);

/// min_logits: rows of logits that a step should have room for, even if fewer sequences run.
BatchLimits batch_limits(const DecoderModel& decoder, const EngineOptions& options, std::int64_t max_tokens,
                         std::int64_t min_logits);

SchedulerOptions scheduler_options(const ModelShape& shape, const EngineOptions& options, const BatchLimits& limits);

/// What a KV cache must hold for `requests` to run at once as far as the options allow, in tokens.
std::int64_t kv_cache_tokens_for(std::span<const PreparedRequest> requests, const EngineOptions& options,
                                 const ModelShape& shape);

}  // namespace warploom
