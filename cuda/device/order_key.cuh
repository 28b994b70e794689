// Maps logits to integers in the same order, and defines the threshold between kept and dropped tokens.
#pragma once

#include <cstdint>

namespace warploom::cuda::device {

// Ascending with the logit; -0 and +0 have the same key.
__device__ inline std::uint32_t order_key(float x) {
  const std::uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0f));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float logit_of(std::uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

inline constexpr std::uint32_t kMaskedKey = 0x007fffffu;  // the key of -inf

// The last kept candidate in the order (logit descending, id ascending).
struct Cut {
  std::uint32_t key;
  std::uint32_t id;

  __device__ bool keeps(std::uint32_t k, std::uint32_t i) const { return k > key || (k == key && i <= id); }
};

inline constexpr Cut kKeepsAll{kMaskedKey + 1, 0xffffffffu};  // except masked tokens

}  // namespace warploom::cuda::device
