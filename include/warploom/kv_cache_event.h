// What changes in a prefix cache, for routers that send a request where its prefix is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "warploom/export.h"
#include "warploom/types.h"

namespace warploom {

/// The prefix cache gained or lost a block.
struct KvCacheEvent {
  enum class Kind : std::uint8_t {
    stored,
    removed,
    cleared,  ///< all blocks
  };
  std::uint64_t id = 0;  ///< counts up from 1; a gap: events were dropped because nobody took them
  Kind kind = Kind::stored;
  std::uint64_t hash = 0;          ///< prefix_hash() of the block and all before it
  std::uint64_t parent_hash = 0;   ///< of those before it; 0: it is the first
  std::vector<TokenId> token_ids;  ///< block_size of them, if stored
};

/// Chained hash of a block: the same in every process. `parent`: of the block before it, 0 for the first.
WARPLOOM_EXPORT std::uint64_t prefix_hash(std::uint64_t parent, std::span<const TokenId> tokens);

}  // namespace warploom
