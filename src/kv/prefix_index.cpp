#include "kv/prefix_index.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace warploom {

namespace {

std::size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::size_t most = std::min(a.size(), b.size());
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(most), b.begin()).first -
                                  a.begin());
}

}  // namespace

std::int64_t common_blocks(std::span<const TokenId> a, std::span<const TokenId> b, std::int64_t block_size) {
  return static_cast<std::int64_t>(common_prefix(a, b)) / block_size * block_size;
}

void PrefixIndex::keep(std::span<const TokenId> tokens, BlockTable table) {
  if (tokens.empty()) return;
  for (Text& text : texts_) {
    if (common_prefix(text.tokens, tokens) < tokens.size()) continue;
    text.used = ++now_;
    return;  // it is there already
  }
  table.truncate(static_cast<std::int64_t>(tokens.size()));
  std::erase_if(texts_, [&](const Text& text) { return common_prefix(text.tokens, tokens) == text.tokens.size(); });
  texts_.push_back({{tokens.begin(), tokens.end()}, std::move(table), ++now_});
}

std::int64_t PrefixIndex::share(std::span<const TokenId> tokens, BlockTable& table) {
  Text* best = nullptr;
  std::int64_t most = 0;
  for (Text& text : texts_) {
    const std::int64_t common = common_blocks(text.tokens, tokens, table.block_size());
    if (common <= most) continue;
    most = common;
    best = &text;
  }
  if (!best) return 0;
  best->used = ++now_;
  table.fork(best->table, most);
  return most;
}

bool PrefixIndex::evict() {
  const auto oldest =
      std::min_element(texts_.begin(), texts_.end(), [](const Text& a, const Text& b) { return a.used < b.used; });
  if (oldest == texts_.end()) return false;
  texts_.erase(oldest);
  return true;
}

std::int64_t PrefixIndex::reclaimable(const BlockPool& pool) const {
  std::unordered_map<std::int32_t, int> held;
  for (const Text& text : texts_)
    for (const std::int32_t block : text.table.blocks()) ++held[block];
  return std::count_if(held.begin(), held.end(),
                       [&](const auto& entry) { return entry.second == pool.ref_count(entry.first); });
}

std::int64_t PrefixIndex::tokens() const {
  std::int64_t sum = 0;
  for (const Text& text : texts_) sum += static_cast<std::int64_t>(text.tokens.size());
  return sum;
}

}  // namespace warploom
