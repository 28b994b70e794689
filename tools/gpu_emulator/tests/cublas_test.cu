// The emulated cuBLAS against plain loops over random shapes and layouts.
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <memory>
#include <random>

#include "emulated_device.h"

namespace {

struct Random {
  std::mt19937 engine;
  int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }
};

template <class T>
constexpr cudaDataType kType = std::is_same_v<T, float>    ? CUDA_R_32F
                               : std::is_same_v<T, __half> ? CUDA_R_16F
                                                           : CUDA_R_16BF;

// Small whole numbers: every order of summation gives the same result, exactly.
template <class T>
std::vector<T> whole_numbers(Random& random, size_t n) {
  std::vector<T> values(n);
  for (T& v : values) v = T(static_cast<float>(random.whole(-4, 4)));
  return values;
}

template <class T>
void test_shapes(uint32_t seed) {
  Random random{std::mt19937(seed)};
  cublasHandle_t handle;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  for (int round = 0; round < 60; ++round) {
    const int m = random.whole(1, 20), n = random.whole(1, 20), k = random.whole(0, 20), batch = random.whole(1, 3);
    const bool ta = random.whole(0, 1), tb = random.whole(0, 1), device_scalars = random.whole(0, 1);
    const int rows_a = ta ? k : m, cols_a = ta ? m : k, rows_b = tb ? n : k, cols_b = tb ? k : n;
    const int lda = std::max(1, rows_a) + random.whole(0, 3), ldb = std::max(1, rows_b) + random.whole(0, 3),
              ldc = m + random.whole(0, 3);
    const long long sa = static_cast<long long>(lda) * cols_a + random.whole(0, 5),
                    sb = static_cast<long long>(ldb) * cols_b, sc = static_cast<long long>(ldc) * n + random.whole(0, 5);
    const float alpha = static_cast<float>(random.whole(-2, 2)), beta = static_cast<float>(random.whole(-1, 1));
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round << ": " << m << "x" << n << "x" << k
                                    << (ta ? " T" : " N") << (tb ? "T" : "N") << " alpha " << alpha << " beta " << beta);
    const auto a = whole_numbers<T>(random, sa * batch + 1), b = whole_numbers<T>(random, sb * batch + 1);
    const auto c = whole_numbers<float>(random, sc * batch);
    DeviceBuffer<T> da(a), db(b);
    DeviceBuffer<float> dc(c), scalars(std::vector<float>{alpha, beta});
    ASSERT_EQ(cublasSetPointerMode(handle, device_scalars ? CUBLAS_POINTER_MODE_DEVICE : CUBLAS_POINTER_MODE_HOST),
              CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasGemmStridedBatchedEx(handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k,
                                         device_scalars ? scalars.data() : &alpha, da.data(), kType<T>, lda, sa, db.data(),
                                         kType<T>, ldb, sb, device_scalars ? scalars.data() + 1 : &beta, dc.data(),
                                         CUDA_R_32F, ldc, sc, batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              CUBLAS_STATUS_SUCCESS);
    std::vector<float> expected = c;  // what lies between the columns stays
    for (int s = 0; s < batch; ++s)
      for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
          float sum = 0;
          for (int p = 0; p < k; ++p)
            sum += static_cast<float>(a[s * sa + (ta ? p + i * lda : i + p * lda)]) *
                   static_cast<float>(b[s * sb + (tb ? j + p * ldb : p + j * ldb)]);
          float& out = expected[s * sc + i + j * ldc];
          out = alpha * sum + beta * out;
        }
    ASSERT_EQ(dc.host(), expected) << warploom_emulator_report();
  }
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
}

TEST(Cublas, Float) { test_shapes<float>(1); }
TEST(Cublas, Half) { test_shapes<__half>(2); }
TEST(Cublas, Bfloat) { test_shapes<__nv_bfloat16>(3); }

