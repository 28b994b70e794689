// A stand-in for libcublasLt.so.13: matmul with its descriptors, layouts, preferences and heuristics. cuBLAS documentation,
// "Using the cuBLASLt API". Stricter than the library where that shows a caller's mistake: a workspace is overwritten, and
// pointers must be aligned as the preference promised (256 bytes where it says nothing), and a bias to 16 bytes, of which a
// preference cannot say anything.
#include <cublasLt.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "matrix_product.h"

struct cublasLtContext {};

namespace {

using namespace emulator;

struct Layout {
  uint32_t type;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows, columns;
  int64_t leading;
  int32_t batch = 1;
  uint32_t batch_mode = 0;
  int64_t stride = 0, plane = 0;
};
struct Description {
  int32_t compute, scale;
  int32_t pointers = CUBLASLT_POINTER_MODE_HOST;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, transpose_c = CUBLAS_OP_N, fill = CUBLAS_FILL_MODE_FULL;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int64_t bias_stride = 0;
  int32_t bias_type = -1;  // as D's
  int32_t processors = 0;  // a wish that changes nothing here
  int8_t fast_sums = 0;    // likewise
};
struct Preference {
  uint32_t search = CUBLASLT_SEARCH_BEST_FIT, reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
  float waves = 0;
  uint64_t implementations = ~uint64_t{0};
};
struct Algorithm {
  uint64_t tag, workspace;
  uint32_t alignment[4];
};
constexpr uint64_t kTag = 0x31746c62756375;

template <class T, class Opaque>
T& inside(Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(Opaque) && alignof(T) <= alignof(Opaque));
  return *reinterpret_cast<T*>(opaque);
}
Layout& of(cublasLtMatrixLayout_t p) { return inside<Layout>(p); }
Description& of(cublasLtMatmulDesc_t p) { return inside<Description>(p); }
Preference& of(cublasLtMatmulPreference_t p) { return inside<Preference>(p); }
const Algorithm& of(const cublasLtMatmulAlgo_t* p) { return inside<const Algorithm>(p); }

