#include "fatbin.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace emulator {
namespace {

// Layouts: fatbinary_section.h (wrapper, header); the entry's fields as nvcc 13's `fatbinary` writes them.
struct Wrapper {
  uint32_t magic, version;
  const unsigned char* data;
  void* filename_or_fatbins;
};
struct Header {
  uint32_t magic;
  uint16_t version, header_size;
  uint64_t fat_size;
};
struct Entry {
  uint16_t kind, version;
  uint32_t header_size;
  uint64_t payload_size;
  uint32_t compressed_size, options_offset;
  uint16_t minor, major;
  uint32_t arch, name_offset, name_size;
  uint64_t flags;
};
static_assert(sizeof(Wrapper) == 24 && sizeof(Header) == 16 && sizeof(Entry) == 48);

constexpr uint32_t kWrapperMagic = 0x466243b1, kHeaderMagic = 0xba55ed50;
constexpr uint16_t kKindPtx = 1;
constexpr uint64_t kFlagsCompressed = 0x2000 | 0x8000;  // LZ4, Zstandard

}  // namespace

std::string extract_ptx(const void* pointer, uint32_t capability) {
  Wrapper wrapper;
  std::memcpy(&wrapper, pointer, sizeof wrapper);
  if (wrapper.magic != kWrapperMagic) throw std::runtime_error("fat binary: unknown wrapper magic");
  Header header;
  std::memcpy(&header, wrapper.data, sizeof header);
  if (header.magic != kHeaderMagic) throw std::runtime_error("fat binary: unknown header magic");
  const unsigned char* at = wrapper.data + header.header_size;
  const unsigned char* end = at + header.fat_size;
  std::string text, seen;
  uint32_t arch = 0;
  while (at + sizeof(Entry) <= end) {
    Entry entry;
    std::memcpy(&entry, at, sizeof entry);
    const bool compressed = entry.compressed_size != 0 || (entry.flags & kFlagsCompressed) != 0;
    seen += (entry.kind == kKindPtx ? " ptx" : " sass") + std::string(" sm_") + std::to_string(entry.arch) +
            (compressed ? " (compressed)" : "");
    if (entry.kind == kKindPtx && !compressed && entry.arch >= arch && entry.arch <= capability) {
      const char* first = reinterpret_cast<const char*>(at + entry.header_size);
      text.assign(first, strnlen(first, entry.payload_size));
      arch = entry.arch;
    }
    at += entry.header_size + entry.payload_size;
  }
  if (text.empty())
    throw std::runtime_error("fat binary holds no uncompressed PTX for compute capability " +
                             std::to_string(capability / 10) + "." + std::to_string(capability % 10) + ", only:" + seen +
                             "; compile with -gencode arch=compute_80,code=compute_80 --no-compress");
  return text;
}

}  // namespace emulator
