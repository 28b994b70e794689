// The emulated cuBLASLt against plain loops over random shapes, layouts, types and epilogues.
#include <cublasLt.h>
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

struct Lt {
  Lt() { EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS); }
  ~Lt() { cublasLtDestroy(handle); }
  cublasLtHandle_t handle = nullptr;
};
struct Description {
  explicit Description(cublasComputeType_t compute = CUBLAS_COMPUTE_32F, cudaDataType scale = CUDA_R_32F) {
    EXPECT_EQ(cublasLtMatmulDescCreate(&handle, compute, scale), CUBLAS_STATUS_SUCCESS);
  }
  ~Description() { cublasLtMatmulDescDestroy(handle); }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(handle, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS) << attribute;
  }
  cublasLtMatmulDesc_t handle = nullptr;
};
// A matrix of host and device with its layout; `batch` of them.
template <class T>
struct Matrix {
  Matrix(Random& random, int rows, int columns, bool row_major, int batch)
      : leading(std::max(1, row_major ? columns : rows) + random.whole(0, 3)),
        row_major(row_major),
        stride(static_cast<long long>(leading) * (row_major ? rows : columns) + random.whole(0, 5)),
        values(whole_numbers<T>(random, stride * batch + 1)),
        device(values) {
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout, kType<T>, rows, columns, leading), CUBLAS_STATUS_SUCCESS);
    const int32_t order = row_major ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL, count = batch;
    const int64_t offset = stride;
    auto set = [this](cublasLtMatrixLayoutAttribute_t attribute, const auto& value) {
      EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(layout, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
    };
    set(CUBLASLT_MATRIX_LAYOUT_ORDER, order);
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count);
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, offset);
  }
  ~Matrix() { cublasLtMatrixLayoutDestroy(layout); }
  Matrix(const Matrix&) = delete;
  size_t at(int item, int i, int j) const { return item * stride + (row_major ? i * leading + j : i + j * leading); }

  int leading;
  bool row_major;
  long long stride;
  std::vector<T> values;
  DeviceBuffer<T> device;
  cublasLtMatrixLayout_t layout = nullptr;
};

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

