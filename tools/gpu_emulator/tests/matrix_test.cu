// Tensor core instructions with small whole numbers, of which every order of summation gives the same.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <random>

#include "emulated_device.h"

namespace {

// A tile product through the tensor core instructions, small whole numbers so that every order of summation is exact.
template <class T>
__global__ void matrix_kernel(const T* a, const T* b, float* c) {
  __shared__ T sa[256], sb[256];
  for (int i = threadIdx.x; i < 256; i += 32) sa[i] = a[i], sb[i] = b[i];
  __syncwarp();
  // Fragments through ldmatrix, products through mma.sync m16n8k16, for both halves of the 16 columns.
  uint32_t ra[4];
  const uint32_t row = static_cast<uint32_t>(__cvta_generic_to_shared(sa + (threadIdx.x % 16) * 16 + threadIdx.x / 16 * 8));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3])
               : "r"(row));
  for (int half = 0; half < 2; ++half) {
    uint32_t rb[2];
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(sb + (threadIdx.x % 16) * 16 + half * 8));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(at));
    float d[4];
    if constexpr (std::is_same_v<T, __half>)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]), "f"(0.5f));
    else
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]), "f"(0.5f));
    for (int k = 0; k < 4; ++k) c[(threadIdx.x / 4 + (k / 2) * 8) * 16 + half * 8 + threadIdx.x % 4 * 2 + k % 2] = d[k];
  }
}
template <class T>
void test_matrix() {
  std::vector<T> a(256), b(256);
  std::vector<int> x(256), y(256);
  for (int i = 0; i < 256; ++i) {
    x[i] = (i * 7 + i / 16) % 23 - 11, y[i] = (i * 5 + i / 9) % 19 - 9;
    a[i] = T(static_cast<float>(x[i])), b[i] = T(static_cast<float>(y[i]));
  }
  DeviceBuffer<T> da(a), db(b);
  DeviceBuffer<float> dc(256);
  matrix_kernel<T><<<1, 32>>>(da.data(), db.data(), dc.data());
  const auto c = dc.host();
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      int sum = 0;
      for (int k = 0; k < 16; ++k) sum += x[m * 16 + k] * y[k * 16 + n];
      EXPECT_EQ(c[m * 16 + n], static_cast<float>(sum) + 0.5f) << m << "," << n;
    }
}
TEST(Matrix, Half) { test_matrix<__half>(); }
TEST(Matrix, Bfloat) { test_matrix<__nv_bfloat16>(); }

// Every form of mma.sync for 16-bit factors, on fragments laid out as the PTX ISA draws them (9.7.15.5.8, 9.7.15.5.9):
// registers of lane l hold pairs of A's row l/4 (+8), of B's column l/4, of C's row l/4 (+8).
struct Fragments {
  uint32_t a[32][4], b[32][2], c[32][4];
};
#define WARPLOOM_MMA(name, form, a_list, b_list, c_list, d_list, ...)                                        \
  struct name {                                                                                              \
    static __device__ void multiply(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c) {  \
      asm volatile("mma.sync.aligned." form " " d_list ", " a_list ", " b_list ", " c_list ";" __VA_ARGS__); \
    }                                                                                                        \
  };
#define WARPLOOM_WIDE_OUT "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
#define WARPLOOM_WIDE_IN "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
#define WARPLOOM_DEEP(type)                                                                             \
  WARPLOOM_MMA(Deep_##type, "m16n8k16.row.col.f32." #type "." #type ".f32", "{%4,%5,%6,%7}", "{%8,%9}", \
               "{%10,%11,%12,%13}", "{%0,%1,%2,%3}",                                                    \
               : WARPLOOM_WIDE_OUT                                                                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), WARPLOOM_WIDE_IN)
#define WARPLOOM_FLAT(type)                                                                                     \
  WARPLOOM_MMA(Flat_##type, "m16n8k8.row.col.f32." #type "." #type ".f32", "{%4,%5}", "{%6}", "{%7,%8,%9,%10}", \
               "{%0,%1,%2,%3}",                                                                                 \
               : WARPLOOM_WIDE_OUT                                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(b[0]), WARPLOOM_WIDE_IN)
