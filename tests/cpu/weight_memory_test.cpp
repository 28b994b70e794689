#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/mix.h"
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

// Bytes of huge pages in the mapping that holds `address`.
std::size_t huge_bytes_at(const std::byte* address) {
  std::ifstream file("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    unsigned long begin = 0, end = 0, kilobytes = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= wanted && wanted < end;
    if (inside && std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kilobytes) == 1) return 1024 * kilobytes;
  }
  return 0;
}

TEST(WeightMemory, WhatTheHostHasToGiveMovesToHugePagesLater) {
  constexpr std::size_t kBytes = 100'000'000, kHugePage = 2 << 20;
  constexpr std::chrono::nanoseconds kOnePage{0}, kAll = std::chrono::hours(1);
  WeightMemory at_hand(std::chrono::hours(1)), later(std::chrono::nanoseconds(0));
  auto now = at_hand.allocate(kBytes);
  std::memset(now.get(), 1, kBytes);
  EXPECT_EQ(at_hand.move_to_huge_pages(kAll), 0u) << "nothing was put off";
  if (huge_bytes_at(now.get() + kBytes / 2) < kBytes - 2 * kHugePage) GTEST_SKIP() << "the kernel gives no huge pages";
  now.reset();

  std::vector<std::byte> values(kBytes);
  std::uint64_t state = 1;
  for (std::byte& value : values) value = static_cast<std::byte>((state = mix(state)) & 255);
  auto piece = later.allocate(kBytes);
  std::memcpy(piece.get(), values.data(), kBytes);
  const std::byte* middle = piece.get() + kBytes / 2;
  if (huge_bytes_at(middle) >= kBytes - 2 * kHugePage) GTEST_SKIP() << "the kernel cannot move pages (Linux 6.1 can)";
  EXPECT_LE(huge_bytes_at(middle), kHugePage) << "but for the one that was tried";
  for (std::size_t left = kBytes, next; left > 0; left = next) {
    next = later.move_to_huge_pages(kOnePage);
    if (next == 0 && left > kHugePage) GTEST_SKIP() << "the kernel has no memory for huge pages";
    if (left < kBytes) EXPECT_EQ(next, left - kHugePage);
  }
  EXPECT_GE(huge_bytes_at(middle), kBytes - 2 * kHugePage);
  EXPECT_EQ(std::memcmp(piece.get(), values.data(), kBytes), 0);

  auto gone = later.allocate(kBytes);
  gone.reset();
  EXPECT_EQ(later.move_to_huge_pages(kOnePage), 0u) << "of weights that were freed";
}

}  // namespace
}  // namespace warploom::cpu