// The same product by pointers to matrices that lie anywhere.
TEST(Cublas, BatchesOfPointers) {
  Random random{std::mt19937(4)};
  cublasHandle_t handle;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  for (int round = 0; round < 40; ++round) {
    const int m = random.whole(1, 20), n = random.whole(1, 20), k = random.whole(1, 20), batch = random.whole(1, 4);
    const bool ta = random.whole(0, 1), tb = random.whole(0, 1);
    const int lda = (ta ? k : m) + random.whole(0, 3), ldb = (tb ? n : k) + random.whole(0, 3), ldc = m + random.whole(0, 3);
    const float alpha = static_cast<float>(random.whole(-2, 2)), beta = static_cast<float>(random.whole(-1, 1));
    std::vector<std::unique_ptr<DeviceBuffer<__half>>> a, b;
    std::vector<std::unique_ptr<DeviceBuffer<float>>> c;
    std::vector<const void*> pa, pb;
    std::vector<void*> pc;
    std::vector<std::vector<float>> expected;
    for (int s = 0; s < batch; ++s) {
      const auto va = whole_numbers<__half>(random, lda * (ta ? m : k)),
                 vb = whole_numbers<__half>(random, ldb * (tb ? k : n));
      auto vc = whole_numbers<float>(random, ldc * n);
      a.push_back(std::make_unique<DeviceBuffer<__half>>(va));
      b.push_back(std::make_unique<DeviceBuffer<__half>>(vb));
      c.push_back(std::make_unique<DeviceBuffer<float>>(vc));
      pa.push_back(a.back()->data()), pb.push_back(b.back()->data()), pc.push_back(c.back()->data());
      for (int j = 0; j < n; ++j)
        for (int i = 0; i < m; ++i) {
          float sum = 0;
          for (int p = 0; p < k; ++p)
            sum += static_cast<float>(va[ta ? p + i * lda : i + p * lda]) *
                   static_cast<float>(vb[tb ? j + p * ldb : p + j * ldb]);
          vc[i + j * ldc] = alpha * sum + beta * vc[i + j * ldc];
        }
      expected.push_back(vc);
    }
    DeviceBuffer<const void*> da(pa), db(pb);
    DeviceBuffer<void*> dc(pc);
    ASSERT_EQ(cublasGemmBatchedEx(handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &alpha,
                                  da.data(), CUDA_R_16F, lda, db.data(), CUDA_R_16F, ldb, &beta, dc.data(), CUDA_R_32F, ldc,
                                  batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              CUBLAS_STATUS_SUCCESS);
    for (int s = 0; s < batch; ++s) ASSERT_EQ(c[s]->host(), expected[s]) << "round " << round << warploom_emulator_report();
  }
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
}

TEST(Cublas, FaultsCanBeInjected) {
  cublasHandle_t handle;
  warploom_emulator_inject("cublasCreate", 1, cudaErrorMemoryAllocation);
  EXPECT_EQ(cublasCreate(&handle), CUBLAS_STATUS_ALLOC_FAILED);
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  DeviceBuffer<float> x(std::vector<float>(16, 1)), c(16);
  const float one = 1, zero = 0;
  warploom_emulator_inject("cublasSgemm", 1, cudaErrorLaunchFailure);
  EXPECT_EQ(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.data(), 4, x.data(), 4, &zero, c.data(), 4),
            CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
}

TEST(Cublas, RefusesWhatTheDocumentationDoes) {
  cublasHandle_t handle;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  DeviceBuffer<float> x(std::vector<float>(16, 1));
  const float one = 1, zero = 0;
  EXPECT_EQ(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.data(), 3, x.data(), 4, &zero, x.data(), 4),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.data(), CUDA_R_32F, 4, x.data(), CUDA_R_16F, 4,
                         &zero, x.data(), CUDA_R_32F, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
}

TEST(Cublas, ChecksItsMatrices) {
  cublasHandle_t handle;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  DeviceBuffer<float> a(std::vector<float>(16, 1)), b(std::vector<float>(12, 1)), c(16);
  const float one = 1, zero = 0;
  EXPECT_EQ(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a.data(), 4, a.data(), 4, &zero, c.data(), 4),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(c.host(), std::vector<float>(16, 4));  // C was not initialised, and with beta = 0 is not read
  EXPECT_EQ(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a.data(), 4, b.data(), 4, &zero, c.data(), 4),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("matrix B"), std::string::npos) << warploom_emulator_report();
  warploom_emulator_clear();
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
}

}  // namespace