WARPLOOM_DEEP(f16)
WARPLOOM_DEEP(bf16)
WARPLOOM_FLAT(f16)
WARPLOOM_FLAT(bf16)
WARPLOOM_MMA(DeepHalf, "m16n8k16.row.col.f16.f16.f16.f16", "{%2,%3,%4,%5}", "{%6,%7}", "{%8,%9}", "{%0,%1}",
             : "=r"(d[0]), "=r"(d[1])
             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]))
WARPLOOM_MMA(FlatHalf, "m16n8k8.row.col.f16.f16.f16.f16", "{%2,%3}", "{%4}", "{%5,%6}", "{%0,%1}",
             : "=r"(d[0]), "=r"(d[1])
             : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(c[0]), "r"(c[1]))

template <class Op>
__global__ void fragments_kernel(const Fragments* f, uint32_t* out) {
  const int l = threadIdx.x;
  uint32_t d[4] = {};
  Op::multiply(d, f[blockIdx.x].a[l], f[blockIdx.x].b[l], f[blockIdx.x].c[l]);
  for (int k = 0; k < 4; ++k) out[(blockIdx.x * 32 + l) * 4 + k] = d[k];
}

template <class T>
uint32_t bits_of(int low, int high) {
  const T pair[2] = {T(static_cast<float>(low)), T(static_cast<float>(high))};
  uint32_t bits;
  std::memcpy(&bits, pair, 4);
  return bits;
}
uint32_t bits_of_float(int v) {
  const float f = static_cast<float>(v);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

template <class Op, class T, int kDepth, bool kHalfSums>
void test_fragments() {
  constexpr int kBlocks = 20;
  std::mt19937 random(17);
  auto small = [&random] { return static_cast<int>(random() % 11) - 5; };
  std::vector<Fragments> fragments(kBlocks);
  std::vector<uint32_t> expected(kBlocks * 128);
  for (int block = 0; block < kBlocks; ++block) {
    int a[16][16], b[16][8], c[16][8];
    for (auto& row : a)
      for (int& v : row) v = small();
    for (auto& row : b)
      for (int& v : row) v = small();
    for (auto& row : c)
      for (int& v : row) v = small();
    Fragments& f = fragments[block];
    for (int l = 0; l < 32; ++l) {
      const int g = l / 4, t = 2 * (l % 4);
      for (int k = 0; k < kDepth / 4; ++k)
        f.a[l][k] = bits_of<T>(a[g + k % 2 * 8][t + k / 2 * 8], a[g + k % 2 * 8][t + 1 + k / 2 * 8]);
      for (int k = 0; k < kDepth / 8; ++k) f.b[l][k] = bits_of<T>(b[t + 8 * k][g], b[t + 1 + 8 * k][g]);
      auto sum = [&](int row, int column) {
        int s = c[row][column];
        for (int k = 0; k < kDepth; ++k) s += a[row][k] * b[k][column];
        return s;
      };
      for (int k = 0; k < 4; ++k) {
        uint32_t& want = expected[(block * 32 + l) * 4 + k];
        if (kHalfSums) {
          if (k >= 2) continue;
          f.c[l][k] = bits_of<__half>(c[g + 8 * k][t], c[g + 8 * k][t + 1]);
          want = bits_of<__half>(sum(g + 8 * k, t), sum(g + 8 * k, t + 1));
        } else {
          f.c[l][k] = bits_of_float(c[g + k / 2 * 8][t + k % 2]);
          want = bits_of_float(sum(g + k / 2 * 8, t + k % 2));
        }
      }
    }
  }
  DeviceBuffer<Fragments> in(fragments);
  DeviceBuffer<uint32_t> out(expected.size());
  fragments_kernel<Op><<<kBlocks, 32>>>(in.data(), out.data());
  EXPECT_EQ(out.host(), expected) << warploom_emulator_report();
}
TEST(Matrix, EveryForm) {
  test_fragments<Deep_f16, __half, 16, false>();
  test_fragments<Deep_bf16, __nv_bfloat16, 16, false>();
  test_fragments<Flat_f16, __half, 8, false>();
  test_fragments<Flat_bf16, __nv_bfloat16, 8, false>();
  test_fragments<DeepHalf, __half, 16, true>();
  test_fragments<FlatHalf, __half, 8, true>();
}

// Bytes (9.7.15.5.10, 9.7.15.5.11): a register holds four neighbours.
#define WARPLOOM_DEEP_BYTES(name, form)                                                                         \
  WARPLOOM_MMA(name, "m16n8k32.row.col" form, "{%4,%5,%6,%7}", "{%8,%9}", "{%10,%11,%12,%13}", "{%0,%1,%2,%3}", \
               : WARPLOOM_WIDE_OUT                                                                              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), WARPLOOM_WIDE_IN)
