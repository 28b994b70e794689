// Which blocks of a paged KV cache are free, and which of them hold each sequence: the bookkeeping, on the host, that knows no
// device memory. warploom/cuda/kv_cache.h has the memory. Blocks are shared between sequences with a common prefix and copied
// when one of them writes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "warploom/export.h"

namespace warploom {

/// Blocks of `block_size` tokens that `tokens` tokens take.
constexpr std::int64_t blocks_for(std::int64_t tokens, std::int64_t block_size) {
  return tokens / block_size + (tokens % block_size != 0);
}

/// Blocks of `block_size` tokens each, and how many tables hold each of them. Not thread-safe. Must outlive the block tables
/// that hold its blocks.
class WARPLOOM_EXPORT BlockPool {
 public:
  /// Throws InvalidArgument unless 1 <= blocks <= 2^31 - 1 and block_size >= 1.
  explicit BlockPool(std::int64_t blocks, std::int64_t block_size = 16);

  std::int64_t size() const { return static_cast<std::int64_t>(ref_counts_.size()); }
  std::int64_t block_size() const { return block_size_; }
  /// Blocks that `tokens` tokens take.
  std::int64_t blocks_for(std::int64_t tokens) const { return warploom::blocks_for(tokens, block_size_); }
  std::int64_t free_count() const { return static_cast<std::int64_t>(free_.size()); }
  int ref_count(std::int32_t block) const { return ref_counts_[static_cast<std::size_t>(block)]; }

  /// A free block, held once; empty where there is none.
  std::optional<std::int32_t> allocate();
  /// One more holder of a held block. Throws std::logic_error where it is free.
  void add_ref(std::int32_t block);
  /// One holder less; the last one's leaving frees the block. Throws std::logic_error where it is free already.
  void release(std::int32_t block);

  /// Throws std::logic_error where a block is lost, free and held at once, or free twice. Cheap enough for every step.
  void check() const;

 private:
  std::int64_t block_size_;
  std::vector<std::int32_t> ref_counts_;
  std::vector<std::int32_t> free_;  // a stack: the block freed last is warm in the caches
};

/// Copies block `from` to block `to` in the cache, all layers.
using CopyBlock = std::function<void(std::int32_t from, std::int32_t to)>;

/// The blocks that hold one sequence's keys and values, in order of position. Owner of its share of blocks. Move-only; gives
/// everything back when it goes.
class WARPLOOM_EXPORT BlockTable {
 public:
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& other) noexcept : pool_(other.pool_), blocks_(std::move(other.blocks_)) { other.blocks_.clear(); }
  BlockTable& operator=(BlockTable&& other) noexcept;

  std::span<const std::int32_t> blocks() const { return blocks_; }
  std::int64_t block_size() const { return pool_->block_size(); }

  /// Makes positions [from, to) writable: adds blocks, and replaces by a copy every touched block that others hold too.
  /// False where the pool has too few blocks; then nothing that was held is lost, and the call can be repeated.
  bool ensure_writable(std::int64_t from, std::int64_t to, const CopyBlock& copy);

  /// Holds the blocks of the first `tokens` positions of `other` too. This table must be empty, of the same pool.
  void fork(const BlockTable& other, std::int64_t tokens);

  /// Gives back the blocks beyond those of the first `tokens` positions.
  void truncate(std::int64_t tokens);
  void clear() { truncate(0); }

 private:
  BlockPool* pool_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace warploom
