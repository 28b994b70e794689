// Loops that do nothing but what a ceiling counts, compiled once per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warploom::bench {

struct Peaks {
  /// Multiply-adds of codes of a few bits and 8-bit inputs, into 32 bits or what the kernels sum up in. Returns how many it did.
  std::int64_t (*int8)(std::int64_t rounds);
  /// The same of codes of 8 bits: two products fill 16 bits, so that without VNNI none can be added before they are widened.
  std::int64_t (*whole_int8)(std::int64_t rounds);
  std::int64_t (*f32)(std::int64_t rounds);  ///< fused multiply-adds
  /// Reads all bytes, a multiple of 1,024, and returns something that depends on each.
  std::uint64_t (*read)(const std::byte* data, std::size_t bytes);
};

// One for each instruction set that the kernels are built for.
namespace generic {
extern const Peaks kPeaks;
}
namespace avx2 {
extern const Peaks kPeaks;
}
namespace avx2_vnni {
extern const Peaks kPeaks;
}
namespace avx512 {
extern const Peaks kPeaks;
}
namespace avx512_vnni {
extern const Peaks kPeaks;
}
namespace avx512_bf16 {
extern const Peaks kPeaks;
}
namespace avx512_amx {
extern const Peaks kPeaks;
}

}  // namespace warploom::bench
