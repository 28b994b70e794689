#include "checkpoint/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& why) { throw ModelError(fmt::format("{}: {}", path.string(), why)); };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe's end must not wait for the other
  if (file < 0) fail(std::strerror(errno));
  struct stat info {};
  int error = fstat(file, &info) == 0 ? 0 : errno;
  void* memory = MAP_FAILED;
  const bool regular = error == 0 && S_ISREG(info.st_mode);
  if (regular && info.st_size > 0) {
    memory = mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) error = errno;
  }
  close(file);
  if (error != 0) fail(std::strerror(error));
  if (S_ISDIR(info.st_mode)) fail("is a directory; give the path of a GGUF file");
  if (!regular) fail("is not a regular file");
  if (info.st_size == 0) fail("is empty");
  data_ = static_cast<const std::byte*>(memory);
  size_ = static_cast<std::size_t>(info.st_size);
}

MappedFile::~MappedFile() { munmap(const_cast<std::byte*>(data_), size_); }

void MappedFile::release(std::size_t offset, std::size_t bytes) const {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t from = (offset + page - 1) / page * page, to = (offset + bytes) / page * page;
  if (from < to) madvise(const_cast<std::byte*>(data_) + from, to - from, MADV_DONTNEED);
}

}  // namespace warploom
