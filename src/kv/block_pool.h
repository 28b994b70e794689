// Which blocks of a KV cache are free, and how many block tables hold each of the others. Knows no device memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace warploom {

/// Not thread-safe. Must outlive the block tables that hold its blocks.
class BlockPool {
 public:
  /// Throws InvalidArgument unless 1 <= blocks <= 2^31 - 1.
  explicit BlockPool(std::int64_t blocks);

  std::int64_t size() const { return static_cast<std::int64_t>(holders_.size()); }
  std::int64_t free_count() const { return static_cast<std::int64_t>(free_.size()); }
  int holders(std::int32_t block) const { return holders_[static_cast<std::size_t>(block)]; }

  /// A free block, held once; empty where there is none.
  std::optional<std::int32_t> allocate();
  /// One more holder of a held block.
  void share(std::int32_t block);
  /// One holder less; the last one's leaving frees the block.
  void release(std::int32_t block);

  /// Throws std::logic_error where a block is lost, free and held at once, or free twice. Cheap enough for every step.
  void check() const;

 private:
  std::vector<std::int32_t> holders_;
  std::vector<std::int32_t> free_;   // a stack: the block freed last is warm in the caches
};

}  // namespace warploom
