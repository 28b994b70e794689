// The two kernels of attention over pages, each in its own file. They give a row the same bits.
#pragma once

#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// Sequences of one token, their contexts split over blocks where sequences are few. workspace: decode_workspace_bytes().
void launch_decode(const PagedAttentionArgs& args, void* workspace, cudaStream_t stream);
std::size_t decode_workspace_bytes(const PagedAttentionArgs& args);

/// All sequences, or those of more than one token.
void launch_prefill(const PagedAttentionArgs& args, bool leave_single_tokens, cudaStream_t stream);

/// Launches `kernel` with `shared_bytes`. max_shared_bytes: of any launch of this kernel; the limit is set for all of them, as
/// other threads may launch it too.
void launch_attention(const void* kernel, dim3 grid, int threads, int shared_bytes, int max_shared_bytes, void** arguments,
                      const char* what, cudaStream_t stream);

}  // namespace warploom::cuda
