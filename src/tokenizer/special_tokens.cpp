#include "tokenizer/special_tokens.h"

namespace warploom {

SpecialTokens::SpecialTokens(const Vocabulary& vocabulary) : nodes_(1) {
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (!vocabulary.is_atomic(id) || vocabulary.pieces[i].empty()) continue;
    std::uint32_t node = 0;
    for (const char byte : vocabulary.pieces[i]) {
      std::uint32_t next = child(node, byte);
      if (next == 0) {
        next = static_cast<std::uint32_t>(nodes_.size());
        if (node == 0) {
          root_[static_cast<unsigned char>(byte)] = next;
        } else {
          nodes_[node].children.emplace_back(byte, next);
        }
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[node].token = id;
    nodes_[node].special = vocabulary.is_special(id);
  }
}

std::uint32_t SpecialTokens::child(std::uint32_t node, char byte) const {
  if (node == 0) return root_[static_cast<unsigned char>(byte)];
  for (const auto& [label, next] : nodes_[node].children) {
    if (label == byte) return next;
  }
  return 0;
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  std::size_t begin = 0;  // of the plain text that has not been put into a fragment
  for (std::size_t i = 0; i < text.size();) {
    TokenId token = -1;
    std::size_t end = i;
    std::uint32_t node = 0;
    for (std::size_t j = i; j < text.size() && (node = child(node, text[j])) != 0; ++j) {
      if (nodes_[node].token < 0 || (nodes_[node].special && !parse_special)) continue;
      token = nodes_[node].token;
      end = j + 1;
    }
    if (token < 0) {
      ++i;
      continue;
    }
    if (i > begin) fragments.push_back({text.substr(begin, i - begin)});
    fragments.push_back({text.substr(i, end - i), token});
    begin = i = end;
  }
  if (begin < text.size()) fragments.push_back({text.substr(begin)});
  return fragments;
}

}  // namespace warploom
