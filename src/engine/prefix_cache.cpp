#include "engine/prefix_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/check_options.h"
#include "warploom/error.h"

namespace warploom {

PrefixCache::State::State(std::shared_ptr<const Model> of, std::int64_t tokens, std::int64_t max_num_seqs)
    : model(std::move(of)) {
  if (!model) throw InvalidArgument("model is null");
  if (tokens < 0)
    throw InvalidArgument(fmt::format("tokens of a prefix cache are {}; it must be >= 0 (0: the model's context)", tokens));
  check_max_batch(max_num_seqs);
  const Engine engine = engine_for(model, model->tokenizer());
  const std::int64_t context = engine.shape.context_length, wanted = tokens > 0 ? tokens : context;
  memory.fit_session(engine, batch_limits(GenerateOptions().max_num_batched_tokens, max_num_seqs, std::min(wanted, context),
                                          engine.block_size));
  const std::int64_t blocks = blocks_for(wanted, engine.block_size);
  memory.make_pool(engine, tokens > 0 ? blocks : blocks_with_room(engine, blocks));
  memory.enable_prefix_caching();
}

PrefixCacheUse::PrefixCacheUse(const PrefixCache& cache) : state_(*cache.state_) {
  if (state_.used.exchange(true)) throw InvalidArgument("prefix_cache is in use by another call");
}

PrefixCache::PrefixCache(std::shared_ptr<const Model> model, std::int64_t tokens, std::int64_t max_num_seqs)
    : state_(std::make_unique<State>(std::move(model), tokens, max_num_seqs)) {}
PrefixCache::~PrefixCache() = default;

std::int64_t PrefixCache::capacity() const { return state_->memory.pool().size() * state_->memory.pool().block_size(); }
std::int64_t PrefixCache::size() const { return PrefixCacheUse(*this).memory().texts()->tokens(); }
void PrefixCache::clear() { PrefixCacheUse(*this).memory().texts()->clear(); }

}  // namespace warploom
