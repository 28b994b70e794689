// Tests of single instructions: an operation's device() and host() sides on the same random bits, among them every kind of
// special value.
#pragma once

#include <cstdint>
#include <random>

#include "emulated_device.h"

constexpr int kCount = 1 << 14;

// Random bit patterns, a quarter of them near the special ones: zeros, denormals, ones, the largest, infinities, NaNs.
template <class B, int kMantissa = sizeof(B) == 8   ? 52
                                   : sizeof(B) == 4 ? 23
                                                    : 10>
std::vector<B> operands(uint64_t seed) {
  constexpr int kBits = 8 * sizeof(B);
  std::mt19937_64 random(seed);
  std::vector<B> values(kCount);
  const B infinity = static_cast<B>(((B{1} << (kBits - 1 - kMantissa)) - 1) << kMantissa);
  const B special[] = {0,
                       1,
                       static_cast<B>((B{1} << kMantissa) - 1),
                       static_cast<B>(B{1} << kMantissa),
                       static_cast<B>(infinity - 1),
                       infinity,
                       static_cast<B>(infinity + 1),
                       static_cast<B>(infinity / 2)};
  for (B& v : values) {
    v = static_cast<B>(random());
    if (random() % 4 == 0) v = static_cast<B>(special[random() % 8] | (random() % 2 ? B{1} << (kBits - 1) : B{0}));
  }
  return values;
}

template <class Bits, class Op>
__global__ void apply_kernel(const Bits* a, const Bits* b, const Bits* c, Bits* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = Op::device(a[i], b[i], c[i]);
}

// Compares an operation's device() with its host(), both on bits.
template <class Bits, class Op>
void compare(const char* name, const std::vector<Bits>& a = operands<Bits>(1),
             const std::vector<Bits>& b = operands<Bits>(2), const std::vector<Bits>& c = operands<Bits>(3)) {
  SCOPED_TRACE(name);
  DeviceBuffer<Bits> da(a), db(b), dc(c), out(kCount);
  apply_kernel<Bits, Op><<<(kCount + 255) / 256, 256>>>(da.data(), db.data(), dc.data(), out.data(), kCount);
  const auto got = out.host();
  int wrong = 0;
  for (int i = 0; i < kCount && wrong < 4; ++i) {
    const Bits expected = Op::host(a[i], b[i], c[i]);
    if (got[i] != expected) {
      ++wrong;
      ADD_FAILURE() << std::hex << "a " << +a[i] << " b " << +b[i] << " c " << +c[i] << " got " << +got[i] << " expected "
                    << +expected;
    }
  }
}

#define WARPLOOM_OP3(name, bits, constraint, text, host_expression)                \
  struct name {                                                                    \
    static __device__ bits device(bits a, bits b, bits c) {                        \
      bits d;                                                                      \
      asm(text : "=" constraint(d) : constraint(a), constraint(b), constraint(c)); \
      return d;                                                                    \
    }                                                                              \
    static bits host(bits x, bits y, bits z) { return host_expression; }           \
  };
