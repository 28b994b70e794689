#include "warploom/block_pool.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

std::uint64_t hash_of(PrefixId parent, std::span<const TokenId> tokens) {
  std::uint64_t hash = parent * 0x9e3779b97f4a7c15u;
  for (const TokenId token : tokens) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

BlockPool::BlockPool(std::int64_t num_blocks, std::int64_t block_size) : block_size_(block_size) {
  if (num_blocks < 1 || num_blocks > std::numeric_limits<std::int32_t>::max())
    throw InvalidArgument(fmt::format("KV cache: {} blocks, outside [1, 2^31 - 1]", num_blocks));
  if (block_size < 1) throw InvalidArgument(fmt::format("KV cache: blocks of {} tokens; it must be at least 1", block_size));
  blocks_.resize(static_cast<std::size_t>(num_blocks));
  free_.reserve(blocks_.size());
  for (std::int64_t b = num_blocks - 1; b >= 0; --b) free_.push_back(static_cast<std::int32_t>(b));
}

std::span<const TokenId> BlockPool::tokens_of(std::int32_t block) const {
  const auto size = static_cast<std::size_t>(block_size_);
  return std::span(tokens_).subspan(static_cast<std::size_t>(block) * size, size);
}

std::optional<std::int32_t> BlockPool::allocate() {
  if (free_.empty()) {
    if (evictable_.empty()) return std::nullopt;
    uncache(evictable_.front());
  }
  const std::int32_t block = free_.back();
  free_.pop_back();
  at(block).ref_count = 1;
  return block;
}

void BlockPool::add_ref(std::int32_t block) {
  Block& b = at(block);
  if (b.ref_count == 0) {
    if (b.prefix == 0) throw std::logic_error(fmt::format("block {} is free and cannot be referenced", block));
    evictable_.erase(b.place);
  }
  ++b.ref_count;
}

void BlockPool::release(std::int32_t block) {
  Block& b = at(block);
  if (b.ref_count < 1) throw std::logic_error(fmt::format("block {} is free already", block));
  if (--b.ref_count > 0) return;
  if (b.prefix == 0)
    free_.push_back(block);
  else
    b.place = evictable_.insert(evictable_.end(), block);
}

std::optional<BlockPool::CachedBlock> BlockPool::find(PrefixId parent, std::span<const TokenId> tokens) const {
  const auto found = by_content_.find(hash_of(parent, tokens));
  if (found == by_content_.end()) return std::nullopt;
  const Block& b = blocks_[static_cast<std::size_t>(found->second)];
  if (b.parent != parent || !std::ranges::equal(tokens_of(found->second), tokens)) return std::nullopt;
  return CachedBlock{found->second, b.prefix};
}

PrefixId BlockPool::cache(std::int32_t block, PrefixId parent, std::span<const TokenId> tokens) {
  Block& b = at(block);
  if (b.ref_count < 1) throw std::logic_error(fmt::format("block {} is free and cannot be cached", block));
  if (b.prefix != 0) throw std::logic_error(fmt::format("block {} is cached already", block));
  if (const auto same = find(parent, tokens)) return same->prefix;
  const std::uint64_t key = hash_of(parent, tokens);
  // A hash that another content has already: this one is not cached, but what follows it may be.
  if (!by_content_.emplace(key, block).second) return ++last_prefix_;
  if (tokens_.empty()) tokens_.resize(blocks_.size() * static_cast<std::size_t>(block_size_));
  std::ranges::copy(tokens, tokens_.begin() + static_cast<std::ptrdiff_t>(block) * block_size_);
  b.key = key;
  b.parent = parent;
  return b.prefix = ++last_prefix_;
}

void BlockPool::uncache(std::int32_t block) {
  Block& b = at(block);
  if (b.prefix == 0) return;
  by_content_.erase(b.key);
  b.prefix = b.parent = 0;
  if (b.ref_count > 0) return;
  evictable_.erase(b.place);
  free_.push_back(block);
}

void BlockPool::uncache_all() {
  for (std::int64_t block = 0; block < size(); ++block) uncache(static_cast<std::int32_t>(block));
}

void BlockPool::check() const {
  std::vector<bool> is_free(blocks_.size(), false);
  const auto visit = [&](std::int32_t block, bool cached) {
    const auto i = static_cast<std::size_t>(block);
    if (is_free.at(i)) throw std::logic_error(fmt::format("block {} is free twice", block));
    if (blocks_[i].ref_count != 0)
      throw std::logic_error(fmt::format("block {} is free but has {} references", block, blocks_[i].ref_count));
    if ((blocks_[i].prefix != 0) != cached)
      throw std::logic_error(fmt::format("block {} is in the wrong list of free blocks", block));
    is_free[i] = true;
  };
  for (const std::int32_t block : free_) visit(block, false);
  for (const std::int32_t block : evictable_) visit(block, true);
  std::size_t cached = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (!is_free[i] && blocks_[i].ref_count < 1) throw std::logic_error(fmt::format("block {} is lost", i));
    cached += blocks_[i].prefix != 0;
  }
  if (cached != by_content_.size())
    throw std::logic_error(fmt::format("{} blocks are cached but {} are indexed", cached, by_content_.size()));
}

}  // namespace warploom
