#include "cpu/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

#include <fmt/format.h>

#include "core/divide.h"
#include "warploom/error.h"

namespace warploom::cpu {

namespace {

constexpr std::size_t kAlignment = 64, kMapped = std::size_t{1} << 20, kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMaxRegion = 32 * kHugePage;

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

std::shared_ptr<std::byte[]> WeightMemory::allocate(std::size_t bytes) {
  const std::size_t size = align_up(bytes, kAlignment);
  if (size > kMaxRegion / 4) return allocate_bytes(bytes, "weights");
  if (size > region_bytes_ - used_) {
    // Each is larger than the one before, so that little of a small model's memory is never used.
    const std::size_t region = std::clamp(2 * region_bytes_, std::max(size, 4 * kHugePage), kMaxRegion);
    region_ = allocate_bytes(region, "weights");
    region_bytes_ = region;
    used_ = 0;
  }
  std::byte* at = region_.get() + used_;
  used_ += size;
  return {region_, at};
}

}  // namespace warploom::cpu
