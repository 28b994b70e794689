#include "warploom/block_pool.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

std::uint64_t prefix_hash(std::uint64_t parent, std::span<const TokenId> tokens) {
  std::uint64_t hash = (parent + 1) * 0x9e3779b97f4a7c15u;
  for (const TokenId token : tokens) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash == 0 ? 1 : hash;  // 0 stands for no parent
}

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

std::int32_t& BlockPool::bucket(std::uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }

void BlockPool::append_evictable(std::int32_t block) {
  Block& b = at(block);
  b.previous = newest_;
  b.next = kNone;
  (newest_ == kNone ? oldest_ : at(newest_).next) = block;
  newest_ = block;
  ++num_evictable_;
}

void BlockPool::remove_evictable(std::int32_t block) {
  const Block& b = at(block);
  (b.previous == kNone ? oldest_ : at(b.previous).next) = b.next;
  (b.next == kNone ? newest_ : at(b.next).previous) = b.previous;
  --num_evictable_;
}

std::optional<std::int32_t> BlockPool::allocate() {
  if (free_.empty()) {
    if (oldest_ == kNone) return std::nullopt;
    uncache(oldest_);
  }
  const std::int32_t block = free_.back();
  free_.pop_back();
  at(block).ref_count = 1;
  return block;
}

void BlockPool::add_ref(std::int32_t block) {
  Block& b = at(block);
  if (b.ref_count == 0) {
    if (b.prefix.id == 0) throw std::logic_error(fmt::format("block {} is free and cannot be referenced", block));
    remove_evictable(block);
  }
  ++b.ref_count;
}

void BlockPool::release(std::int32_t block) {
  Block& b = at(block);
  if (b.ref_count < 1) throw std::logic_error(fmt::format("block {} is free already", block));
  if (--b.ref_count > 0) return;
  if (b.prefix.id == 0)
    free_.push_back(block);
  else
    append_evictable(block);
}

std::optional<BlockPool::CachedBlock> BlockPool::find(const Prefix& parent, std::span<const TokenId> tokens) const {
  return find(parent, tokens, prefix_hash(parent.hash, tokens));
}

std::optional<BlockPool::CachedBlock> BlockPool::find(const Prefix& parent, std::span<const TokenId> tokens,
                                                      std::uint64_t hash) const {
  if (buckets_.empty()) return std::nullopt;
  for (std::int32_t block = const_cast<BlockPool*>(this)->bucket(hash); block != kNone;) {
    const Block& b = blocks_[static_cast<std::size_t>(block)];
    if (b.parent == parent && std::ranges::equal(tokens_of(block), tokens)) return CachedBlock{block, b.prefix};
    block = b.next_in_bucket;
  }
  return std::nullopt;
}

Prefix BlockPool::cache(std::int32_t block, const Prefix& parent, std::span<const TokenId> tokens) {
  Block& b = at(block);
  if (b.ref_count < 1) throw std::logic_error(fmt::format("block {} is free and cannot be cached", block));
  if (b.prefix.id != 0) throw std::logic_error(fmt::format("block {} is cached already", block));
  if (static_cast<std::int64_t>(tokens.size()) != block_size_)
    throw std::logic_error(fmt::format("{} tokens for a block of {}", tokens.size(), block_size_));
  const std::uint64_t hash = prefix_hash(parent.hash, tokens);
  if (const auto same = find(parent, tokens, hash)) return same->prefix;
  if (buckets_.empty()) {
    tokens_.resize(blocks_.size() * static_cast<std::size_t>(block_size_));
    buckets_.assign(std::bit_ceil(blocks_.size()), kNone);
  }
  std::ranges::copy(tokens, tokens_.begin() + static_cast<std::ptrdiff_t>(block) * block_size_);
  std::int32_t& head = bucket(hash);
  b.next_in_bucket = head;
  head = block;
  b.parent = parent;
  b.prefix = {++last_prefix_, hash};
  ++num_cached_;
  if (listener_) listener_({0, KvCacheEvent::Kind::stored, hash, parent.hash, {tokens.begin(), tokens.end()}});
  return b.prefix;
}

void BlockPool::uncache(std::int32_t block) {
  Block& b = at(block);
  if (b.prefix.id == 0) return;
  std::int32_t* link = &bucket(b.prefix.hash);
  while (*link != block) link = &at(*link).next_in_bucket;
  *link = b.next_in_bucket;
  if (listener_) listener_({0, KvCacheEvent::Kind::removed, b.prefix.hash, b.parent.hash, {}});
  b.prefix = b.parent = {};
  --num_cached_;
  if (b.ref_count > 0) return;
  remove_evictable(block);
  free_.push_back(block);
}

void BlockPool::uncache_all() {
  const auto listener = std::exchange(listener_, {});
  for (std::int64_t block = 0; block < size(); ++block) uncache(static_cast<std::int32_t>(block));
  listener_ = listener;
  if (listener_) listener_({0, KvCacheEvent::Kind::cleared, 0, 0, {}});
}

void BlockPool::check() const {
  std::vector<bool> is_free(blocks_.size(), false);
  const auto visit = [&](std::int32_t block, bool cached) {
    const auto i = static_cast<std::size_t>(block);
    if (is_free.at(i)) throw std::logic_error(fmt::format("block {} is free twice", block));
    if (blocks_[i].ref_count != 0)
      throw std::logic_error(fmt::format("block {} is free but has {} references", block, blocks_[i].ref_count));
    if ((blocks_[i].prefix.id != 0) != cached)
      throw std::logic_error(fmt::format("block {} is in the wrong list of free blocks", block));
    is_free[i] = true;
  };
  for (const std::int32_t block : free_) visit(block, false);
  for (std::int32_t block = oldest_; block != kNone; block = blocks_[static_cast<std::size_t>(block)].next)
    visit(block, true);
  std::int64_t cached = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (!is_free[i] && blocks_[i].ref_count < 1) throw std::logic_error(fmt::format("block {} is lost", i));
    cached += blocks_[i].prefix.id != 0;
  }
  if (cached != num_cached_)
    throw std::logic_error(fmt::format("{} blocks are cached but {} are counted", cached, num_cached_));
}

}  // namespace warploom
