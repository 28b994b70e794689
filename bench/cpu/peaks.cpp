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
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef std::int32_t Int __attribute__((vector_size(kBytes)));
typedef float Float __attribute__((vector_size(kBytes)));

#if defined(__AMX_INT8__)
// Whole tiles: 16 rows of 64 codes times 16 columns.
std::int64_t int8(std::int64_t rounds) {
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  asm volatile("ldtilecfg %0" ::"m"(shapes));
  for (std::int64_t r = 0; r < rounds; ++r)
    asm volatile(
        "tdpbsud %tmm7, %tmm6, %tmm0\n\ttdpbsud %tmm7, %tmm6, %tmm1\n\ttdpbsud %tmm7, %tmm6, %tmm2\n\t"
        "tdpbsud %tmm7, %tmm6, %tmm3\n\ttdpbsud %tmm7, %tmm6, %tmm4\n\ttdpbsud %tmm7, %tmm6, %tmm5");
  asm volatile("tilerelease");
  return rounds * 6 * 16 * 64 * 16;
}
std::int64_t whole_int8(std::int64_t rounds) { return int8(rounds); }
#else
#if defined(__AVX2__)
constexpr std::int64_t kInt8 = kBytes;  // multiply-adds
#else
constexpr std::int64_t kInt8 = kBytes / sizeof(std::int32_t);
#endif
// One instruction, or without VNNI two: products of bytes, summed up in 16 bits.
#if defined(__AVX512VNNI__)
inline Int multiply_add(Int codes, Int x, Int sum) {
  return Int(_mm512_dpbusd_epi32(__m512i(sum), __m512i(codes), __m512i(x)));
}
#elif defined(__AVX512F__)
inline Int multiply_add(Int codes, Int x, Int sum) {
  return Int(_mm512_add_epi16(__m512i(sum), _mm512_maddubs_epi16(__m512i(codes), __m512i(x))));
}
#elif defined(__AVXVNNI__)
inline Int multiply_add(Int codes, Int x, Int sum) {
  return Int(_mm256_dpbusd_avx_epi32(__m256i(sum), __m256i(codes), __m256i(x)));
}
#elif defined(__AVX2__)
inline Int multiply_add(Int codes, Int x, Int sum) {
  return Int(_mm256_add_epi16(__m256i(sum), _mm256_maddubs_epi16(__m256i(codes), __m256i(x))));
}
#else
// What the compiler makes of plain C++ for the oldest processors.
inline Int multiply_add(Int codes, Int x, Int sum) { return sum + codes * x; }
#endif

#if defined(__AVX512F__) && !defined(__AVX512VNNI__)
inline Int multiply_add_whole(Int codes, Int x, Int sum) {
  const __m512i pairs = _mm512_maddubs_epi16(__m512i(codes), __m512i(x));
  return Int(_mm512_add_epi32(__m512i(sum), _mm512_madd_epi16(pairs, _mm512_set1_epi16(1))));
}
#elif defined(__AVX2__) && !defined(__AVX512F__) && !defined(__AVXVNNI__)
inline Int multiply_add_whole(Int codes, Int x, Int sum) {
  const __m256i pairs = _mm256_maddubs_epi16(__m256i(codes), __m256i(x));
  return Int(_mm256_add_epi32(__m256i(sum), _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
#else
inline Int multiply_add_whole(Int codes, Int x, Int sum) { return multiply_add(codes, x, sum); }
#endif

template <Int (*kMultiplyAdd)(Int, Int, Int)>
std::int64_t many_products(std::int64_t rounds) {
  Int sums[kSums], codes = Int{} + 0x03030303, x = Int{} + 0x01010101;
#pragma GCC unroll 12
  for (Int& sum : sums) sum = Int{};
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      renew(codes);
      sums[i] = kMultiplyAdd(codes, x, sums[i]);
      renew(sums[i]);
    }
  }
  return rounds * kSums * kInt8;
}
std::int64_t int8(std::int64_t rounds) { return many_products<multiply_add>(rounds); }
std::int64_t whole_int8(std::int64_t rounds) { return many_products<multiply_add_whole>(rounds); }
#endif

std::int64_t f32(std::int64_t rounds) {
  Float sums[kSums], a = Float{} + 0.5f, b = Float{} + 1e-3f;
#pragma GCC unroll 12
  for (Float& sum : sums) sum = Float{};
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      renew(a);
      sums[i] = a * b + sums[i];  // fused where the processor can
      renew(sums[i]);
    }
  }
  return rounds * kSums * static_cast<std::int64_t>(kBytes / sizeof(float));
}

std::uint64_t read(const std::byte* data, std::size_t bytes) {
  Int sums[4];
#pragma GCC unroll 4
  for (Int& sum : sums) sum = Int{};
  constexpr std::size_t kStep = 4 * sizeof(Int);
  constexpr std::size_t kAhead = 8192;  // a core's own prefetching alone reads more slowly
  for (std::size_t at = 0; at < bytes; at += kStep) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kStep; i += 64) __builtin_prefetch(data + at + kAhead + i);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      Int part;
      __builtin_memcpy(&part, data + at + i * sizeof part, sizeof part);
      sums[i] ^= part;
    }
  }
  const Int all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  std::uint64_t words[sizeof(Int) / 8], result = 0;
  __builtin_memcpy(words, &all, sizeof all);
  for (const std::uint64_t word : words) result ^= word;
  return result;
}

}  // namespace

const Peaks kPeaks = {int8, whole_int8, f32, read};

}  // namespace warploom::bench::WARPLOOM_ISA
