// The blocks of a paged KV cache: which are free, how many sequences share each, and which hold a prefix that is worth keeping.
// This is bookkeeping on the host; warploom/cuda/kv_cache.h has the memory itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "warploom/export.h"
#include "warploom/kv_cache_event.h"
#include "warploom/types.h"

namespace warploom {

/// Number of blocks of `block_size` tokens that `tokens` tokens take.
constexpr std::int64_t blocks_for(std::int64_t tokens, std::int64_t block_size) {
  return tokens / block_size + (tokens % block_size != 0);
}

/// Identifies the content of a cached block: its tokens and all tokens before it.
struct Prefix {
  std::uint64_t id = 0;    ///< 0: nothing. A pool never uses a number for two contents
  std::uint64_t hash = 0;  ///< prefix_hash() of the content

  bool operator==(const Prefix& other) const { return id == other.id; }
};

/// A pool of blocks with reference counts and a prefix cache. A full block can be registered by its tokens and by the prefix
/// before it. It stays findable when its last reference goes, until allocate() needs it: the least recently used block is
/// evicted first. Not thread-safe. Must outlive the block tables that refer to it. Blocks are numbers in [0, size()). Misuse
/// (releasing a free block) throws std::logic_error.
class WARPLOOM_EXPORT BlockPool {
 public:
  /// Throws InvalidArgument unless 1 <= num_blocks <= 2^31 - 1 and block_size >= 1.
  explicit BlockPool(std::int64_t num_blocks, std::int64_t block_size = 16);

  std::int64_t size() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t block_size() const { return block_size_; }
  /// Number of blocks that `tokens` tokens take.
  std::int64_t blocks_for(std::int64_t tokens) const { return warploom::blocks_for(tokens, block_size_); }
  /// Number of blocks that allocate() can still return; cached blocks without references are among them.
  std::int64_t free_count() const { return static_cast<std::int64_t>(free_.size()) + num_evictable_; }
  int ref_count(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)].ref_count; }

  /// A block with one reference; empty if none is free. May evict a cached block.
  [[nodiscard]] std::optional<std::int32_t> allocate();
  /// Adds a reference to a block that is referenced or cached. Throws std::logic_error if it is neither.
  void add_ref(std::int32_t block);
  /// Drops one reference; at zero the block is free again. Throws std::logic_error if it has none.
  void release(std::int32_t block);

  struct CachedBlock {
    std::int32_t block;
    Prefix prefix;  ///< that ends with this block
  };
  /// The cached block that holds `tokens` (block_size of them) after the prefix `parent`; empty if there is none. Takes no
  /// reference.
  [[nodiscard]] std::optional<CachedBlock> find(const Prefix& parent, std::span<const TokenId> tokens) const;
  /// Registers a referenced block whose keys and values are computed; returns the prefix that ends with it. If another block
  /// holds the same content already, that one stays registered and its prefix is returned. Throws std::logic_error if the block
  /// has no reference or is cached already, or if there are not block_size tokens.
  Prefix cache(std::int32_t block, const Prefix& parent, std::span<const TokenId> tokens);
  bool is_cached(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)].prefix.id != 0; }
  /// Number of cached blocks, referenced or not.
  std::int64_t cached_count() const { return num_cached_; }
  /// Makes a block unfindable; references stay as they are.
  void uncache(std::int32_t block);
  void uncache_all();
  /// Is told of every block that is cached or uncached from now on; ids of its events are 0. Empty: nobody is.
  void set_listener(std::function<void(KvCacheEvent)> listener) { listener_ = std::move(listener); }

  /// Throws std::logic_error if a block is lost, free and referenced at once, or free twice. Linear in the number of blocks.
  void check() const;

 private:
  static constexpr std::int32_t kNone = -1;
  struct Block {
    std::int32_t ref_count = 0;
    std::int32_t previous = kNone, next = kNone;  // in the list of evictable blocks
    std::int32_t next_in_bucket = kNone;          // in the table of cached blocks
    Prefix prefix, parent;                        // the prefix's id is 0: not cached
  };
  Block& at(std::int32_t block) { return blocks_.at(static_cast<std::size_t>(block)); }
  std::int32_t& bucket(std::uint64_t hash);
  std::optional<CachedBlock> find(const Prefix& parent, std::span<const TokenId> tokens, std::uint64_t hash) const;
  std::span<const TokenId> tokens_of(std::int32_t block) const;
  void append_evictable(std::int32_t block);
  void remove_evictable(std::int32_t block);

  std::int64_t block_size_;
  std::vector<Block> blocks_;
  std::vector<std::int32_t> free_;                // a stack: the block that was freed last is warm in the processor's caches
  std::int32_t oldest_ = kNone, newest_ = kNone;  // ends of the list of cached blocks without references, by last use
  std::int64_t num_evictable_ = 0, num_cached_ = 0;
  std::vector<std::int32_t> buckets_;  // heads of the chains of cached blocks, by hash; empty until one is cached
  std::vector<TokenId> tokens_;  // [num_blocks, block_size] of cached blocks, to compare with; empty until one is cached
  std::uint64_t last_prefix_ = 0;
  std::function<void(KvCacheEvent)> listener_;
};

}  // namespace warploom
