#include "matrix_product.h"

#include <cmath>
#include <cstring>
#include <memory>

#include "float_bits.h"

extern "C" {  // of the emulated runtime
void warploom_emulator_enqueue(cudaStream_t stream, const std::function<void()>& work);
bool warploom_emulator_check(const void* p, size_t bytes, int kind, const char* who);
int warploom_emulator_injected(const char* entry_point);
}

namespace emulator {
namespace {

double load(const void* p, cudaDataType type, int64_t i) {
  switch (type) {
    case CUDA_R_16F: return static_cast<double>(from_half(static_cast<const uint16_t*>(p)[i]));
    case CUDA_R_16BF: return static_cast<double>(from_bfloat(static_cast<const uint16_t*>(p)[i]));
    case CUDA_R_32F: return static_cast<double>(static_cast<const float*>(p)[i]);
    default: return static_cast<const double*>(p)[i];
  }
}
void store(void* p, cudaDataType type, int64_t i, double v) {
  switch (type) {
    case CUDA_R_16F: static_cast<uint16_t*>(p)[i] = to_half(v); break;
    case CUDA_R_16BF: static_cast<uint16_t*>(p)[i] = to_bfloat(v); break;
    case CUDA_R_32F: static_cast<float*>(p)[i] = static_cast<float>(v); break;
    default: static_cast<double*>(p)[i] = v;
  }
}

// Every column (or row, where rows are contiguous) is checked by itself: what lies between them need not be there.
bool check(const MatrixView& x, bool written, const char* what) {
  const bool columns = x.down == 1;
  const int64_t lines = columns ? x.columns : x.rows, length = columns ? x.rows : x.columns,
                step = columns ? x.across : x.down, size = static_cast<int64_t>(bytes_of(x.type));
  for (int64_t i = 0; i < lines; ++i)
    if (!check_memory(static_cast<const uint8_t*>(x.data) + i * step * size, static_cast<size_t>(length * size), written,
                      what))
      return false;
  return true;
}

// The rows next to each other, as doubles.
std::vector<double> gather(const MatrixView& x) {
  std::vector<double> out(static_cast<size_t>(x.rows * x.columns));
  double* to = out.data();
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.columns; ++j) *to++ = load(x.data, x.type, i * x.down + j * x.across);
  return out;
}

// Products of kRows rows of a with kColumns rows of b, k apart each: blocks of them, so that what is loaded is used several times.
template <int kRows, int kColumns>
void dots(const double* a, const double* b, int64_t k, double* out, int64_t step) {
  using Lanes [[gnu::vector_size(64)]] = double;
  Lanes part[kRows][kColumns] = {};
  double sum[kRows][kColumns] = {};
  int64_t p = 0;
  for (; p + 8 <= k; p += 8) {
    Lanes x[kRows], y[kColumns];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) std::memcpy(&x[i], a + i * k + p, sizeof x[i]);
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) std::memcpy(&y[j], b + j * k + p, sizeof y[j]);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) part[i][j] += x[i] * y[j];
  }
  for (; p < k; ++p)
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kColumns; ++j) sum[i][j] += a[i * k + p] * b[j * k + p];
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kColumns; ++j) {
      for (int l = 0; l < 8; ++l) sum[i][j] += part[i][j][l];
      out[j * step + i] = sum[i][j];
    }
}
// All of them: out[j * m + i] = row i of a times row j of b.
std::vector<double> products_of(const std::vector<double>& a, const std::vector<double>& b, int64_t m, int64_t n,
                                int64_t k) {
  constexpr int kBlock = 4;
  std::vector<double> out(static_cast<size_t>(m * n));
  for (int64_t j = 0; j < n;) {
    const bool columns = j + kBlock <= n;
    for (int64_t i = 0; i < m;) {
      const bool rows = i + kBlock <= m;
      const auto f = rows ? (columns ? dots<kBlock, kBlock> : dots<kBlock, 1>) : columns ? dots<1, kBlock> : dots<1, 1>;
      f(a.data() + i * k, b.data() + j * k, k, out.data() + j * m + i, m);
      i += rows ? kBlock : 1;
    }
    j += columns ? kBlock : 1;
  }
  return out;
}