template <class T, class D>
void test_shapes(uint32_t seed) {
  Random random{std::mt19937(seed)};
  Lt lt;
  for (int round = 0; round < 80; ++round) {
    const int m = random.whole(1, 20), n = random.whole(1, 20), k = random.whole(0, 60), batch = random.whole(1, 3);
    const bool ta = random.whole(0, 1), tb = random.whole(0, 1), rows = random.whole(0, 2) == 0,
               in_place = random.whole(0, 1), on_device = random.whole(0, 1);
    const int activation = random.whole(0, 2);
    const bool biased = !rows && random.whole(0, 1);
    const float alpha = static_cast<float>(random.whole(-2, 2)), beta = static_cast<float>(random.whole(-1, 1));
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round << ": " << m << "x" << n << "x" << k << "x"
                                    << batch << (ta ? " T" : " N") << (tb ? "T" : "N") << (rows ? " rows" : "")
                                    << (biased ? " bias" : "") << " activation " << activation << " alpha " << alpha
                                    << " beta " << beta);
    Matrix<T> a(random, ta ? k : m, ta ? m : k, random.whole(0, 1), batch),
        b(random, tb ? n : k, tb ? k : n, random.whole(0, 1), batch);
    Matrix<D> c(random, m, n, rows, batch), other(random, m, n, rows, batch);
    Matrix<D>& d = in_place ? c : other;
    DeviceBuffer<D> bias(whole_numbers<D>(random, m));
    const std::vector<D> bias_values = bias.host();
    Description op;
    op.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(ta ? CUBLAS_OP_T : CUBLAS_OP_N));
    op.set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<int32_t>(tb ? CUBLAS_OP_T : CUBLAS_OP_N));
    op.set(CUBLASLT_MATMUL_DESC_POINTER_MODE,
           static_cast<int32_t>(on_device ? CUBLASLT_POINTER_MODE_DEVICE : CUBLASLT_POINTER_MODE_HOST));
    const uint32_t epilogues[] = {CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_RELU,      CUBLASLT_EPILOGUE_GELU,
                                  CUBLASLT_EPILOGUE_BIAS,    CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS};
    op.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogues[activation + (biased ? 3 : 0)]);
    if (biased) op.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias.data()));
    cublasLtMatmulPreference_t preference;
    ASSERT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    const uint64_t most = random.whole(0, 1) ? 1 << 20 : 0;
    ASSERT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
              CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulHeuristicResult_t results[4];
    int count = 0;
    ASSERT_EQ(cublasLtMatmulAlgoGetHeuristic(lt.handle, op.handle, a.layout, b.layout, c.layout, d.layout, preference, 4,
                                             results, &count),
              CUBLAS_STATUS_SUCCESS);
    ASSERT_GE(count, 1);
    cublasLtMatmulPreferenceDestroy(preference);
    const auto& chosen = results[random.whole(0, count - 1)];
    ASSERT_EQ(chosen.state, CUBLAS_STATUS_SUCCESS);
    ASSERT_LE(chosen.workspaceSize, most);
    DeviceBuffer<char> workspace(chosen.workspaceSize);
    DeviceBuffer<float> scalars(std::vector<float>{alpha, beta});
    const std::vector<D> c_before = c.values;
    ASSERT_EQ(cublasLtMatmul(lt.handle, op.handle, on_device ? scalars.data() : &alpha, a.device.data(), a.layout,
                             b.device.data(), b.layout, on_device ? scalars.data() + 1 : &beta, c.device.data(), c.layout,
                             d.device.data(), d.layout, random.whole(0, 3) > 0 ? &chosen.algo : nullptr, workspace.data(),
                             chosen.workspaceSize, nullptr),
              CUBLAS_STATUS_SUCCESS);
    std::vector<D> expected = d.values;
    for (int s = 0; s < batch; ++s)
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
          double sum = 0;
          for (int p = 0; p < k; ++p)
            sum += static_cast<float>(a.values[ta ? a.at(s, p, i) : a.at(s, i, p)]) *
                   static_cast<float>(b.values[tb ? b.at(s, j, p) : b.at(s, p, j)]);
          sum = alpha * sum + beta * static_cast<float>(c_before[c.at(s, i, j)]);
          if (biased) sum += static_cast<float>(bias_values[i]);
          if (activation == 1) sum = std::max(sum, 0.0);
          if (activation == 2) sum = gelu(sum);
          expected[d.at(s, i, j)] = D(static_cast<float>(sum));
        }
    const std::vector<D> got = d.device.host();
    ASSERT_STREQ(warploom_emulator_report(), "");
    for (size_t i = 0; i < got.size(); ++i) {
      const float want = static_cast<float>(expected[i]), is = static_cast<float>(got[i]);
      // Sums of whole numbers are exact; tanh and a double rounding are not.
      ASSERT_NEAR(is, want, activation == 2 ? 0.01f * std::fabs(want) + 1e-6f : 0.0f) << i;
    }
  }
}

TEST(CublasLt, Float) { test_shapes<float, float>(1); }
TEST(CublasLt, Half) { test_shapes<__half, __half>(2); }
TEST(CublasLt, Bfloat) { test_shapes<__nv_bfloat16, __nv_bfloat16>(3); }
TEST(CublasLt, HalfToFloat) { test_shapes<__half, float>(4); }
TEST(CublasLt, BfloatToFloat) { test_shapes<__nv_bfloat16, float>(5); }

