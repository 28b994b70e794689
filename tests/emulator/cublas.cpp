// A stand-in for libcublas.so.13: matrix products by plain loops, on the stream, with both sides checked by the sanitiser.
// cuBLAS documentation: "cublas<t>gemm", "cublasGemmEx", "cublasGemmStridedBatchedEx" (types, leading dimensions, beta = 0
// doesn't read C, alpha = 0 doesn't read A and B, pointer modes). Sums are rounded once, from double.
#include <cublas_v2.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "float_bits.h"

extern "C" {
// Of the emulated runtime: queues work; checks (and for kind 1 marks as written) device memory when that work runs.
void warploom_emulator_enqueue(cudaStream_t stream, const std::function<void()>& work);
bool warploom_emulator_check(const void* p, size_t bytes, int kind, const char* who);
}

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  cublasAtomicsMode_t atomics = CUBLAS_ATOMICS_NOT_ALLOWED;
};

namespace {

using namespace emulator;

size_t bytes_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16F:
    case CUDA_R_16BF: return 2;
    case CUDA_R_32F: return 4;
    case CUDA_R_64F: return 8;
    default: return 0;
  }
}
double load(const void* p, cudaDataType type, size_t i) {
  switch (type) {
    case CUDA_R_16F: return static_cast<double>(from_half(static_cast<const uint16_t*>(p)[i]));
    case CUDA_R_16BF: return static_cast<double>(from_bfloat(static_cast<const uint16_t*>(p)[i]));
    case CUDA_R_32F: return static_cast<double>(static_cast<const float*>(p)[i]);
    default: return static_cast<const double*>(p)[i];
  }
}
void store(void* p, cudaDataType type, size_t i, double v) {
  switch (type) {
    case CUDA_R_16F: static_cast<uint16_t*>(p)[i] = to_half(v); break;
    case CUDA_R_16BF: static_cast<uint16_t*>(p)[i] = to_bfloat(v); break;
    case CUDA_R_32F: static_cast<float*>(p)[i] = static_cast<float>(v); break;
    default: static_cast<double*>(p)[i] = v;
  }
}

struct Matrix {
  void* data;
  cudaDataType type;
  int64_t leading, stride;  // elements from column to column, and from matrix to matrix of a batch
};
struct Product {
  bool transpose_a, transpose_b;
  int64_t m, n, k, batch;
  Matrix a, b, c;
  cudaDataType scale;
};

// Every column is checked by itself: what lies between them need not be there.
bool check_columns(const Matrix& x, int64_t item, int64_t rows, int64_t columns, int kind, const char* what) {
  const size_t size = bytes_of(x.type);
  for (int64_t j = 0; j < columns; ++j) {
    const auto* column = static_cast<const uint8_t*>(x.data) + static_cast<size_t>(item * x.stride + j * x.leading) * size;
    if (!warploom_emulator_check(column, static_cast<size_t>(rows) * size, kind, what)) return false;
  }
  return true;
}

// Rows of op(A), or columns of op(B), next to each other, as doubles.
std::vector<double> gather(const Matrix& x, int64_t item, bool across, int64_t count, int64_t k) {
  std::vector<double> out(static_cast<size_t>(count * k));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t p = 0; p < k; ++p)
      out[static_cast<size_t>(i * k + p)] =
          load(x.data, x.type, static_cast<size_t>(item * x.stride + (across ? i + p * x.leading : p + i * x.leading)));
  return out;
}

double dot(const double* a, const double* b, int64_t k) {
  double part[8] = {}, sum = 0;
  int64_t p = 0;
  for (; p + 8 <= k; p += 8)
    for (int l = 0; l < 8; ++l) part[l] += a[p + l] * b[p + l];
  for (; p < k; ++p) sum += a[p] * b[p];
  for (const double v : part) sum += v;
  return sum;
}

void run(const Product& g, double alpha, double beta) {
  for (int64_t item = 0; item < g.batch; ++item) {
    std::vector<double> a, b;
    if (alpha != 0) {
      if (!check_columns(g.a, item, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k, 0, "cuBLAS, matrix A") ||
          !check_columns(g.b, item, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n, 0, "cuBLAS, matrix B"))
        return;
      a = gather(g.a, item, !g.transpose_a, g.m, g.k);
      b = gather(g.b, item, g.transpose_b, g.n, g.k);
    }
    if (beta != 0 && !check_columns(g.c, item, g.m, g.n, 0, "cuBLAS, matrix C")) return;
    if (!check_columns(g.c, item, g.m, g.n, 1, "cuBLAS, matrix C")) return;
    for (int64_t j = 0; j < g.n; ++j)
      for (int64_t i = 0; i < g.m; ++i) {
        const size_t at = static_cast<size_t>(item * g.c.stride + j * g.c.leading + i);
        double v = alpha != 0 ? alpha * dot(&a[static_cast<size_t>(i * g.k)], &b[static_cast<size_t>(j * g.k)], g.k) : 0.0;
        if (beta != 0) v += beta * load(g.c.data, g.c.type, at);
        store(g.c.data, g.c.type, at, v);
      }
  }
}

