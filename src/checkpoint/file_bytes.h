// A file that is read when its bytes are needed. It is not mapped: if a mapped file is shortened, or its disk fails, whoever
// touches it is ended by SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace warploom {

/// Replacing the file (writing a new one and renaming it) is safe at any time.
class FileBytes {
 public:
  /// Throws ModelError naming the path if it is no readable, non-empty regular file.
  explicit FileBytes(const std::filesystem::path& path);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  std::size_t size() const { return size_; }

  /// Throws ModelError if the file does not hold these bytes any more, or cannot be read.
  void read(std::size_t offset, std::span<std::byte> out) const;

  /// Where the whole file would be: what read_to has read may be touched, and stays there as long as this object.
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Reads from the file's start to `end` at least, unless that was done before; returns how far it has come. Throws as read does.
  std::size_t read_to(std::size_t end);

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, read_ = 0;
};

}  // namespace warploom
