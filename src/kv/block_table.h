// The blocks that hold one sequence's keys and values, in order of position.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace warploom {

/// Copies block `from` to block `to` in the cache, all layers.
using CopyBlock = std::function<void(std::int32_t from, std::int32_t to)>;

/// Owner of its share of blocks. Move-only; gives everything back when it goes.
class BlockTable {
 public:
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& other) noexcept : pool_(other.pool_), blocks_(std::move(other.blocks_)) { other.blocks_.clear(); }
  BlockTable& operator=(BlockTable&& other) noexcept;

  std::span<const std::int32_t> blocks() const { return blocks_; }

  /// Makes positions [from, to) writable: adds blocks, and replaces by a copy every touched block that others hold too.
  /// False where the pool has too few blocks; then nothing that was held is lost, and the call can be repeated.
  bool make_writable(std::int64_t from, std::int64_t to, const CopyBlock& copy);

  /// Holds the blocks of the first `tokens` positions of `other` too. This table must be empty, of the same pool.
  void share_prefix(const BlockTable& other, std::int64_t tokens);

  void clear();

 private:
  BlockPool* pool_;
  std::vector<std::int32_t> blocks_;
};

}  // namespace warploom
