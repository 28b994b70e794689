// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace warploom {

/// Whoever shortens the file while it is mapped makes later reads of the lost pages fail with SIGBUS, as with any mapping;
/// replacing the file (writing a new one and renaming it) is safe.
class MappedFile {
 public:
  /// Throws ModelError naming the path where it is no readable, non-empty regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Lets whole pages inside the range leave memory; they are read again if touched.
  void release(std::size_t offset, std::size_t bytes) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace warploom
