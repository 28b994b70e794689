// A stand-in for libcublas.so.13. cuBLAS documentation: "cublas<t>gemm", "cublasGemmEx", "cublasGemmBatchedEx",
// "cublasGemmStridedBatchedEx" (types, leading dimensions, pointer modes).
#include <cublas_v2.h>

#include <algorithm>

#include "matrix_product.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  cublasAtomicsMode_t atomics = CUBLAS_ATOMICS_NOT_ALLOWED;
};

namespace {

using namespace emulator;

struct Gemm {
  bool transpose_a, transpose_b;
  int64_t m, n, k, lda, ldb, ldc, batch;
  cudaDataType ab, c, scale;

  // Column major, as stored, then transposed where asked for.
  Product of(const void* a, const void* b, void* c_data) const {
    auto view = [](const void* data, cudaDataType type, int64_t rows, int64_t columns, int64_t leading) {
      return MatrixView{const_cast<void*>(data), type, rows, columns, 1, leading};
    };
    Product p;
    p.a = transpose_a ? view(a, ab, k, m, lda).transposed() : view(a, ab, m, k, lda);
    p.b = transpose_b ? view(b, ab, n, k, ldb).transposed() : view(b, ab, k, n, ldb);
    p.c = p.d = view(c_data, c, m, n, ldc);
    return p;
  }
};

const uint8_t* advance(const void* p, int64_t elements, cudaDataType type) {
  return static_cast<const uint8_t*>(p) + elements * static_cast<int64_t>(bytes_of(type));
}

cublasStatus_t multiply(cublasHandle_t handle, const char* entry_point, Gemm g, cudaDataType b_type,
                        cublasComputeType_t compute, const void* alpha, const void* beta,
                        std::function<std::vector<Product>()> products) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const cublasStatus_t status = injected_status(entry_point); status != CUBLAS_STATUS_SUCCESS) return status;
  if (!scale_type(compute, g.ab, b_type, g.c, g.scale)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0 || alpha == nullptr || beta == nullptr ||
      g.lda < std::max<int64_t>(1, g.transpose_a ? g.k : g.m) || g.ldb < std::max<int64_t>(1, g.transpose_b ? g.n : g.k) ||
      g.ldc < std::max<int64_t>(1, g.m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (g.m == 0 || g.n == 0 || g.batch == 0) return CUBLAS_STATUS_SUCCESS;
  enqueue_products(handle->stream, {alpha, beta, g.scale, handle->pointers == CUBLAS_POINTER_MODE_DEVICE},
                   std::move(products));
  return CUBLAS_STATUS_SUCCESS;
}

struct Strided {
  const void* data;
  int64_t stride;  // elements
};
cublasStatus_t multiply_strided(cublasHandle_t handle, const char* entry_point, const Gemm& g, cudaDataType b_type,
                                cublasComputeType_t compute, const void* alpha, const void* beta, Strided a, Strided b,
                                Strided c) {
  return multiply(handle, entry_point, g, b_type, compute, alpha, beta, [=] {
    std::vector<Product> products;
    for (int64_t i = 0; i < g.batch; ++i)
      products.push_back(g.of(advance(a.data, i * a.stride, g.ab), advance(b.data, i * b.stride, g.ab),
                              const_cast<uint8_t*>(advance(c.data, i * c.stride, g.c))));
    return products;
  });
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  const cublasStatus_t status = injected_status(__func__);
  *handle = status == CUBLAS_STATUS_SUCCESS ? new cublasContext : nullptr;
  return status;
}
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
const char* cublasGetStatusName(cublasStatus_t status) { return status_name(status); }
const char* cublasGetStatusString(cublasStatus_t status) { return status_name(status); }

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                          int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda,
                                          long long stride_a, const void* b, cudaDataType b_type, int ldb,
                                          long long stride_b, const void* beta, void* c, cudaDataType c_type, int ldc,
                                          long long stride_c, int batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  const Gemm g{op_a != CUBLAS_OP_N, op_b != CUBLAS_OP_N, m, n, k, lda, ldb, ldc, batch, a_type, c_type, CUDA_R_32F};
  return multiply_strided(handle, __func__, g, b_type, compute, alpha, beta, {a, stride_a}, {b, stride_b}, {c, stride_c});
}
// The arrays of pointers lie in device memory.
cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                   int k, const void* alpha, const void* const a[], cudaDataType a_type, int lda,
                                   const void* const b[], cudaDataType b_type, int ldb, const void* beta, void* const c[],
                                   cudaDataType c_type, int ldc, int batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
  const Gemm g{op_a != CUBLAS_OP_N, op_b != CUBLAS_OP_N, m, n, k, lda, ldb, ldc, batch, a_type, c_type, CUDA_R_32F};
  return multiply(handle, __func__, g, b_type, compute, alpha, beta, [=] {
    std::vector<Product> products;
    const size_t bytes = static_cast<size_t>(g.batch) * sizeof(void*);
    if (!check_memory(a, bytes, false, "cuBLAS, pointers to A") || !check_memory(b, bytes, false, "cuBLAS, pointers to B") ||
        !check_memory(c, bytes, false, "cuBLAS, pointers to C"))
      return products;
    for (int64_t i = 0; i < g.batch; ++i) products.push_back(g.of(a[i], b[i], c[i]));
    return products;
  });
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t) {
  const Gemm g{op_a != CUBLAS_OP_N, op_b != CUBLAS_OP_N, m, n, k, lda, ldb, ldc, 1, a_type, c_type, CUDA_R_32F};
  return multiply_strided(handle, __func__, g, b_type, compute, alpha, beta, {a, 0}, {b, 0}, {c, 0});
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                              const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                              float* c, int ldc) {
  const Gemm g{op_a != CUBLAS_OP_N, op_b != CUBLAS_OP_N, m, n, k, lda, ldb, ldc, 1, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F};
  return multiply_strided(handle, __func__, g, CUDA_R_32F, CUBLAS_COMPUTE_32F, alpha, beta, {a, 0}, {b, 0}, {c, 0});
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                         int k, const float* alpha, const float* a, int lda, long long stride_a,
                                         const float* b, int ldb, long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int batch) {
  const Gemm g{op_a != CUBLAS_OP_N, op_b != CUBLAS_OP_N, m, n, k, lda, ldb, ldc, batch, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F};
  return multiply_strided(handle, __func__, g, CUDA_R_32F, CUBLAS_COMPUTE_32F, alpha, beta, {a, stride_a}, {b, stride_b},
                          {c, stride_c});
}

}  // extern "C"
