#include "cpu/memory.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <sys/mman.h>

#include <fmt/format.h>

#include "core/divide.h"
#include "warploom/error.h"

namespace warploom::cpu {

namespace {

constexpr std::size_t kAlignment = 64, kMapped = std::size_t{1} << 20, kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMaxRegion = 32 * kHugePage;
constexpr std::size_t kTried = 4 * kHugePage;  // of which the first is tried: threads clear the others side by side
constexpr std::size_t kPutOff = 128 * kHugePage;
constexpr int kCollapse = 25;  // MADV_COLLAPSE of Linux 6.1

std::chrono::nanoseconds processor_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

void FreeBytes::operator()(std::byte* p) const { mapped ? static_cast<void>(munmap(p, mapped)) : std::free(p); }

AlignedBytes allocate_bytes(std::size_t bytes, const char* what) {
  const auto fail = [&] { throw OutOfMemory(fmt::format("{}: cannot allocate {} bytes of memory", what, bytes)); };
  if (bytes < kMapped) {
    const std::size_t size = align_up(std::max<std::size_t>(bytes, 1), kAlignment);
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, size));
    if (!memory) fail();
    std::memset(memory, 0, size);
    return AlignedBytes(memory);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail();
  if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
  return AlignedBytes(static_cast<std::byte*>(memory), FreeBytes{bytes});
}

bool WeightMemory::is_at_hand(std::byte* page) const {
  const auto start = processor_time();
  *static_cast<volatile std::byte*>(page) = std::byte{0};
  if (processor_time() - start <= at_hand_) return true;
  // As the page is huge already, this says whether the kernel can move others.
  return madvise(page, kHugePage, kCollapse) != 0;
}

WeightMemory::Region WeightMemory::allocate_region(std::size_t bytes) {
  Region region{allocate_bytes(bytes, "weights"), bytes};
  const auto address = reinterpret_cast<std::uintptr_t>(region.memory.get());
  region.decided = align_up(address, kHugePage) - address;
  return region;
}

std::shared_ptr<std::byte[]> WeightMemory::take(Region& region, std::size_t bytes) {
  std::byte* at = region.memory.get() + region.used;
  region.used += bytes;
  while (!host_gives_ && region.decided < region.used && region.decided + kHugePage <= region.bytes) {
    host_gives_ = !is_at_hand(region.memory.get() + region.decided);
    if (!host_gives_) region.decided += kTried;
  }
  if (host_gives_ && region.decided + kHugePage <= region.bytes) {
    std::byte* begin = region.memory.get() + region.decided;
    const std::size_t rest = std::min(region.bytes - region.decided, kPutOff - put_off_) / kHugePage * kHugePage;
    if (rest > 0 && madvise(begin, rest, MADV_NOHUGEPAGE) == 0) small_.push_back({region.memory, begin, rest});
    put_off_ += rest;
    region.decided = region.bytes;
  }
  return {region.memory, at};
}

std::size_t WeightMemory::move_to_huge_pages(std::chrono::nanoseconds time) {
  const std::lock_guard lock(mutex_);
  const auto end = std::chrono::steady_clock::now() + time;
  while (!small_.empty()) {
    SmallPages& pages = small_.back();
    const auto region = pages.region.lock();
    if (region) {
      madvise(pages.begin, kHugePage, MADV_HUGEPAGE);
      if (madvise(pages.begin, kHugePage, kCollapse) != 0 && (errno == ENOMEM || errno == EBUSY)) {
        // There are no more huge pages, for all the program. The kernel moves what it can when there are.
        for (const SmallPages& rest : small_)
          if (const auto kept = rest.region.lock()) madvise(rest.begin, rest.bytes, MADV_HUGEPAGE);
        small_.clear();
        return 0;
      }
    }
    const std::size_t done = region ? kHugePage : pages.bytes;  // of a region that is gone, all
    pages.begin += done;
    pages.bytes -= done;
    if (pages.bytes == 0) small_.pop_back();
    if (region && std::chrono::steady_clock::now() >= end) break;
  }
  std::size_t still = 0;
  for (const SmallPages& pages : small_) still += pages.bytes;
  return still;
}

std::shared_ptr<std::byte[]> WeightMemory::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = align_up(bytes, kAlignment);
  if (size > kMaxRegion / 4) {
    Region alone = allocate_region(bytes);
    return take(alone, bytes);
  }
  if (size > region_.bytes - region_.used)
    // Each is larger than the one before, so that little of a small model's memory is never used.
    region_ = allocate_region(std::clamp(2 * region_.bytes, std::max(size, 4 * kHugePage), kMaxRegion));
  return take(region_, size);
}

}  // namespace warploom::cpu
