#include "cli/text_statistics.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace warploom::cli {
namespace {

// By definition: an n-gram is new if none before it is equal.
double distinct_by_definition(const std::vector<TokenId>& ids, std::size_t n) {
  if (ids.size() < n) return 1.0;
  std::size_t fresh = 0;
  const std::size_t count = ids.size() - n + 1;
  for (std::size_t i = 0; i < count; ++i) {
    bool seen = false;
    for (std::size_t j = 0; j < i && !seen; ++j) {
      seen = true;
      for (std::size_t k = 0; k < n; ++k) seen = seen && ids[i + k] == ids[j + k];
    }
    fresh += seen ? 0 : 1;
  }
  return static_cast<double>(fresh) / static_cast<double>(count);
}

TEST(TextStatistics, CountAsDefined) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 rng(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<TokenId> ids(rng() % 40);
    const auto different = 1 + rng() % 6;
    for (TokenId& id : ids) id = static_cast<TokenId>(rng() % different);
    for (int n = 1; n <= 4; ++n) {
      const double want = distinct_by_definition(ids, static_cast<std::size_t>(n));
      EXPECT_DOUBLE_EQ(distinct(ids, n), want) << ids.size() << " tokens, n " << n;
      EXPECT_DOUBLE_EQ(repeated(ids, n), 1.0 - want) << ids.size() << " tokens, n " << n;
    }
  }
}

TEST(TextStatistics, NothingRepeatsWhereThereAreNoNgrams) {
  for (int n = 1; n <= 4; ++n) {
    EXPECT_EQ(distinct({}, n), 1.0);
    EXPECT_EQ(repeated({}, n), 0.0);
  }
}

}  // namespace
}  // namespace warploom::cli
