#include "cli/text_statistics.h"

#include <set>
#include <vector>

namespace warploom::cli {

double distinct(std::span<const TokenId> ids, int n) {
  const auto length = static_cast<std::size_t>(n);
  if (ids.size() < length) return 1.0;
  std::set<std::vector<TokenId>> seen;
  const std::size_t count = ids.size() - length + 1;
  for (std::size_t i = 0; i < count; ++i)
    seen.emplace(ids.begin() + static_cast<std::ptrdiff_t>(i), ids.begin() + static_cast<std::ptrdiff_t>(i + length));
  return static_cast<double>(seen.size()) / static_cast<double>(count);
}

double repeated(std::span<const TokenId> ids, int n) { return 1.0 - distinct(ids, n); }

}  // namespace warploom::cli