// What a caller can do wrong: each is refused, or found by the sanitiser.
class CublasLtMistakes : public testing::Test {
 protected:
  static constexpr int kSize = 8, kDepth = 64;
  CublasLtMistakes()
      : a(random, kSize, kDepth, false, 1), b(random, kDepth, kSize, false, 1), c(random, kSize, kSize, false, 1) {
    uint64_t most = 1 << 20;
    cublasLtMatmulPreference_t preference;
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
              CUBLAS_STATUS_SUCCESS);
    int count = 0;
    EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(lt.handle, op.handle, a.layout, b.layout, c.layout, c.layout, preference, 1,
                                             &chosen, &count),
              CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(count, 1);
    EXPECT_GT(chosen.workspaceSize, 0u);
    cublasLtMatmulPreferenceDestroy(preference);
  }
  cublasStatus_t multiply(const float* a_data, void* workspace, size_t bytes) {
    const float one = 1, zero = 0;
    return cublasLtMatmul(lt.handle, op.handle, &one, a_data, a.layout, b.device.data(), b.layout, &zero, c.device.data(),
                          c.layout, c.device.data(), c.layout, &chosen.algo, workspace, bytes, nullptr);
  }
  Random random{std::mt19937(9)};
  Lt lt;
  Description op;
  Matrix<float> a, b, c;
  cublasLtMatmulHeuristicResult_t chosen;
};

TEST_F(CublasLtMistakes, ATooSmallOrCrookedWorkspaceIsRefused) {
  DeviceBuffer<char> workspace(chosen.workspaceSize + 16);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize - 1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(a.device.data(), workspace.data() + 16, chosen.workspaceSize), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_CUDA(cudaDeviceSynchronize());
}
TEST_F(CublasLtMistakes, AWorkspaceThatIsNotThereIsFound) {
  DeviceBuffer<char> workspace(chosen.workspaceSize / 2);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_NE(std::string(warploom_emulator_report()).find("workspace"), std::string::npos) << warploom_emulator_report();
  warploom_emulator_clear();
}
TEST_F(CublasLtMistakes, AMatrixLessAlignedThanPromisedIsRefused) {
  DeviceBuffer<char> workspace(chosen.workspaceSize);
  EXPECT_EQ(multiply(a.device.data() + 4, workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_INVALID_VALUE);
}
TEST_F(CublasLtMistakes, ShapesAndTypesThatDoNotFitAreRefused) {
  const float one = 1, zero = 0;
  auto run = [&](cublasLtMatrixLayout_t la, cublasLtMatrixLayout_t lb, const Description& d) {
    return cublasLtMatmul(lt.handle, d.handle, &one, a.device.data(), la, b.device.data(), lb, &zero, c.device.data(),
                          c.layout, c.device.data(), c.layout, nullptr, nullptr, 0, nullptr);
  };
  EXPECT_EQ(run(a.layout, b.layout, op), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(b.layout, a.layout, op), CUBLAS_STATUS_INVALID_VALUE);
  Description transposed;
  transposed.set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(CUBLAS_OP_T));
  EXPECT_EQ(run(a.layout, b.layout, transposed), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(a.layout, b.layout, Description(CUBLAS_COMPUTE_16F, CUDA_R_16F)), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(run(a.layout, b.layout, Description(CUBLAS_COMPUTE_32F, CUDA_R_16F)), CUBLAS_STATUS_NOT_SUPPORTED);
  Description biased;
  biased.set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(CUBLASLT_EPILOGUE_BIAS));
  EXPECT_EQ(run(a.layout, b.layout, biased), CUBLAS_STATUS_INVALID_VALUE);  // no pointer
  biased.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(c.device.data() + 1));
  EXPECT_EQ(run(a.layout, b.layout, biased), CUBLAS_STATUS_INVALID_VALUE);  // not on 16 bytes
  const int64_t wrong = 0;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(op.handle, CUBLASLT_MATMUL_DESC_TRANSA, &wrong, sizeof wrong),
            CUBLAS_STATUS_INVALID_VALUE);  // an int64_t for an int32_t
  EXPECT_CUDA(cudaDeviceSynchronize());
}
TEST_F(CublasLtMistakes, FaultsCanBeInjected) {
  warploom_emulator_inject("cublasLtMatmul", 2, cudaErrorLaunchFailure);
  DeviceBuffer<char> workspace(chosen.workspaceSize);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(multiply(a.device.data(), workspace.data(), chosen.workspaceSize), CUBLAS_STATUS_SUCCESS);
  EXPECT_CUDA(cudaDeviceSynchronize());
}

}  // namespace
