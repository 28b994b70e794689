// Launches of the kernels that read packed weights. Throw BackendError; `type` is f16 or bf16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/backend/matmul/packed.h"
#include "warploom/sampling.h"
#include "warploom/types.h"

namespace warploom::cuda {

/// out[t, r] = x[t] * weight[r] + bias[r]. x [tokens, cols] of `type`; bias [weight.rows] or null; out [tokens, out_stride]
/// f32, of which it writes the view's rows.
void launch_packed_matmul(const PackedView& weight, DType type, const void* x, const float* bias, std::int64_t tokens,
                          std::int64_t out_stride, float* out, cudaStream_t stream);

/// Rows of tiles `begin` to `end` as 16-bit floats, row after row, `stride` elements apart (a multiple of 8, at least cols);
/// the first row of `begin` comes first. Inputs beyond cols are zero. `out` lies on a 16-byte boundary.
void launch_unpack(const PackedView& weight, DType type, int begin, int end, std::int64_t stride, void* out,
                   cudaStream_t stream);

/// out[t] = row ids[t] - first_row of the view, as f32; tokens whose row is not in the view are left as they are. out [tokens,
/// cols].
void launch_packed_embed(const PackedView& table, DType type, int first_row, const TokenId* ids, std::int64_t tokens,
                         float* out, cudaStream_t stream);
/// The same of rows of 16-bit floats, all of which ids may name, `stride` elements apart.
void launch_dense_embed(const void* rows, DType type, std::int64_t cols, std::int64_t stride, const TokenId* ids,
                        std::int64_t tokens, float* out, cudaStream_t stream);

}  // namespace warploom::cuda
