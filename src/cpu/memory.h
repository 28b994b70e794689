// Memory of the CPU backend. What is large lies in huge pages if the kernel gives them: reading it then takes fewer translations
// of addresses, which is worth a third of the bandwidth.
#pragma once

#include <cstddef>
#include <memory>

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
/// A region is freed with the last weight in it. For one thread at a time.
class WeightMemory {
 public:
  /// As allocate_bytes().
  std::shared_ptr<std::byte[]> allocate(std::size_t bytes);

 private:
  std::shared_ptr<std::byte[]> region_;
  std::size_t region_bytes_ = 0, used_ = 0;
};

}  // namespace warploom::cpu
