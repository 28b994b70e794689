// Finds the tokens that are written out in a text and are taken as a whole.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace warploom {

/// Either plain text or one token.
struct Fragment {
  std::string_view text;
  TokenId token = -1;  // -1: plain text
};

/// A trie of the vocabulary's atomic tokens.
class SpecialTokens {
 public:
  explicit SpecialTokens(const Vocabulary& vocabulary);

  /// Cuts `text` at the leftmost token, at the longest if several begin there, and so on to the end. It finds tokens with a role in
  /// the model only if `parse_special`, and always those that the vocabulary's makers defined as pieces of text. The
  /// fragments' texts are not empty.
  std::vector<Fragment> split(std::string_view text, bool parse_special) const;

 private:
  struct Node {
    TokenId token = -1;
    bool special = false;
    std::vector<std::pair<char, std::uint32_t>> children;
  };
  std::uint32_t child(std::uint32_t node, char byte) const;  // 0 if there is none

  std::vector<Node> nodes_;                // the first is the root
  std::array<std::uint32_t, 256> root_{};  // its children
};

}  // namespace warploom
