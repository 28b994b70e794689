#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/memory.h"

namespace warploom::cpu {
namespace {

// From smaller than a page to larger than a region, in an order that leaves rests.
const std::vector<std::size_t> kSizes = {1,          100,  5'000'000, 3'000'000,  64, 17'000'000,
                                         40'000'000, 4096, 9'000'000, 15'000'000, 63};

TEST(WeightMemory, PiecesAreZeroAlignedAndDistinct) {
  std::optional<WeightMemory> memory(std::in_place);
  std::vector<std::shared_ptr<std::byte[]>> pieces;
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    pieces.push_back(memory->allocate(kSizes[i]));
    const std::byte* piece = pieces.back().get();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0u) << i;
    EXPECT_EQ(piece[0], std::byte{0}) << i;
    EXPECT_EQ(std::memcmp(piece, piece + 1, kSizes[i] - 1), 0) << i;
    std::memset(pieces.back().get(), static_cast<int>(i + 1), kSizes[i]);
  }
  memory.reset();  // the pieces live on
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    EXPECT_EQ(pieces[i][0], static_cast<std::byte>(i + 1));
    EXPECT_EQ(std::memcmp(pieces[i].get(), pieces[i].get() + 1, kSizes[i] - 1), 0) << i;
  }
}

}  // namespace
}  // namespace warploom::cpu
