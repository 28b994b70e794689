// The two kernels of paged attention, each in its own file. Both give a row the same bits.
#pragma once

#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// Sequences with one query token. If there are few, blocks share their contexts. workspace: decode_workspace_bytes().
void launch_decode(const PagedAttentionArgs& args, void* workspace, cudaStream_t stream);
std::size_t decode_workspace_bytes(const PagedAttentionArgs& args);

/// All sequences; with skip_decode, only those with several query tokens.
void launch_prefill(const PagedAttentionArgs& args, bool skip_decode, cudaStream_t stream);

/// Launches `kernel` with shared_bytes. max_shared_bytes: the maximum over all launches of this kernel, which becomes its
/// limit; it must always be the same, because other threads may launch the kernel too.
void launch_attention(const void* kernel, dim3 grid, int threads, int shared_bytes, int max_shared_bytes, void** arguments,
                      const char* what, cudaStream_t stream);

}  // namespace warploom::cuda
