// Finds tokens by how the vocabulary spells them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "warploom/types.h"

namespace warploom {

/// Open addressing: a slot is 8 bytes, and most tokens that are not the one are passed over without a look at their spelling. Not for keys
/// that an adversary may choose: whoever writes a file can make its own loading slow.
class TokenIndex {
 public:
  /// Empty. Of `tokens`, which stay where they are as long as the index, it will hold those that are inserted.
  explicit TokenIndex(std::span<const std::string_view> tokens);

  /// Returns the token of the same spelling that it holds already, or -1 after it has put `id` in.
  TokenId insert(TokenId id);
  /// -1 if it holds no such token.
  TokenId find(std::string_view spelling) const;

 private:
  struct Slot {
    std::uint32_t hash = 0;  // upper half
    TokenId id = -1;
  };
  /// The token's slot, or the empty one where it belongs.
  std::size_t slot_of(std::string_view spelling, std::uint64_t hash) const;

  std::span<const std::string_view> tokens_;
  std::vector<Slot> slots_;  // a power of two, at least twice the tokens
};

}  // namespace warploom