cublasStatus_t multiply(cublasHandle_t handle, const Product& g, const void* alpha, const void* beta) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0 || alpha == nullptr || beta == nullptr ||
      g.a.leading < std::max<int64_t>(1, g.transpose_a ? g.k : g.m) ||
      g.b.leading < std::max<int64_t>(1, g.transpose_b ? g.n : g.k) || g.c.leading < std::max<int64_t>(1, g.m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (g.m == 0 || g.n == 0 || g.batch == 0) return CUBLAS_STATUS_SUCCESS;
  if (handle->pointers == CUBLAS_POINTER_MODE_HOST) {
    const double x = load(alpha, g.scale, 0), y = load(beta, g.scale, 0);
    warploom_emulator_enqueue(handle->stream, [=] { run(g, x, y); });
  } else {
    warploom_emulator_enqueue(handle->stream, [=] {
      const size_t size = bytes_of(g.scale);
      if (warploom_emulator_check(alpha, size, 0, "cuBLAS, alpha") && warploom_emulator_check(beta, size, 0, "cuBLAS, beta"))
        run(g, load(alpha, g.scale, 0), load(beta, g.scale, 0));
    });
  }
  return CUBLAS_STATUS_SUCCESS;
}

// The combinations of types that the documentation lists for real numbers.
bool scale_type(cublasComputeType_t compute, cudaDataType a, cudaDataType b, cudaDataType c, cudaDataType& scale) {
  if (a != b) return false;
  switch (compute) {
    case CUBLAS_COMPUTE_16F:
    case CUBLAS_COMPUTE_16F_PEDANTIC: scale = CUDA_R_16F; return a == CUDA_R_16F && c == CUDA_R_16F;
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
      scale = CUDA_R_32F;
      return (a == CUDA_R_16F || a == CUDA_R_16BF || a == CUDA_R_32F) && (c == a || c == CUDA_R_32F);
    case CUBLAS_COMPUTE_32F_FAST_16F:
    case CUBLAS_COMPUTE_32F_FAST_16BF:
    case CUBLAS_COMPUTE_32F_FAST_TF32: scale = CUDA_R_32F; return a == CUDA_R_32F && c == CUDA_R_32F;
    case CUBLAS_COMPUTE_64F:
    case CUBLAS_COMPUTE_64F_PEDANTIC: scale = CUDA_R_64F; return a == CUDA_R_64F && c == CUDA_R_64F;
    default: return false;
  }
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) { return *handle = new cublasContext, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool ok = cudaDeviceSynchronize() == cudaSuccess;
  delete handle;
  return ok ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t stream) {
  return h->stream = stream, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream_v2(cublasHandle_t h, cudaStream_t* stream) {
  return *stream = h->stream, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t mode) {
  return h->pointers = mode, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t* mode) {
  return *mode = h->pointers, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t mode) { return h->math = mode, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGetMathMode(cublasHandle_t h, cublasMath_t* mode) { return *mode = h->math, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t mode) {
  return h->atomics = mode, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t* mode) {
  return *mode = h->atomics, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void* workspace, size_t) {
  if (h == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  return reinterpret_cast<uintptr_t>(workspace) % 256 == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) { return *version = CUBLAS_VERSION, CUBLAS_STATUS_SUCCESS; }
const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    default: return "unknown cuBLAS status";
  }
}
const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda,
                                          long long stride_a, const void* b, cudaDataType b_type, int ldb,
                                          long long stride_b, const void* beta, void* c, cudaDataType c_type, int ldc,
                                          long long stride_c, int batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  cudaDataType scale;
  if (!scale_type(compute, a_type, b_type, c_type, scale)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Product g{op_a != CUBLAS_OP_N,
                  op_b != CUBLAS_OP_N,
                  m,
                  n,
                  k,
                  batch,
                  {const_cast<void*>(a), a_type, lda, stride_a},
                  {const_cast<void*>(b), b_type, ldb, stride_b},
                  {c, c_type, ldc, stride_c},
                  scale};
  return multiply(handle, g, alpha, beta);
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algo) {
  return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c,
                                    c_type, ldc, 0, 1, compute, algo);
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                              const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                              float* c, int ldc) {
  return cublasGemmEx(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta, c, CUDA_R_32F, ldc,
                      CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                         int k, const float* alpha, const float* a, int lda, long long stride_a,
                                         const float* b, int ldb, long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int batch) {
  return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_32F, lda, stride_a, b, CUDA_R_32F, ldb,
                                    stride_b, beta, c, CUDA_R_32F, ldc, stride_c, batch, CUBLAS_COMPUTE_32F,
                                    CUBLAS_GEMM_DEFAULT);
}

}  // extern "C"
