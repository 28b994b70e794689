#include "engine/run_memory.h"

#include <algorithm>

namespace warploom {

void RunMemory::fit_session(const Engine& engine, const StepLimits& limits) {
  bool fits = session_ != nullptr;
  for (const auto member : {&StepLimits::max_tokens, &StepLimits::max_outputs, &StepLimits::max_sequences, &StepLimits::table_stride,
                            &StepLimits::history, &StepLimits::biases}) {
    fits = fits && limits.*member <= limits_.*member;
    limits_.*member = std::max(limits_.*member, limits.*member);
  }
  if (fits) return;
  session_.reset();  // first, so that there is room
  session_ = engine.create_session(limits_);
}

void RunMemory::make_pool(const Engine& engine, std::int64_t blocks) {
  cache_ = engine.create_cache(blocks);
  pool_.emplace(blocks, engine.block_tokens);
}

}  // namespace warploom