// cuBLASLt documentation, CUBLASLT_EPILOGUE_GELU: "the Gaussian error linear unit", in its tanh form.
double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

// alpha = 0 doesn't read A and B, beta = 0 doesn't read C.
bool run(const Product& g, double alpha, double beta) {
  std::vector<double> a, b, products;
  const int64_t m = g.d.rows, n = g.d.columns, k = g.a.columns;
  if (alpha != 0) {
    if (!check(g.a, false, "cuBLAS, matrix A") || !check(g.b, false, "cuBLAS, matrix B")) return false;
    a = gather(g.a);
    b = gather(g.b.transposed());
    products = products_of(a, b, m, n, k);
  }
  if (beta != 0 && !check(g.c, false, "cuBLAS, matrix C")) return false;
  if (g.bias != nullptr && !check_memory(g.bias, static_cast<size_t>(m) * bytes_of(g.bias_type), false, "cuBLAS, the bias"))
    return false;
  if (!check(g.d, true, g.d.data == g.c.data ? "cuBLAS, matrix C" : "cuBLAS, matrix D")) return false;
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < m; ++i) {
      double v = alpha != 0 ? alpha * products[static_cast<size_t>(j * m + i)] : 0.0;
      if (beta != 0) v += beta * load(g.c.data, g.c.type, i * g.c.down + j * g.c.across);
      if (g.bias != nullptr) v += load(g.bias, g.bias_type, i);
      if (g.activation == Activation::kRelu) v = v > 0 || v != v ? v : 0.0;
      if (g.activation == Activation::kGelu) v = gelu(v);
      store(g.d.data, g.d.type, i * g.d.down + j * g.d.across, v);
    }
  return true;
}

}  // namespace

size_t bytes_of(cudaDataType type) {
  switch (type) {
    case CUDA_R_16F:
    case CUDA_R_16BF: return 2;
    case CUDA_R_32F: return 4;
    case CUDA_R_64F: return 8;
    default: return 0;
  }
}

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

void enqueue_products(cudaStream_t stream, const Scalars& scalars, std::function<std::vector<Product>()> products) {
  double alpha = 0, beta = 0;
  if (!scalars.on_device) alpha = load(scalars.alpha, scalars.type, 0), beta = load(scalars.beta, scalars.type, 0);
  enqueue(stream, [=] {
    double x = alpha, y = beta;
    if (scalars.on_device) {
      const size_t size = bytes_of(scalars.type);
      if (!check_memory(scalars.alpha, size, false, "cuBLAS, alpha") ||
          !check_memory(scalars.beta, size, false, "cuBLAS, beta"))
        return;
      x = load(scalars.alpha, scalars.type, 0), y = load(scalars.beta, scalars.type, 0);
    }
    for (const Product& g : products())
      if (!run(g, x, y)) return;
  });
}

void enqueue(cudaStream_t stream, const std::function<void()>& work) { warploom_emulator_enqueue(stream, work); }
bool check_memory(const void* p, size_t bytes, bool written, const char* what) {
  return warploom_emulator_check(p, bytes, written ? 1 : 0, what);
}

cublasStatus_t injected_status(const char* entry_point) {
  switch (warploom_emulator_injected(entry_point)) {
    case cudaSuccess: return CUBLAS_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation: return CUBLAS_STATUS_ALLOC_FAILED;
    case cudaErrorNotSupported: return CUBLAS_STATUS_NOT_SUPPORTED;
    default: return CUBLAS_STATUS_EXECUTION_FAILED;
  }
}

const char* status_name(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR: return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unknown cuBLAS status";
  }
}

}  // namespace emulator
