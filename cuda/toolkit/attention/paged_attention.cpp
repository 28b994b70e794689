// The public calls choose which kernels run.
#include <algorithm>

#include <fmt/format.h>

#include "cuda/runtime/check.h"
#include "cuda/runtime/multiprocessors.h"
#include "cuda/toolkit/attention/kv_cache_args.h"
#include "cuda/toolkit/attention/launch.h"
#include "warploom/error.h"

namespace warploom::cuda {

namespace {
constexpr std::size_t kMaxPitch = 0x7fffffff;
}

void launch_attention(const AttentionLaunch& l, void** arguments, const LaunchStream& stream) {
  check(cudaFuncSetAttribute(l.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, l.max_shared_bytes),
        "cudaFuncSetAttribute");
  const auto shared_bytes = static_cast<std::size_t>(l.shared_bytes);
  int resident = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, l.kernel, l.threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  const std::int64_t blocks = std::min(l.max_blocks, std::int64_t{std::max(resident, 1)} * multiprocessors(stream.stream));
  launch_kernel(l.kernel, l.what, dim3(static_cast<unsigned>(blocks)), static_cast<unsigned>(l.threads), arguments,
                shared_bytes, stream);
}

namespace {

// Which kernels a step needs, as far as the host knows: it sees the longest sequence, not the others.
struct Kernels {
  bool decode, prefill;

  explicit Kernels(const PagedAttentionArgs& a)
      : prefill(a.metadata.max_query_len > 1 &&
                a.metadata.max_query_len * (a.num_heads / a.cache.num_kv_heads) > kMaxDecodeRows) {
    decode = !prefill || a.metadata.num_seqs > 1;
  }
};

void check_items(const PagedAttentionArgs& args) {
  constexpr std::int64_t kMaxItems = std::int64_t{1} << 31;
  if (decode_items(args) < kMaxItems && prefill_items(args) < kMaxItems) return;
  throw InvalidArgument(fmt::format(
      "metadata.max_blocks_per_seq is {}; it must be smaller for {} tokens of {} sequences and {} kv heads: rows times "
      "their pieces of context must be below 2^31",
      args.metadata.max_blocks_per_seq, args.metadata.num_tokens, args.metadata.num_seqs, args.cache.num_kv_heads));
}

// Both kernels count even if a step needs one: more of anything never needs less.
std::size_t workspace_bytes(const PagedAttentionArgs& args) {
  check_items(args);
  const std::size_t bytes = std::max(decode_workspace_bytes(args), prefill_workspace_bytes(args));
  return bytes == 0 ? 0 : kAttentionZeroBytes + bytes;
}

}  // namespace

std::size_t paged_attention_workspace_bytes(const PagedAttentionArgs& args) {
  check_attention_shape(args);
  return args.metadata.num_tokens == 0 ? 0 : workspace_bytes(args);
}

void paged_attention(const PagedAttentionArgs& args, cudaStream_t stream) { paged_attention(args, LaunchStream(stream)); }
void paged_attention(const PagedAttentionArgs& args, const LaunchStream& stream) {
  check_attention(args);
  if (args.metadata.num_tokens == 0) return;
  check_attention_workspace(args.workspace, workspace_bytes(args));
  const Kernels kernels(args);
  if (kernels.prefill) launch_prefill(args, stream);
  if (kernels.decode) launch_decode(args, stream);
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
