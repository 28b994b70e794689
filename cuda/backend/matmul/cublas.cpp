#include "cuda/backend/matmul/cublas.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cuda/backend/matmul/kernels.h"
#include "cuda/runtime/check.h"
#include "cuda/runtime/free_memory.h"

namespace warploom::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // NVIDIA's advice for Hopper, which needs the most
constexpr std::size_t kMaxPlans = 4096;                         // each prompt length needs its own

void check_lt(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  if (status == CUBLAS_STATUS_ALLOC_FAILED)
    throw OutOfMemory(fmt::format("{}: cannot allocate memory{}", call, free_memory()));
  throw BackendError(fmt::format("{}: {} ({})", call, cublasLtGetStatusName(status), cublasLtGetStatusString(status)));
}

// What the device itself says: cuBLASLt's CUBLAS_STATUS_EXECUTION_FAILED and CUBLAS_STATUS_INTERNAL_ERROR tell a fault of it as they
// tell a launch that was refused. A stream that is captured must not be queried.
cudaError_t device_error(cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &capture);
  if (error != cudaSuccess || capture != cudaStreamCaptureStatusNone) return error;
  const cudaError_t state = cudaStreamQuery(stream);
  if (state != cudaErrorNotReady) return state;
  static_cast<void>(cudaGetLastError());
  return cudaSuccess;
}

// The largest power of two that divides the address, up to 16, the most that kernels exploit.
unsigned alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p) | 16;
  return static_cast<unsigned>(address & (~address + 1));
}

auto make_layout(cudaDataType type, std::int64_t rows, std::int64_t columns, std::int64_t leading) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_lt(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns),
                                      leading),
           "cublasLtMatrixLayoutCreate");
  return Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>(layout);
}

}  // namespace

DenseMatmul::DenseMatmul(DType type, cudaStream_t stream)
    : type_(type), stream_(stream), workspace_(kWorkspaceBytes, "workspace of cuBLASLt") {
  cublasLtHandle_t handle = nullptr;
  check_lt(cublasLtCreate(&handle), "cublasLtCreate");
  handle_ = Owner<cublasLtHandle_t, cublasLtDestroy>(handle);
}

// cuBLASLt's matrices are column-major: out is [rows, tokens], x is [cols, tokens], and the weight, [cols, rows], is
// transposed.
DenseMatmul::Plan DenseMatmul::make_plan(const DenseProduct& p, const Shape& shape) const {
  const cudaDataType type = type_ == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
  Plan plan;
  cublasLtMatmulDesc_t product = nullptr;
  check_lt(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  plan.product = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>(product);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
    check_lt(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (p.bias) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  }
  plan.weight = make_layout(type, p.cols, p.rows, p.weight_stride);
  plan.x = make_layout(type, p.cols, p.tokens, p.cols);
  plan.out = make_layout(CUDA_R_32F, p.rows, p.tokens, p.out_stride);

  cublasLtMatmulPreference_t preference = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> owner(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check_lt(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kWorkspaceBytes});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{std::get<6>(shape)});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{std::get<7>(shape)});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{std::get<8>(shape)});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{std::get<8>(shape)});
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  check_lt(cublasLtMatmulAlgoGetHeuristic(handle_.get(), product, plan.weight.get(), plan.x.get(), plan.out.get(),
                                          plan.out.get(), preference, 1, &best, &found),
           "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0)
    throw BackendError(fmt::format("cublasLtMatmulAlgoGetHeuristic: no algorithm for {} tokens and a weight of [{}, {}]",
                                   p.tokens, p.rows, p.cols));
  plan.algorithm = best.algo;
  return plan;
}

const DenseMatmul::Plan& DenseMatmul::plan_for(const DenseProduct& p) {
  const Shape shape{p.rows,
                    p.cols,
                    p.tokens,
                    p.weight_stride,
                    p.out_stride,
                    p.bias != nullptr,
                    alignment_of(p.weight),
                    alignment_of(p.x),
                    alignment_of(p.out)};
  auto at = plans_.find(shape);
  if (at == plans_.end()) {
    Plan plan = make_plan(p, shape);
    if (plans_.size() >= kMaxPlans) plans_.clear();
    at = plans_.emplace(shape, std::move(plan)).first;
  }
  return at->second;
}

void DenseMatmul::run(const DenseProduct& product) {
  if (product.tokens == 0 || product.rows == 0) return;
  DenseProduct p = product;
  // The preference has no alignment for the bias, and kernels may read 16 bytes of it at once. One that lies otherwise is what
  // the product is added to.
  const bool added_to = p.bias && alignment_of(p.bias) < 16;
  if (added_to) launch_broadcast(std::exchange(p.bias, nullptr), p.rows, p.tokens, p.out_stride, p.out, stream_);
  const Plan& plan = plan_for(p);
  if (p.bias)
    check_lt(cublasLtMatmulDescSetAttribute(plan.product.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof p.bias),
             "cublasLtMatmulDescSetAttribute");
  const float one = 1.0f, beta = added_to ? 1.0f : 0.0f;
  const cublasStatus_t status =
      cublasLtMatmul(handle_.get(), plan.product.get(), &one, p.weight, plan.weight.get(), p.x, plan.x.get(), &beta, p.out,
                     plan.out.get(), p.out, plan.out.get(), &plan.algorithm, workspace_.data(), workspace_.bytes(), stream_);
  if (status == CUBLAS_STATUS_EXECUTION_FAILED || status == CUBLAS_STATUS_INTERNAL_ERROR)
    check(device_error(stream_), "cublasLtMatmul");
  check_lt(status, "cublasLtMatmul");
}

}  // namespace warploom::cuda
