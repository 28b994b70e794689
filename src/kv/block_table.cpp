#include "warploom/block_table.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

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
  const std::int64_t count = pool_->blocks_for(tokens);
  if (!blocks_.empty() || other.pool_ != pool_)
    throw std::logic_error(
        fmt::format("a table of {} blocks cannot share another's{}: it must be empty and of the same pool", blocks_.size(),
                    other.pool_ != pool_ ? ", of another pool" : ""));
  if (tokens < 0 || count > static_cast<std::int64_t>(other.blocks_.size()))
    throw std::logic_error(
        fmt::format("{} tokens of a table that holds {} blocks of {}", tokens, other.blocks_.size(), pool_->block_size()));
  for (const std::int32_t block : other.blocks().first(static_cast<std::size_t>(count))) append(block);
}

void BlockTable::truncate(std::int64_t tokens) {
  const auto keep = static_cast<std::size_t>(pool_->blocks_for(tokens));
  for (; blocks_.size() > keep; blocks_.pop_back()) pool_->release(blocks_.back());
}

}  // namespace warploom
