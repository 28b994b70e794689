#include "peaks.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace warploom::bench::WARPLOOM_ISA {
namespace {

constexpr int kSums = 12;  // independent ones, which hide the latency of an instruction

// The compiler must take `x` for another value each time, in a register.
template <typename T>
inline __attribute__((always_inline)) void renew(T& x) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(x));
#elif defined(__x86_64__)
  asm volatile("" : "+x"(x));
#else
  asm volatile("" : "+w"(x));
#endif
}

#if defined(__AVX512F__)
using Int = __m512i;
using Float = __m512;
inline __attribute__((always_inline)) Int set_bytes(char x) { return _mm512_set1_epi8(x); }
inline __attribute__((always_inline)) Float set_floats(float x) { return _mm512_set1_ps(x); }
inline __attribute__((always_inline)) Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) Int load(const std::byte* p) { return _mm512_loadu_si512(p); }
inline __attribute__((always_inline)) Int combine(Int a, Int b) { return _mm512_xor_si512(a, b); }
inline __attribute__((always_inline)) Int multiply_add(Int codes, Int x, Int sum) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sum, codes, x);
#else
  return _mm512_add_epi16(sum, _mm512_maddubs_epi16(codes, x));
#endif
}
#elif defined(__AVX2__)
using Int = __m256i;
using Float = __m256;
inline __attribute__((always_inline)) Int set_bytes(char x) { return _mm256_set1_epi8(x); }
inline __attribute__((always_inline)) Float set_floats(float x) { return _mm256_set1_ps(x); }
inline __attribute__((always_inline)) Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
inline __attribute__((always_inline)) Int load(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline __attribute__((always_inline)) Int combine(Int a, Int b) { return _mm256_xor_si256(a, b); }
inline __attribute__((always_inline)) Int multiply_add(Int codes, Int x, Int sum) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, codes, x);
#else
  return _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, x));
#endif
}
#else
// What the compiler makes of plain C++ for the oldest processors.
typedef std::int32_t Int __attribute__((vector_size(16)));
typedef float Float __attribute__((vector_size(16)));
inline Int set_bytes(char x) { return Int{} + x; }
inline Float set_floats(float x) { return Float{} + x; }
inline Float multiply_add(Float a, Float b, Float c) { return a * b + c; }
inline Int load(const std::byte* p) {
  Int x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
inline Int combine(Int a, Int b) { return a ^ b; }
inline Int multiply_add(Int codes, Int x, Int sum) { return sum + codes * x; }
#endif

std::int64_t int8(std::int64_t rounds) {
  Int sums[kSums], codes = set_bytes(3), x = set_bytes(1);
#pragma GCC unroll 12
  for (Int& sum : sums) sum = set_bytes(0);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      renew(codes);
      sums[i] = multiply_add(codes, x, sums[i]);
      renew(sums[i]);
    }
  }
#if defined(__AVX2__)
  constexpr std::int64_t kEach = sizeof(Int);
#else
  constexpr std::int64_t kEach = sizeof(Int) / sizeof(std::int32_t);
#endif
  return rounds * kSums * kEach;
}

std::int64_t f32(std::int64_t rounds) {
  Float sums[kSums], a = set_floats(0.5f), b = set_floats(1e-3f);
#pragma GCC unroll 12
  for (Float& sum : sums) sum = set_floats(0.0f);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      sums[i] = multiply_add(a, b, sums[i]);
      renew(sums[i]);
    }
    renew(a), renew(b);
  }
  return rounds * kSums * static_cast<std::int64_t>(sizeof(Float) / sizeof(float));
}

std::uint64_t read(const std::byte* data, std::size_t bytes) {
  Int sums[4];
#pragma GCC unroll 4
  for (Int& sum : sums) sum = set_bytes(0);
  constexpr std::size_t kStep = 4 * sizeof(Int);
  for (std::size_t at = 0; at < bytes; at += kStep) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) sums[i] = combine(sums[i], load(data + at + i * sizeof(Int)));
  }
  const Int all = combine(combine(sums[0], sums[1]), combine(sums[2], sums[3]));
  std::uint64_t words[sizeof(Int) / 8], result = 0;
  __builtin_memcpy(words, &all, sizeof all);
  for (const std::uint64_t word : words) result ^= word;
  return result;
}

}  // namespace

const Peaks kPeaks = {int8, f32, read};

}  // namespace warploom::bench::WARPLOOM_ISA
