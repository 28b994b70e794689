// Blocks that stay findable by their tokens after their last reference has gone.
#include <algorithm>
#include <list>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "warploom/block_table.h"

namespace warploom {
namespace {

using Tokens = std::vector<TokenId>;

TEST(PrefixCachedBlocks, AreFoundByTheirTokensAndByWhatComesBefore) {
  BlockPool pool(4, 2);
  const std::int32_t a = *pool.allocate(), b = *pool.allocate();
  const Prefix first = pool.cache(a, {}, Tokens{1, 2}), second = pool.cache(b, first, Tokens{1, 2});
  EXPECT_NE(first, second);
  EXPECT_EQ(pool.find({}, Tokens{1, 2})->block, a);
  EXPECT_EQ(pool.find(first, Tokens{1, 2})->block, b);
  EXPECT_EQ(pool.find(first, Tokens{1, 2})->prefix, second);
  EXPECT_FALSE(pool.find({}, Tokens{2, 1}));
  EXPECT_FALSE(pool.find(second, Tokens{1, 2}));
  // Another block with the same content is the same prefix, but is not found.
  const std::int32_t c = *pool.allocate();
  EXPECT_EQ(pool.cache(c, {}, Tokens{1, 2}), first);
  EXPECT_FALSE(pool.is_cached(c));
  pool.release(c);
  // Without references they are free, and still found.
  pool.release(b);
  pool.release(a);
  EXPECT_EQ(pool.free_count(), 4);
  EXPECT_EQ(pool.cached_count(), 2);
  EXPECT_EQ(pool.find({}, Tokens{1, 2})->block, a);
  EXPECT_THROW(pool.release(a), std::logic_error);
  pool.add_ref(a);
  EXPECT_EQ(pool.free_count(), 3);
  pool.uncache(a);
  EXPECT_FALSE(pool.find({}, Tokens{1, 2}));
  EXPECT_EQ(pool.ref_count(a), 1);
  pool.check();
}

TEST(PrefixCachedBlocks, TheLeastRecentlyUsedIsEvictedFirstAndOthersBeforeIt) {
  BlockPool pool(3, 1);
  std::vector<std::int32_t> blocks;
  for (TokenId token = 0; token < 3; ++token) {
    blocks.push_back(*pool.allocate());
    if (token < 2) pool.cache(blocks.back(), {}, Tokens{token});
  }
  pool.release(blocks[0]);
  pool.release(blocks[1]);
  pool.release(blocks[2]);
  pool.add_ref(blocks[0]);  // used again
  pool.release(blocks[0]);
  EXPECT_EQ(pool.allocate(), blocks[2]);  // was not cached
  EXPECT_EQ(pool.allocate(), blocks[1]);
  EXPECT_FALSE(pool.find({}, Tokens{1}));
  EXPECT_TRUE(pool.find({}, Tokens{0}));
  EXPECT_EQ(pool.allocate(), blocks[0]);
  EXPECT_FALSE(pool.find({}, Tokens{0}));
  EXPECT_FALSE(pool.allocate());
  pool.check();
}

TEST(PrefixCachedBlocks, RefuseTokensThatDoNotFillABlock) {
  BlockPool pool(3, 2);
  const std::int32_t block = *pool.allocate();
  EXPECT_THROW(pool.cache(block, {}, Tokens{1}), std::logic_error);
  EXPECT_THROW(pool.cache(block, {}, Tokens{1, 2, 3}), std::logic_error);
  pool.cache(block, {}, Tokens{1, 2});
  EXPECT_THROW(pool.cache(block, {}, Tokens{1, 2}), std::logic_error);
  EXPECT_FALSE(pool.find({}, Tokens{1}));
  EXPECT_FALSE(pool.find({}, Tokens{1, 2, 3}));
  pool.check();
}

TEST(PrefixCachedBlocks, ACachedBlockIsCopiedBeforeItIsWritten) {
  BlockPool pool(4, 4);
  BlockTable table(pool);
  std::vector<BlockCopy> copies;
  ASSERT_TRUE(table.ensure_writable(0, 4, copies));
  EXPECT_TRUE(copies.empty());
  const std::int32_t block = table.blocks()[0];
  pool.cache(block, {}, Tokens{1, 2, 3, 4});
  ASSERT_TRUE(table.ensure_writable(3, 5, copies));
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies[0], (BlockCopy{block, table.blocks()[0]}));
  EXPECT_NE(table.blocks()[0], block);
  EXPECT_EQ(pool.find({}, Tokens{1, 2, 3, 4})->block, block);
}

// Random sequences over few tokens, in a small pool, against a plain map from content to block, with the order of release beside it.
TEST(PrefixCachedBlocks, RandomUseAgreesWithAPlainModel) {
  int found = 0, evicted = 0;
  for (std::uint32_t seed = 0; seed < 30; ++seed) {
    std::mt19937 rng(seed);
    constexpr std::int64_t kBlocks = 16, kSize = 2;
    BlockPool pool(kBlocks, kSize);
    std::map<std::int32_t, Tokens> content;  // of cached blocks: all tokens up to the block's end
    std::list<std::int32_t> idle;            // cached, without references, least recently used first
    std::list<BlockTable> live;
    for (int step = 0; step < 400; ++step) {
      if (!live.empty() && rng() % 2) {  // a sequence goes, its last block first
        const auto at = std::next(live.begin(), static_cast<std::ptrdiff_t>(rng() % live.size()));
        const auto blocks = at->blocks();
        for (auto block = blocks.rbegin(); block != blocks.rend(); ++block)
          if (content.contains(*block) && pool.ref_count(*block) == 1) idle.push_back(*block);
        live.erase(at);
        continue;
      }
      Tokens tokens(static_cast<std::size_t>(kSize) * (1 + rng() % 4));
      for (TokenId& token : tokens) token = static_cast<TokenId>(rng() % 2);
      BlockTable table(pool);
      Prefix prefix;
      for (std::size_t end = kSize; end <= tokens.size(); end += kSize) {
        const Tokens upto(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(end));
        const std::span<const TokenId> last = std::span(tokens).subspan(end - kSize, kSize);
        if (const auto hit = pool.find(prefix, last)) {
          ASSERT_EQ(content.at(hit->block), upto) << "seed " << seed << " step " << step;
          table.append(hit->block);
          std::erase(idle, hit->block);
          prefix = hit->prefix;
          ++found;
          continue;
        }
        std::vector<BlockCopy> copies;
        const bool from_idle = pool.free_count() == static_cast<std::int64_t>(idle.size());
        if (!table.ensure_writable(static_cast<std::int64_t>(end) - kSize, static_cast<std::int64_t>(end), copies)) break;
        ASSERT_TRUE(copies.empty());
        const std::int32_t block = table.blocks().back();
        if (from_idle) {
          ASSERT_EQ(block, idle.front()) << "seed " << seed << " step " << step;
          idle.pop_front();
          content.erase(block);
          ++evicted;
        }
        prefix = pool.cache(block, prefix, last);
        if (pool.is_cached(block)) content[block] = upto;
      }
      live.push_back(std::move(table));
      pool.check();
      ASSERT_EQ(pool.cached_count(), static_cast<std::int64_t>(content.size()));
    }
  }
  EXPECT_GT(found, 1000);
  EXPECT_GT(evicted, 1000);
}

}  // namespace
}  // namespace warploom
