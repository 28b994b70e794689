#include "engine/run_memory.h"

#include <algorithm>

#include "warploom/error.h"

namespace warploom {

BatchLimits batch_limits(std::int64_t chunk, std::int64_t running, std::int64_t max_query_len, std::int64_t block_size) {
  BatchLimits limits;
  limits.max_tokens = chunk + running;
  limits.max_outputs = limits.max_sequences = running;
  limits.max_blocks_per_seq = blocks_for(max_query_len, block_size) + 1;
  return limits;
}

std::int64_t blocks_with_room(const Engine& engine, std::int64_t blocks) {
  if (engine.room_for_blocks) blocks = std::min(blocks, engine.room_for_blocks());
  return std::max<std::int64_t>(blocks, 1);
}

void RunMemory::fit_session(const Engine& engine, const BatchLimits& limits) {
  BatchLimits wanted = limits_;
  bool fits = session_ != nullptr;
  for (const auto member : {&BatchLimits::max_tokens, &BatchLimits::max_outputs, &BatchLimits::max_sequences,
                            &BatchLimits::max_blocks_per_seq, &BatchLimits::history, &BatchLimits::biases}) {
    fits = fits && limits.*member <= limits_.*member;
    wanted.*member = std::max(limits_.*member, limits.*member);
  }
  if (fits) return;
  session_.reset();  // first, so that there is room
  limits_ = {};
  try {
    session_ = engine.create_runner(wanted);
  } catch (const OutOfMemory&) {  // for what this call and all those before need; for this one there may be enough
    wanted = limits;
    session_ = engine.create_runner(wanted);
  }
  limits_ = wanted;
}

void RunMemory::make_pool(const Engine& engine, std::int64_t blocks) {
  cache_ = engine.create_cache(blocks);
  pool_.emplace(blocks, engine.block_size);
}

}  // namespace warploom
