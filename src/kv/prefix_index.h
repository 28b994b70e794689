// Which blocks hold the keys and values of texts that no sequence works on any more.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "warploom/kv_blocks.h"
#include "warploom/types.h"

namespace warploom {

/// How many tokens `a` and `b` both begin with, in whole blocks.
std::int64_t common_blocks(std::span<const TokenId> a, std::span<const TokenId> b, std::int64_t block_size);

/// Owner of its share of blocks, whose pool must outlive it. Shares whole blocks only, so that nobody writes to what it holds.
class PrefixIndex {
 public:
  /// Takes over `table`, which holds the keys and values of `tokens`; blocks beyond go back.
  void keep(std::span<const TokenId> tokens, BlockTable table);

  /// The longest run of whole blocks that hold the first of `tokens`: `table`, which must be empty, holds them too from then
  /// on. Returns their tokens, 0 where there are none.
  std::int64_t share(std::span<const TokenId> tokens, BlockTable& table);

  /// Lets go of the text that was kept or shared least recently. False where there is none.
  bool evict();
  /// Blocks that nobody else holds.
  std::int64_t reclaimable(const BlockPool& pool) const;
  void clear() { texts_.clear(); }

  /// Tokens of all texts; those that several begin with count once for each.
  std::int64_t tokens() const;

 private:
  struct Text {
    std::vector<TokenId> tokens;
    BlockTable table;
    std::uint64_t used;  // when
  };

  std::vector<Text> texts_;  // none is how another begins
  std::uint64_t now_ = 0;
};

}  // namespace warploom
