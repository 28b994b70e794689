// What turns a stretch of plain text, without special tokens in it, into token ids.
#pragma once

#include <string_view>
#include <vector>

#include "warploom/types.h"

namespace warploom {

/// Immutable and safe to share between threads.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  /// Appends the tokens of `text`, at most 2^31 - 1 bytes.
  virtual void encode(std::string_view text, std::vector<TokenId>& ids) const = 0;
};

}  // namespace warploom
