// Launches the kernels that read weights. `type` is f16 or bf16. Each throws BackendError if the launch fails.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/backend/matmul/batch_plan.h"
#include "cuda/backend/matmul/epilogue.h"
#include "cuda/backend/matmul/packed.h"
#include "cuda/runtime/launch_stream.h"
#include "warploom/sampling.h"
#include "warploom/types.h"

namespace warploom::cuda {

/// Which kernels the device lets have BatchRoom::shared_bytes, by type and token tiles.
struct AllowedKernels {
  bool of_batch[2][kMaxBatchTokens / kTokenTile + 1] = {}, of_chunks[2][kMaxBatchTokens / kTokenTile + 1] = {};
};

/// Memory of one stream's products.
struct MatmulWorkspace {
  BatchRoom room;
  BatchPlans* plans = nullptr;        // for the room
  AllowedKernels* allowed = nullptr;  // on the stream's device
  float4* partials = nullptr;         // room.partial_bytes
  unsigned* counters = nullptr;       // room.counters, zero; they are zero again afterwards
};

/// Lets `kernel` have workspace.room.shared_bytes, once for each `allowed`, which is one of workspace.allowed. Throws BackendError.
void allow_shared_memory(const void* kernel, const MatmulWorkspace& workspace, bool& allowed);

/// Products x[t] * weight[r] for the view's rows r, stored as `to` says. x: [tokens, cols] of `type`. Reads the weights again for every 8
/// tokens.
void launch_packed_matmul(const PackedView& weight, DType type, const void* x, std::int64_t tokens, const Epilogue& to,
                          const LaunchStream& stream);
/// The same, bit for bit, for more tokens. cols is a multiple of 8, x on a 16-byte boundary.
void launch_packed_matmul_batch(const PackedView& weight, DType type, const void* x, std::int64_t tokens, const Epilogue& to,
                                const MatmulWorkspace& workspace, const LaunchStream& stream);

/// launch_packed_matmul_batch() by a plan that is by_chunks.
void launch_packed_matmul_chunks(const PackedView& weight, const BatchPlan& plan, DType type, const void* x, int tokens,
                                 const Epilogue& to, const MatmulWorkspace& workspace, const LaunchStream& stream);

/// Unpacks the tile rows [begin, end) to 16-bit floats. Rows of out are `stride` elements apart, a multiple of 8 that is >=
/// cols; inputs beyond cols are zero. out starts at the first row of `begin`, on a 16-byte boundary.
void launch_unpack(const PackedView& weight, DType type, int begin, int end, std::int64_t stride, void* out,
                   cudaStream_t stream);

/// out[t, r] = bias[r]. out: f32, tokens out_stride elements apart.
void launch_broadcast(const float* bias, std::int64_t rows, std::int64_t tokens, std::int64_t out_stride, float* out,
                      cudaStream_t stream);

/// out[t] = row ids[t] - first_row of the view, as f32. Tokens whose row is not in the view keep their values. out: [tokens,
/// cols].
void launch_packed_embed(const PackedView& table, DType type, int first_row, const TokenId* ids, std::int64_t tokens,
                         float* out, cudaStream_t stream);
/// The same for a table of 16-bit floats, rows `stride` elements apart; every id must be one of its rows.
void launch_dense_embed(const void* rows, DType type, std::int64_t cols, std::int64_t stride, const TokenId* ids,
                        std::int64_t tokens, float* out, cudaStream_t stream);

}  // namespace warploom::cuda
