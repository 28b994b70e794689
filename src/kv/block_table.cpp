#include "warploom/block_table.h"

#include <algorithm>
#include <utility>

namespace warploom {

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  clear();
  pool_ = other.pool_;
  blocks_ = std::exchange(other.blocks_, {});
  return *this;
}

bool BlockTable::ensure_writable(std::int64_t from, std::int64_t to, std::vector<BlockCopy>& copies) {
  const auto held = static_cast<std::int64_t>(blocks_.size());
  const std::int64_t end = pool_->blocks_for(to);
  for (std::int64_t i = from / pool_->block_size(); i < std::min(held, end); ++i) {
    std::int32_t& block = blocks_[static_cast<std::size_t>(i)];
    if (pool_->ref_count(block) == 1 && !pool_->is_cached(block)) continue;
    const std::optional<std::int32_t> own = pool_->allocate();
    if (!own) return false;
    copies.push_back({block, *own});
    pool_->release(block);
    block = *own;
  }
  for (std::int64_t i = held; i < end; ++i) {
    const std::optional<std::int32_t> block = pool_->allocate();
    if (!block) return false;
    blocks_.push_back(*block);
  }
  return true;
}

void BlockTable::append(std::int32_t block) {
  pool_->add_ref(block);
  blocks_.push_back(block);
}

void BlockTable::fork(const BlockTable& other, std::int64_t tokens) {
  for (const std::int32_t block : other.blocks().first(static_cast<std::size_t>(pool_->blocks_for(tokens)))) append(block);
}

void BlockTable::truncate(std::int64_t tokens) {
  const auto keep = static_cast<std::size_t>(pool_->blocks_for(tokens));
  for (; blocks_.size() > keep; blocks_.pop_back()) pool_->release(blocks_.back());
}

}  // namespace warploom
