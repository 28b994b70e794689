// Memory of the CPU backend. What is large lies in huge pages if the kernel gives them: reading it then takes fewer translations
// of addresses, which is worth a third of the bandwidth.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace warploom::cpu {

struct FreeBytes {
  std::size_t mapped = 0;  // bytes of the mapping; 0: the memory came from malloc
  void operator()(std::byte* p) const;
};
using AlignedBytes = std::unique_ptr<std::byte[], FreeBytes>;
/// Zeroed bytes on a 64-byte boundary. The pages of a large allocation take memory when they are first touched. Throws
/// OutOfMemory naming `what`.
AlignedBytes allocate_bytes(std::size_t bytes, const char* what);

/// The weights of a model, side by side in regions that are large enough for huge pages; one alone is often smaller than a page.
/// A region is freed with the last weight in it.
///
/// The kernel takes small pages from blocks that are too small for huge ones. A virtual machine may have given the memory of larger
/// blocks back to its host, and then waits for it page by page: some 5 ms for a huge page, while the kernel clears one in 0.25.
/// From the first such page on, weights begin in small pages, so that the first token need not wait, and move later: the first 256 MB,
/// since there are only so many blocks too small for huge pages.
class WeightMemory {
 public:
  /// A huge page that takes more of a processor's time than `at_hand` is one that the host has to give; 0: all of them.
  explicit WeightMemory(std::chrono::nanoseconds at_hand = std::chrono::milliseconds(1)) : at_hand_(at_hand) {}

  /// As allocate_bytes().
  std::shared_ptr<std::byte[]> allocate(std::size_t bytes);

  /// Moves weights from small to huge pages until `time` is over, one page of 2 MB at least, while nobody writes to them; the
  /// addresses stay. Returns what is still to be moved, in bytes. A page that the kernel refuses stays small; once it has no memory for
  /// one, all that is left is up to the kernel.
  std::size_t move_to_huge_pages(std::chrono::nanoseconds time);

 private:
  struct Region {
    std::shared_ptr<std::byte[]> memory;
    std::size_t bytes = 0, used = 0;
    std::size_t decided = 0;  // up to where the kind of its pages is settled
  };
  struct SmallPages {
    std::weak_ptr<std::byte[]> region;
    std::byte* begin;
    std::size_t bytes;  // whole huge pages
  };

  Region allocate_region(std::size_t bytes);
  /// The next bytes of a region that has them.
  std::shared_ptr<std::byte[]> take(Region& region, std::size_t bytes);
  bool is_at_hand(std::byte* page) const;

  std::mutex mutex_;  // of everything below
  const std::chrono::nanoseconds at_hand_;
  bool host_gives_ = false;
  std::size_t put_off_ = 0;  // bytes
  Region region_;
  std::vector<SmallPages> small_;
};

}  // namespace warploom::cpu
