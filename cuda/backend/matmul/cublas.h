// Matrix products with cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <tuple>

#include "cuda/runtime/raii.h"
#include "warploom/types.h"

namespace warploom::cuda {

struct DenseProduct {
  const void* weight = nullptr;  // [rows, cols], rows `weight_stride` elements apart
  std::int64_t rows = 0, cols = 0, weight_stride = 0;
  const void* x = nullptr;  // [tokens, cols]
  std::int64_t tokens = 0;
  const float* bias = nullptr;  // [rows] or null; on any boundary
  float* out = nullptr;         // [tokens, rows], tokens `out_stride` elements apart
  std::int64_t out_stride = 0;
};

/// out = x * weight^T + bias with f32 sums; weight and x are f16 or bf16. Caches a plan for each shape. Not thread-safe.
class DenseMatmul {
 public:
  /// Throws OutOfMemory, BackendError.
  DenseMatmul(DType type, cudaStream_t stream);
  /// On the stream. Allocates nothing on the device. Throws BackendError naming the call that failed.
  void run(const DenseProduct& product);

 private:
  // rows, cols, tokens, weight_stride, out_stride, whether the product adds a bias, alignments of weight, x and out in bytes
  using Shape =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, unsigned, unsigned, unsigned>;
  struct Plan {
    Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> product;
    Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> weight, x, out;
    cublasLtMatmulAlgo_t algorithm{};
  };
  Plan make_plan(const DenseProduct& p, const Shape& shape) const;
  const Plan& plan_for(const DenseProduct& p);

  DType type_;
  cudaStream_t stream_;
  DeviceBuffer workspace_;
  Owner<cublasLtHandle_t, cublasLtDestroy> handle_;
  std::map<Shape, Plan> plans_;
};

}  // namespace warploom::cuda
