#include "kv/prefix_index.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace warploom {
namespace {

using Tokens = std::vector<TokenId>;

const CopyBlock kNoCopy = [](std::int32_t, std::int32_t) { FAIL() << "nothing shared is written to"; };

BlockTable table_of(BlockPool& pool, std::int64_t tokens) {
  BlockTable table(pool);
  EXPECT_TRUE(table.ensure_writable(0, tokens, kNoCopy));
  return table;
}

TEST(PrefixIndex, SharesWholeBlocksOfTheLongestText) {
  BlockPool pool(16, 4);
  PrefixIndex index;
  const Tokens first = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, second = {1, 2, 3, 4, 5, 6, 0};
  index.keep(first, table_of(pool, 10));
  index.keep(second, table_of(pool, 7));
  EXPECT_EQ(index.tokens(), 17);
  const auto shared = [&](const Tokens& tokens) {
    BlockTable table(pool);
    const std::int64_t count = index.share(tokens, table);
    EXPECT_EQ(static_cast<std::int64_t>(table.blocks().size()), count / 4);
    return count;
  };
  EXPECT_EQ(shared({}), 0);
  EXPECT_EQ(shared({2, 2, 3, 4, 5}), 0);
  EXPECT_EQ(shared({1, 2, 3}), 0);
  EXPECT_EQ(shared({1, 2, 3, 4}), 4);
  EXPECT_EQ(shared({1, 2, 3, 4, 5, 6, 7, 9}), 4);
  EXPECT_EQ(shared({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}), 8);
  EXPECT_EQ(pool.free_count(), 16 - 3 - 2);
}

TEST(PrefixIndex, ATextThatAnotherBeginsWithIsKeptOnce) {
  BlockPool pool(16, 4);
  PrefixIndex index;
  index.keep(Tokens{1, 2, 3, 4, 5}, table_of(pool, 5));
  index.keep(Tokens{1, 2, 3, 4, 5, 6, 7, 8, 9}, table_of(pool, 9));
  EXPECT_EQ(index.tokens(), 9);
  EXPECT_EQ(pool.free_count(), 13);
  index.keep(Tokens{1, 2, 3}, table_of(pool, 3));
  index.keep(Tokens{}, table_of(pool, 1));
  EXPECT_EQ(index.tokens(), 9);
  EXPECT_EQ(pool.free_count(), 13);
  index.clear();
  EXPECT_EQ(pool.free_count(), 16);
  EXPECT_FALSE(index.evict());
}

// Against a plain list of texts, the one used last at its end. Blocks hold the tokens that were written.
TEST(PrefixIndex, RandomUseAgreesWithAPlainModel) {
  constexpr std::int64_t kBlocks = 40, kBlockTokens = 4;
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 rng(seed);
    BlockPool pool(kBlocks, kBlockTokens);
    std::vector<Tokens> memory(kBlocks, Tokens(kBlockTokens, -1));
    PrefixIndex index;
    std::vector<Tokens> model;
    const auto begins = [](const Tokens& whole, const Tokens& part) {
      return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
    };
    const auto use = [&](std::size_t i) {
      std::rotate(model.begin() + static_cast<std::ptrdiff_t>(i), model.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                  model.end());
    };
    for (int step = 0; step < 400; ++step) {
      if (rng() % 16 == 0) {
        ASSERT_EQ(index.evict(), !model.empty());
        if (!model.empty()) model.erase(model.begin());
        continue;
      }
      Tokens tokens;  // of two kinds, so that many begin alike
      for (std::uint32_t n = rng() % 30; n > 0; --n) tokens.push_back(static_cast<TokenId>(rng() % 8 == 0));
      BlockTable table(pool);
      const std::int64_t shared = index.share(tokens, table);
      std::int64_t most = 0;
      std::size_t best = 0;
      for (std::size_t i = 0; i < model.size(); ++i) {
        std::int64_t common = 0;
        while (common < std::ssize(tokens) && common < std::ssize(model[i]) &&
               tokens[static_cast<std::size_t>(common)] == model[i][static_cast<std::size_t>(common)])
          ++common;
        if (common / kBlockTokens * kBlockTokens > most) {
          most = common / kBlockTokens * kBlockTokens;
          best = i;
        }
      }
      ASSERT_EQ(shared, most);
      for (std::int64_t i = 0; i < shared; ++i)
        ASSERT_EQ(memory[static_cast<std::size_t>(table.blocks()[static_cast<std::size_t>(i / kBlockTokens)])]
                        [static_cast<std::size_t>(i % kBlockTokens)],
                  tokens[static_cast<std::size_t>(i)]);
      if (shared > 0) use(best);
      // Of equally good texts any may count as used: the model follows no such choice.
      const auto many = [&](const Tokens& part) {
        return std::count_if(model.begin(), model.end(), [&](const Tokens& t) { return begins(t, part); }) > 1;
      };
      if ((shared > 0 && many({tokens.begin(), tokens.begin() + shared})) || many(tokens)) {
        index.clear();
        model.clear();
      }
      while (!table.ensure_writable(shared, std::ssize(tokens), kNoCopy)) {
        ASSERT_TRUE(index.evict());
        model.erase(model.begin());
      }
      for (std::int64_t i = shared; i < std::ssize(tokens); ++i)
        memory[static_cast<std::size_t>(table.blocks()[static_cast<std::size_t>(i / kBlockTokens)])]
              [static_cast<std::size_t>(i % kBlockTokens)] = tokens[static_cast<std::size_t>(i)];
      index.keep(tokens, std::move(table));
      if (tokens.empty()) continue;
      const auto whole = std::find_if(model.begin(), model.end(), [&](const Tokens& t) { return begins(t, tokens); });
      if (whole != model.end()) {
        use(static_cast<std::size_t>(whole - model.begin()));
      } else {
        std::erase_if(model, [&](const Tokens& t) { return begins(tokens, t); });
        model.push_back(tokens);
      }
      pool.check();
      std::int64_t sum = 0;
      for (const Tokens& t : model) sum += std::ssize(t);
      ASSERT_EQ(index.tokens(), sum);
    }
    index.clear();
    ASSERT_EQ(pool.free_count(), kBlocks);
  }
}

}  // namespace
}  // namespace warploom