#define WARPLOOM_FLAT_BYTES(name, form)                                                             \
  WARPLOOM_MMA(name, "m16n8k16.row.col" form, "{%4,%5}", "{%6}", "{%7,%8,%9,%10}", "{%0,%1,%2,%3}", \
               : WARPLOOM_WIDE_OUT                                                                  \
               : "r"(a[0]), "r"(a[1]), "r"(b[0]), WARPLOOM_WIDE_IN)
WARPLOOM_DEEP_BYTES(DeepSigned, ".s32.s8.s8.s32")
WARPLOOM_DEEP_BYTES(DeepMixed, ".s32.u8.s8.s32")
WARPLOOM_DEEP_BYTES(DeepUnsigned, ".s32.u8.u8.s32")
WARPLOOM_DEEP_BYTES(DeepSaturated, ".satfinite.s32.s8.s8.s32")
WARPLOOM_FLAT_BYTES(FlatSigned, ".s32.s8.s8.s32")
WARPLOOM_FLAT_BYTES(FlatMixed, ".s32.s8.u8.s32")

template <class Op, class A, class B, int kDepth, bool kSaturates = false>
void test_bytes() {
  constexpr int kBlocks = 20;
  std::mt19937 random(19);
  std::vector<Fragments> fragments(kBlocks);
  std::vector<uint32_t> expected(kBlocks * 128);
  for (int block = 0; block < kBlocks; ++block) {
    A a[16][kDepth];
    B b[kDepth][8];
    int32_t c[16][8];
    for (auto& row : a)
      for (A& v : row) v = static_cast<A>(random());
    for (auto& row : b)
      for (B& v : row) v = static_cast<B>(random());
    for (auto& row : c)
      for (int32_t& v : row)
        v = block % 3 == 0 ? INT32_MAX - 5 : block % 3 == 1 ? INT32_MIN + 5 : static_cast<int32_t>(random());
    for (int l = 0; l < 32; ++l) {
      const int g = l / 4, t = l % 4;
      for (int i = 0; i < 4; ++i) {
        for (int k = 0; k < kDepth / 8; ++k)
          fragments[block].a[l][k] |= uint32_t{static_cast<uint8_t>(a[g + k % 2 * 8][4 * t + i + k / 2 * 16])} << 8 * i;
        for (int k = 0; k < kDepth / 16; ++k)
          fragments[block].b[l][k] |= uint32_t{static_cast<uint8_t>(b[4 * t + i + 16 * k][g])} << 8 * i;
        const int row = g + i / 2 * 8, column = 2 * t + i % 2;
        fragments[block].c[l][i] = static_cast<uint32_t>(c[row][column]);
        int64_t sum = c[row][column];
        for (int k = 0; k < kDepth; ++k) sum += int64_t{a[row][k]} * b[k][column];
        if (kSaturates) sum = std::min<int64_t>(std::max<int64_t>(sum, INT32_MIN), INT32_MAX);
        expected[(block * 32 + l) * 4 + i] = static_cast<uint32_t>(sum);
      }
    }
  }
  DeviceBuffer<Fragments> in(fragments);
  DeviceBuffer<uint32_t> out(expected.size());
  fragments_kernel<Op><<<kBlocks, 32>>>(in.data(), out.data());
  EXPECT_EQ(out.host(), expected) << warploom_emulator_report();
}
TEST(Matrix, Bytes) {
  test_bytes<DeepSigned, int8_t, int8_t, 32>();
  test_bytes<DeepMixed, uint8_t, int8_t, 32>();
  test_bytes<DeepUnsigned, uint8_t, uint8_t, 32>();
  test_bytes<DeepSaturated, int8_t, int8_t, 32, true>();
  test_bytes<FlatSigned, int8_t, int8_t, 16>();
  test_bytes<FlatMixed, int8_t, uint8_t, 16>();
}

}  // namespace
