// The two kernels of paged attention, each in its own file. Both give a row the same bits. Each sequence of a step is one
// kernel's: few rows for each kv head are the decode kernel's.
#pragma once

#include "cuda/runtime/launch_stream.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom::cuda {

/// As the public calls. If the stream is `dependent`, the step's metadata is not what the launch ahead writes.
void rope_append(const RopeAppendArgs& args, const LaunchStream& stream);
void paged_attention(const PagedAttentionArgs& args, const LaunchStream& stream);

/// Of one kv head and sequence: with more, a sequence of several tokens is the prefill kernel's.
inline constexpr int kMaxDecodeRows = 64;

void launch_decode(const PagedAttentionArgs& args, const LaunchStream& stream);
void launch_prefill(const PagedAttentionArgs& args, const LaunchStream& stream);

/// Upper bounds of the items that their blocks count, in 32 bits.
std::int64_t decode_items(const PagedAttentionArgs& args);
std::int64_t prefill_items(const PagedAttentionArgs& args);

/// Upper bounds of what they need of the workspace, beyond its counters. One runs after the other, so they share it.
std::size_t decode_workspace_bytes(const PagedAttentionArgs& args);
std::size_t prefill_workspace_bytes(const PagedAttentionArgs& args);

/// Behind the counters; null if there is no workspace.
inline float* attention_partials(const Workspace& workspace) {
  if (workspace.data == nullptr) return nullptr;
  return reinterpret_cast<float*>(static_cast<std::byte*>(workspace.data) + kAttentionZeroBytes);
}

/// A kernel whose blocks share its work, whatever their number.
struct AttentionLaunch {
  const void* kernel;
  std::int64_t max_blocks;
  int threads, shared_bytes;
  int max_shared_bytes;  // over all launches of the kernel: its limit, which other threads set too
  const char* what;
};
/// Launches as many blocks as run at once, at most max_blocks.
void launch_attention(const AttentionLaunch& launch, void** arguments, const LaunchStream& stream);

}  // namespace warploom::cuda