// An attribute's place; `bytes` 0 where it isn't known.
struct Field {
  void* place;
  size_t bytes;
};
template <class T>
Field field(T& member) {
  return {&member, sizeof member};
}
Field field_of(Layout& x, cublasLtMatrixLayoutAttribute_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return field(x.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return field(x.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return field(x.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return field(x.columns);
    case CUBLASLT_MATRIX_LAYOUT_LD: return field(x.leading);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return field(x.batch);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return field(x.stride);
    case CUBLASLT_MATRIX_LAYOUT_PLANE_OFFSET: return field(x.plane);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_MODE: return field(x.batch_mode);
    default: return {nullptr, 0};
  }
}
Field field_of(Description& x, cublasLtMatmulDescAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return field(x.compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return field(x.scale);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return field(x.pointers);
    case CUBLASLT_MATMUL_DESC_TRANSA: return field(x.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB: return field(x.transpose_b);
    case CUBLASLT_MATMUL_DESC_TRANSC: return field(x.transpose_c);
    case CUBLASLT_MATMUL_DESC_FILL_MODE: return field(x.fill);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return field(x.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return field(x.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE: return field(x.bias_stride);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return field(x.bias_type);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET: return field(x.processors);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM: return field(x.fast_sums);
    default: return {nullptr, 0};
  }
}
Field field_of(Preference& x, cublasLtMatmulPreferenceAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE: return field(x.search);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return field(x.workspace);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return field(x.reductions);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return field(x.alignment[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return field(x.alignment[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return field(x.alignment[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return field(x.alignment[3]);
    case CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT: return field(x.waves);
    case CUBLASLT_MATMUL_PREF_IMPL_MASK: return field(x.implementations);
    default: return {nullptr, 0};
  }
}
cublasStatus_t set(Field f, const void* buffer, size_t bytes) {
  if (f.bytes == 0 || buffer == nullptr || bytes != f.bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(f.place, buffer, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t get(Field f, void* buffer, size_t bytes, size_t* written) {
  if (written != nullptr) *written = f.bytes;
  if (f.bytes == 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (bytes == 0 && written != nullptr) return CUBLAS_STATUS_SUCCESS;
  if (buffer == nullptr || bytes < f.bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(buffer, f.place, f.bytes);
  return CUBLAS_STATUS_SUCCESS;
}

MatrixView view(const Layout& x, const void* data, int64_t item) {
  const cudaDataType type = static_cast<cudaDataType>(x.type);
  const bool columns = x.order == CUBLASLT_ORDER_COL;
  auto* start =
      const_cast<uint8_t*>(static_cast<const uint8_t*>(data)) + item * x.stride * static_cast<int64_t>(bytes_of(type));
  return {start,
          type,
          static_cast<int64_t>(x.rows),
          static_cast<int64_t>(x.columns),
          columns ? 1 : x.leading,
          columns ? x.leading : 1};
}

cublasStatus_t check_layout(const Layout& x) {
  if (x.order != CUBLASLT_ORDER_COL && x.order != CUBLASLT_ORDER_ROW) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (x.plane != 0 || x.batch_mode != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint64_t line = x.order == CUBLASLT_ORDER_COL ? x.rows : x.columns;
  return x.leading >= 1 && static_cast<uint64_t>(x.leading) >= line && x.batch >= 1 ? CUBLAS_STATUS_SUCCESS
                                                                                    : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t check_problem(const Description& op, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  for (const Layout* x : {&a, &b, &c, &d})
    if (const cublasStatus_t status = check_layout(*x); status != CUBLAS_STATUS_SUCCESS) return status;
  const bool ta = op.transpose_a != CUBLAS_OP_N, tb = op.transpose_b != CUBLAS_OP_N;
  const uint64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns, n = tb ? b.rows : b.columns;
  if ((tb ? b.columns : b.rows) != k || d.rows != m || d.columns != n || c.rows != m || c.columns != n)
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const Layout* x : {&a, &b, &c})
    if (x->batch != d.batch) return CUBLAS_STATUS_INVALID_VALUE;
  cudaDataType scale;
  if (c.type != d.type || !scale_type(static_cast<cublasComputeType_t>(op.compute), static_cast<cudaDataType>(a.type),
                                      static_cast<cudaDataType>(b.type), static_cast<cudaDataType>(d.type), scale))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint32_t known =
      CUBLASLT_EPILOGUE_DEFAULT | CUBLASLT_EPILOGUE_RELU | CUBLASLT_EPILOGUE_BIAS | CUBLASLT_EPILOGUE_GELU;
  const bool two_pointer_modes = op.pointers == CUBLASLT_POINTER_MODE_HOST || op.pointers == CUBLASLT_POINTER_MODE_DEVICE;
  if (op.scale != scale || (op.epilogue & ~known) != 0 || !two_pointer_modes || op.transpose_c != CUBLAS_OP_N ||
      op.fill != CUBLAS_FILL_MODE_FULL)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  // The bias runs along D's rows, which must be contiguous.
  if ((op.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0 && d.order != CUBLASLT_ORDER_COL) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

// Products over long sums are split, which takes a workspace: here only so that its handling is tested.
uint64_t workspace_of(const Description& op, const Layout& a, const Layout& d, uint64_t most) {
  const uint64_t k = op.transpose_a != CUBLAS_OP_N ? a.rows : a.columns;
  const uint64_t wanted = (d.rows * d.columns * sizeof(float) * static_cast<uint64_t>(d.batch) + 255) / 256 * 256;
  return k >= 2 * std::max(d.rows, d.columns) && wanted <= most ? wanted : 0;
}

template <class Opaque, class T>
cublasStatus_t make(Opaque** out, const T& value) {
  if (out == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *out = new Opaque{};
  inside<T>(*out) = value;
  return CUBLAS_STATUS_SUCCESS;
}
template <class Opaque>
cublasStatus_t destroy(Opaque* p) {
  return delete p, CUBLAS_STATUS_SUCCESS;
}
template <class Opaque, class T>
cublasStatus_t initialise(Opaque* p, size_t bytes, const T& value) {
  if (p == nullptr || bytes < sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memset(p, 0, bytes);
  inside<T>(p) = value;
  return CUBLAS_STATUS_SUCCESS;
}
Layout layout(cudaDataType type, uint64_t rows, uint64_t columns, int64_t leading) {
  Layout x{};
  x.type = static_cast<uint32_t>(type), x.rows = rows, x.columns = columns, x.leading = leading;
  x.order = CUBLASLT_ORDER_COL, x.batch = 1;
  return x;
}
Description description(cublasComputeType_t compute, cudaDataType scale) {
  Description x{};
  x.compute = compute, x.scale = scale;
  return x;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  const cublasStatus_t status = injected_status(__func__);
  *handle = status == CUBLAS_STATUS_SUCCESS ? new cublasLtContext : nullptr;
  return status;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy(handle); }
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t status) { return status_name(status); }
const char* cublasLtGetStatusString(cublasStatus_t status) { return status_name(status); }

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t p, size_t bytes, cudaDataType type, uint64_t rows,
                                                 uint64_t columns, int64_t leading) {
  return initialise(p, bytes, layout(type, rows, columns, leading));
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* p, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t leading) {
  return make(p, layout(type, rows, columns, leading));
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p) { return destroy(p); }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t p, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* buffer, size_t bytes) {
  return set(field_of(of(p), attribute), buffer, bytes);
}
cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t p, cublasLtMatrixLayoutAttribute_t attribute,
                                                void* buffer, size_t bytes, size_t* written) {
  return get(field_of(of(p), attribute), buffer, bytes, written);
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t p, size_t bytes, cublasComputeType_t compute,
                                               cudaDataType_t scale) {
  return initialise(p, bytes, description(compute, scale));
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* p, cublasComputeType_t compute, cudaDataType_t scale) {
  return make(p, description(compute, scale));
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) { return destroy(p); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p, cublasLtMatmulDescAttributes_t attribute,
                                              const void* buffer, size_t bytes) {
  return set(field_of(of(p), attribute), buffer, bytes);
}
cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t p, cublasLtMatmulDescAttributes_t attribute, void* buffer,
                                              size_t bytes, size_t* written) {
  return get(field_of(of(p), attribute), buffer, bytes, written);
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t bytes) {
  return initialise(p, bytes, Preference{});
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) { return make(p, Preference{}); }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return destroy(p); }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* buffer,
                                                    size_t bytes) {
  return set(field_of(of(p), attribute), buffer, bytes);
}
cublasStatus_t cublasLtMatmulPreferenceGetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, void* buffer,
                                                    size_t bytes, size_t* written) {
  return get(field_of(of(p), attribute), buffer, bytes, written);
}

// One algorithm with a workspace where the preference allows one, then one without.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const cublasStatus_t status = injected_status(__func__); status != CUBLAS_STATUS_SUCCESS) return status;
  *count = 0;
  if (wanted <= 0 || preference == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (const cublasStatus_t status = check_problem(of(op), of(a), of(b), of(c), of(d)); status != CUBLAS_STATUS_SUCCESS)
    return status;
  const Preference& p = of(preference);
  const uint64_t most = workspace_of(of(op), of(a), of(d), p.workspace);
  for (const uint64_t workspace : {most, uint64_t{0}}) {
    if (*count == wanted || (*count == 1 && most == 0)) break;
    cublasLtMatmulHeuristicResult_t& r = results[(*count)++];
    std::memset(&r, 0, sizeof r);
    Algorithm algorithm{kTag, workspace, {}};
    std::copy(std::begin(p.alignment), std::end(p.alignment), algorithm.alignment);
    std::memcpy(&r.algo, &algorithm, sizeof algorithm);
    r.workspaceSize = workspace;
    r.state = CUBLAS_STATUS_SUCCESS;
    r.wavesCount = 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t op_handle, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (const cublasStatus_t status = injected_status(__func__); status != CUBLAS_STATUS_SUCCESS) return status;
  const Description op = of(op_handle);
  const Layout la = of(a_layout), lb = of(b_layout), lc = of(c_layout), ld = of(d_layout);
  if (const cublasStatus_t status = check_problem(op, la, lb, lc, ld); status != CUBLAS_STATUS_SUCCESS) return status;
  if (alpha == nullptr || beta == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (c == d && std::memcmp(&lc, &ld, sizeof lc) != 0) return CUBLAS_STATUS_INVALID_VALUE;
  uint64_t used = 0;
  if (algo != nullptr) {
    const Algorithm& chosen = of(algo);
    const void* pointers[] = {a, b, c, d};
    if (chosen.tag != kTag || chosen.workspace > workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; ++i)
      if (reinterpret_cast<uintptr_t>(pointers[i]) % chosen.alignment[i] != 0) {
        std::fprintf(stderr, "emulator: cublasLtMatmul: matrix %c is not aligned to the %u bytes of its preference\n",
                     "ABCD"[i], chosen.alignment[i]);
        return CUBLAS_STATUS_INVALID_VALUE;
      }
    used = chosen.workspace;
  }
  const bool biased = (op.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  if (biased && op.bias == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (biased && reinterpret_cast<uintptr_t>(op.bias) % 16 != 0) {
    std::fprintf(stderr,
                 "emulator: cublasLtMatmul: the bias is not on 16 bytes, which kernels of the library may read at once\n");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (used > 0)
    enqueue(stream, [=] {
      if (check_memory(workspace, used, true, "cuBLASLt, the workspace")) std::memset(workspace, 0xcd, used);
    });
  if (ld.rows == 0 || ld.columns == 0) return CUBLAS_STATUS_SUCCESS;
  const Scalars scalars{alpha, beta, static_cast<cudaDataType>(op.scale), op.pointers == CUBLASLT_POINTER_MODE_DEVICE};
  enqueue_products(stream, scalars, [=] {
    std::vector<Product> products;
    for (int64_t i = 0; i < ld.batch; ++i) {
      Product p;
      p.a = op.transpose_a != CUBLAS_OP_N ? view(la, a, i).transposed() : view(la, a, i);
      p.b = op.transpose_b != CUBLAS_OP_N ? view(lb, b, i).transposed() : view(lb, b, i);
      p.c = view(lc, c, i);
      p.d = view(ld, d, i);
      if (biased) {
        p.bias_type = op.bias_type >= 0 ? static_cast<cudaDataType>(op.bias_type) : p.d.type;
        p.bias = static_cast<const uint8_t*>(op.bias) + i * op.bias_stride * static_cast<int64_t>(bytes_of(p.bias_type));
      }
      if ((op.epilogue & CUBLASLT_EPILOGUE_RELU) != 0) p.activation = Activation::kRelu;
      if ((op.epilogue & CUBLASLT_EPILOGUE_GELU) != 0) p.activation = Activation::kGelu;
      products.push_back(p);
    }
    return products;
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
