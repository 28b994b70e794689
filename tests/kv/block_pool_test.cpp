#include <map>
#include <random>

#include <gtest/gtest.h>

#include "warploom/block_table.h"
#include "warploom/error.h"

namespace warploom {
namespace {

TEST(BlockPool, RefusesNonsense) {
  EXPECT_THROW(BlockPool(0), InvalidArgument);
  EXPECT_THROW(BlockPool(std::int64_t{1} << 32), InvalidArgument);
  EXPECT_THROW(BlockPool(1, 0), InvalidArgument);
  BlockPool pool(2);
  EXPECT_THROW(pool.release(0), std::logic_error);
  EXPECT_THROW(pool.add_ref(1), std::logic_error);
}

TEST(BlockTables, ShareNothingThatIsNotThere) {
  BlockPool pool(8, 4), elsewhere(8, 4);
  std::vector<BlockCopy> copies;
  BlockTable table(pool), stranger(elsewhere);
  ASSERT_TRUE(table.ensure_writable(0, 10, copies));
  BlockTable fork(pool);
  EXPECT_THROW(fork.fork(table, 13), std::logic_error);
  EXPECT_THROW(fork.fork(table, -1), std::logic_error);
  EXPECT_THROW(stranger.fork(table, 4), std::logic_error);
  EXPECT_EQ(pool.free_count(), 5);
  fork.fork(table, 12);
  EXPECT_EQ(fork.blocks().size(), 3u);
  EXPECT_THROW(fork.fork(table, 4), std::logic_error);
  pool.check();
}

// Tables that grow, fork, diverge and go, in a small pool, against a plain model: a map from (table, position) to a value that
// was written there. Blocks hold the values; copies are made by the table's own requests.
TEST(BlockTables, RandomOperationsAgreeWithAPlainModel) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 rng(seed);
    constexpr std::int64_t kBlocks = 24;
    const std::int64_t block_size = std::int64_t{8} << seed % 3;
    BlockPool pool(kBlocks, block_size);
    std::vector<std::vector<int>> memory(kBlocks, std::vector<int>(static_cast<std::size_t>(block_size), -1));
    struct Entry {
      BlockTable table;
      std::vector<int> values;
    };
    std::map<int, Entry> live;
    int next = 0, stamp = 0, refused = 0, copies = 0;
    for (int step = 0; step < 600; ++step) {
      const auto pick = [&] { return std::next(live.begin(), static_cast<std::ptrdiff_t>(rng() % live.size())); };
      const auto kind = rng() % 10;
      if (live.empty() || kind == 0) {
        live.emplace(next++, Entry{BlockTable(pool), {}});
      } else if (kind == 1) {
        live.erase(pick());
      } else if (kind <= 3) {
        const auto parent = pick();
        const auto prefix = static_cast<std::int64_t>(rng() % (parent->second.values.size() + 1));
        Entry child{BlockTable(pool), {parent->second.values.begin(), parent->second.values.begin() + prefix}};
        child.table.fork(parent->second.table, prefix);
        live.emplace(next++, std::move(child));
      } else {
        Entry& entry = pick()->second;
        const auto from = static_cast<std::int64_t>(entry.values.size());
        const std::int64_t count = 1 + static_cast<std::int64_t>(rng() % 20);
        std::vector<BlockCopy> wanted;
        const bool writable = entry.table.ensure_writable(from, from + count, wanted);
        for (const BlockCopy& copy : wanted)
          memory[static_cast<std::size_t>(copy.to)] = memory[static_cast<std::size_t>(copy.from)];
        copies += static_cast<int>(wanted.size());
        if (!writable) {
          ++refused;
        } else {
          for (std::int64_t p = from; p < from + count; ++p) {
            memory[static_cast<std::size_t>(entry.table.blocks()[static_cast<std::size_t>(p / block_size)])]
                  [static_cast<std::size_t>(p % block_size)] = stamp;
            entry.values.push_back(stamp++);
          }
        }
      }
      pool.check();
      for (const auto& [id, entry] : live)
        for (std::size_t p = 0; p < entry.values.size(); ++p)
          ASSERT_EQ(memory[static_cast<std::size_t>(entry.table.blocks()[p / block_size])][p % block_size], entry.values[p])
              << "seed " << seed << " step " << step << " table " << id;
    }
    EXPECT_GT(refused, 0);
    EXPECT_GT(copies, 0);
    live.clear();
    EXPECT_EQ(pool.free_count(), kBlocks);
  }
}

}  // namespace
}  // namespace warploom
