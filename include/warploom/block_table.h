// The blocks that hold one sequence's keys and values.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "warploom/block_pool.h"
#include "warploom/export.h"

namespace warploom {

/// Copy block `from` to block `to` in every layer of the cache.
struct BlockCopy {
  std::int32_t from = 0;
  std::int32_t to = 0;
  bool operator==(const BlockCopy&) const = default;
};

/// The blocks that hold one sequence's keys and values, in order of position. Owns a reference to each and drops it when
/// destroyed. Move-only.
class WARPLOOM_EXPORT BlockTable {
 public:
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& other) noexcept : pool_(other.pool_), blocks_(std::move(other.blocks_)) { other.blocks_.clear(); }
  BlockTable& operator=(BlockTable&& other) noexcept;

  std::span<const std::int32_t> blocks() const { return blocks_; }
  std::int64_t block_size() const { return pool_->block_size(); }

  /// Makes positions [from, to) writable (from >= 0): appends blocks, and replaces every touched block that is shared or cached by
  /// a new one (copy on write), for which it appends to `copies` what the caller must copy, in this order, before the next write.
  /// Returns false if the pool runs out of blocks; nothing is lost then and the call can be repeated.
  [[nodiscard]] bool ensure_writable(std::int64_t from, std::int64_t to, std::vector<BlockCopy>& copies);

  /// Appends a block and takes a reference to it: a cached one that continues this sequence.
  void append(std::int32_t block);

  /// Shares the blocks of the first `tokens` positions of `other`. Throws std::logic_error unless this table is empty and of the
  /// same pool, and the other has these positions.
  void fork(const BlockTable& other, std::int64_t tokens);

  /// Drops the blocks beyond those of the first `tokens` positions, the last one first.
  void truncate(std::int64_t tokens);
  void clear() { truncate(0); }

 private:
  BlockPool* pool_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace warploom
