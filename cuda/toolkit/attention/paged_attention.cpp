// The public calls choose which kernels run.
#include <algorithm>

#include "cuda/runtime/check.h"
#include "cuda/toolkit/attention/kv_cache_args.h"
#include "cuda/toolkit/attention/launch.h"

namespace warploom::cuda {

namespace {
constexpr std::size_t kMaxPitch = 0x7fffffff;
}

void launch_attention(const void* kernel, dim3 grid, int threads, int shared_bytes, int max_shared_bytes, void** arguments,
                      const char* what, cudaStream_t stream) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, max_shared_bytes), "cudaFuncSetAttribute");
  check(cudaLaunchKernel(kernel, grid, dim3(static_cast<unsigned>(threads)), arguments,
                         static_cast<std::size_t>(shared_bytes), stream),
        what);
}

std::size_t paged_attention_workspace_bytes(const PagedAttentionArgs& args) {
  check_attention_shape(args);
  return args.metadata.num_tokens == 0 ? 0 : decode_workspace_bytes(args);
}

void paged_attention(const PagedAttentionArgs& args, cudaStream_t stream) {
  check_attention(args);
  if (args.metadata.num_tokens == 0) return;
  const bool several = args.metadata.max_query_len > 1, mixed = several && args.metadata.num_seqs > 1;
  if (mixed || !several) check_attention_workspace(args.workspace, decode_workspace_bytes(args));
  if (several) launch_prefill(args, mixed, stream);
  if (mixed || !several) launch_decode(args, args.workspace.data, stream);
}

void copy_block(const KvCacheView& cache, std::int32_t from, std::int32_t to, cudaStream_t stream) {
  check_cache(cache);
  check_block(cache, from, "from");
  check_block(cache, to, "to");
  if (from == to) return;
  const auto bytes = static_cast<std::size_t>(cache.block_stride() * bytes_of(cache.type));
  const std::size_t pitch = bytes * static_cast<std::size_t>(cache.num_blocks);
  auto* data = static_cast<std::byte*>(cache.data);
  std::byte* target = data + bytes * static_cast<std::size_t>(to);
  const std::byte* source = data + bytes * static_cast<std::size_t>(from);
  // One copy for all layers if their distance is within the limit of 2D copies (cudaDevAttrMaxPitch), else one for each.
  const auto layers = static_cast<std::size_t>(cache.num_layers);
  const std::size_t at_once = pitch <= kMaxPitch ? layers : 1;
  for (std::size_t layer = 0; layer < layers; layer += at_once)
    check(cudaMemcpy2DAsync(target + layer * pitch, std::min(pitch, kMaxPitch), source + layer * pitch,
                            std::min(pitch, kMaxPitch), bytes, at_once, cudaMemcpyDeviceToDevice, stream),
          "copy_block");
}

}  // namespace warploom::cuda
