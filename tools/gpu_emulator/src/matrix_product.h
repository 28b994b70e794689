// Matrix products by plain loops, for the stand-ins of cuBLAS and cuBLASLt: D = f(alpha * A * B + beta * C + bias). Sums are
// of doubles and rounded once. What is read and written is checked by the sanitiser, in the stream's order.
#pragma once

#include <cublas_api.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace emulator {

size_t bytes_of(cudaDataType type);  // 0 for types that are not supported: only f16, bf16, f32, f64 are

struct MatrixView {
  void* data = nullptr;
  cudaDataType type = CUDA_R_32F;
  int64_t rows = 0, columns = 0;
  int64_t down = 1, across = 0;  // elements from row to row, and from column to column; one of them is 1

  MatrixView transposed() const { return {data, type, columns, rows, across, down}; }
};
enum class Activation : uint8_t { kNone, kRelu, kGelu };

struct Product {
  MatrixView a, b, c, d;       // [m, k], [k, n], [m, n], [m, n]
  const void* bias = nullptr;  // [m], added to every column; nullptr: none
  cudaDataType bias_type = CUDA_R_32F;
  Activation activation = Activation::kNone;  // last
};

struct Scalars {
  const void *alpha, *beta;
  cudaDataType type;
  bool on_device;  // then they are read when the work runs
};

// The scalars' type for a computation; false where the documentation doesn't list the types (of real numbers).
bool scale_type(cublasComputeType_t compute, cudaDataType a, cudaDataType b, cudaDataType c, cudaDataType& scale);

// `products` is asked when the work runs, so it may read device memory; an empty list is a fault that it has reported.
void enqueue_products(cudaStream_t stream, const Scalars& scalars, std::function<std::vector<Product>()> products);

// Checks device memory when work runs; `written` marks it as such. False, and the device stops, where something is wrong.
bool check_memory(const void* p, size_t bytes, bool written, const char* what);
void enqueue(cudaStream_t stream, const std::function<void()>& work);

// CUBLAS_STATUS_SUCCESS, or what a fault makes of this call that was injected.
cublasStatus_t injected_status(const char* entry_point);
const char* status_name(cublasStatus_t status);

}  // namespace emulator
