#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "warploom/error.h"
#include "warploom/kv_blocks.h"

namespace warploom {

BlockPool::BlockPool(std::int64_t blocks, std::int64_t block_size) : block_size_(block_size) {
  if (blocks < 1 || blocks > std::numeric_limits<std::int32_t>::max())
    throw InvalidArgument(fmt::format("KV cache: {} blocks, outside [1, 2^31 - 1]", blocks));
  if (block_size < 1) throw InvalidArgument(fmt::format("KV cache: blocks of {} tokens; it must be at least 1", block_size));
  ref_counts_.resize(static_cast<std::size_t>(blocks), 0);
  free_.reserve(ref_counts_.size());
  for (std::int64_t b = blocks - 1; b >= 0; --b) free_.push_back(static_cast<std::int32_t>(b));
}

std::optional<std::int32_t> BlockPool::allocate() {
  if (free_.empty()) return std::nullopt;
  const std::int32_t block = free_.back();
  free_.pop_back();
  ref_counts_[static_cast<std::size_t>(block)] = 1;
  return block;
}

void BlockPool::add_ref(std::int32_t block) {
  std::int32_t& count = ref_counts_.at(static_cast<std::size_t>(block));
  if (count < 1) throw std::logic_error(fmt::format("block {} is free and cannot be shared", block));
  ++count;
}

void BlockPool::release(std::int32_t block) {
  std::int32_t& count = ref_counts_.at(static_cast<std::size_t>(block));
  if (count < 1) throw std::logic_error(fmt::format("block {} is free already", block));
  if (--count == 0) free_.push_back(block);
}

void BlockPool::check() const {
  std::vector<bool> is_free(ref_counts_.size(), false);
  for (const std::int32_t block : free_) {
    const auto i = static_cast<std::size_t>(block);
    if (is_free.at(i)) throw std::logic_error(fmt::format("block {} is free twice", block));
    if (ref_counts_[i] != 0)
      throw std::logic_error(fmt::format("block {} is free but held {} times", block, ref_counts_[i]));
    is_free[i] = true;
  }
  for (std::size_t i = 0; i < ref_counts_.size(); ++i)
    if (!is_free[i] && ref_counts_[i] < 1) throw std::logic_error(fmt::format("block {} is lost", i));
}

}  // namespace warploom
