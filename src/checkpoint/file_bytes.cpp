#include "checkpoint/file_bytes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "warploom/error.h"

namespace warploom {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw ModelError(fmt::format("{}: {}", path.string(), why));
}

}  // namespace

FileBytes::FileBytes(const std::filesystem::path& path) : path_(path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe's end must not wait for the other
  if (file < 0) fail(path, std::strerror(errno));
  struct stat info {};
  int error = fstat(file, &info) == 0 ? 0 : errno;
  void* memory = MAP_FAILED;
  const bool regular = error == 0 && S_ISREG(info.st_mode);
  if (regular && info.st_size > 0) {
    // Addresses alone, without memory.
    memory =
        mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) error = errno;
  }
  if (memory == MAP_FAILED) close(file);
  if (error != 0) fail(path, std::strerror(error));
  if (S_ISDIR(info.st_mode)) fail(path, "is a directory; give the path of a GGUF file");
  if (!regular) fail(path, "is not a regular file");
  if (info.st_size == 0) fail(path, "is empty");
  file_ = file;
  data_ = static_cast<std::byte*>(memory);
  size_ = static_cast<std::size_t>(info.st_size);
}

FileBytes::~FileBytes() {
  munmap(data_, size_);
  close(file_);
}

void FileBytes::read(std::size_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = pread(file_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, std::strerror(errno));
    if (got == 0) {
      struct stat now {};
      fstat(file_, &now);
      fail(path_,
           fmt::format("has {} bytes, but had {} when it was opened: it was shortened meanwhile", now.st_size, size_));
    }
    offset += static_cast<std::size_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::size_t FileBytes::read_to(std::size_t end) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  if (end <= read_) return read_;
  end = std::min(std::max(end, read_ + kPiece), size_);
  if (mprotect(data_, end, PROT_READ | PROT_WRITE) != 0)
    throw OutOfMemory(fmt::format("{}: cannot allocate {} bytes of memory: {}", path_.string(), end, std::strerror(errno)));
  read(read_, {data_ + read_, end - read_});
  return read_ = end;
}

}  // namespace warploom
