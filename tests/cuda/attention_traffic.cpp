#include "cuda/attention_traffic.h"

#include <algorithm>

#include "cuda/device_sampling.h"
#include "warploom/cuda/kv_cache.h"

namespace warploom::test {

void PrintTo(const Traffic& t, std::ostream* out) {
  *out << t.sequences << " sequences, " << t.heads << " heads, " << t.kv_heads << " kv heads of " << t.head_dim;
}

Batch crowd(std::int64_t sequences, std::int64_t context, std::int64_t tokens) {
  return Batch(static_cast<std::size_t>(sequences), {context, tokens});
}

WarploomCounters count_attention(const Traffic& t, const Batch& batch, const char* kernels) {
  std::int64_t context = 0, tokens = 0, rows = 0, cache_blocks = 0;
  for (const Sequence& s : batch) {
    context = std::max(context, s.context);
    tokens = std::max(tokens, s.tokens);
    rows += s.tokens;
    cache_blocks += s.context / 16;
  }
  const std::int64_t tables = 2 * context / 16;  // entries a sequence: room for twice the context
  const std::int64_t row = t.heads * t.head_dim;
  PagedAttentionArgs a;
  a.cache = {nullptr, t.type, 1, cache_blocks, t.kv_heads, t.head_dim, 16};
  const DeviceArray<std::byte> cache(std::vector<std::byte>(static_cast<std::size_t>(a.cache.bytes())));
  const DeviceArray<float> queries(std::vector<float>(static_cast<std::size_t>(rows * row))),
      out(std::vector<float>(static_cast<std::size_t>(rows * row)));
  std::vector<std::int32_t> blocks, positions, starts{0};
  std::int32_t next = 0;
  for (const Sequence& s : batch) {
    for (std::int64_t i = 0; i < tables; ++i) blocks.push_back(i < s.context / 16 ? next++ : 0x7fffffff);
    for (std::int64_t i = s.context - s.tokens; i < s.context; ++i) positions.push_back(static_cast<std::int32_t>(i));
    starts.push_back(static_cast<std::int32_t>(positions.size()));
  }
  const DeviceArray<std::int32_t> device_tables(blocks), device_starts(starts), device_positions(positions);
  a.cache.data = cache.data();
  a.queries = {queries.data(), DType::f32, row};
  a.out = {out.data(), DType::f32, row};
  a.num_heads = t.heads;
  a.round_to_bf16 = t.round_to_bf16;
  a.metadata.num_tokens = rows;
  a.metadata.num_seqs = static_cast<std::int64_t>(batch.size());
  a.metadata.max_query_len = tokens;
  a.metadata.positions = device_positions.data();
  a.metadata.qo_indptr = device_starts.data();
  a.metadata.block_tables = device_tables.data();
  a.metadata.max_blocks_per_seq = tables;
  const std::size_t bytes = cuda::paged_attention_workspace_bytes(a);
  const DeviceArray<std::byte> workspace(std::vector<std::byte>(std::max<std::size_t>(bytes, 1)));
  warploom_emulator_reset_counters();
  warploom_emulator_count(1);
  a.workspace = {workspace.data(), bytes};
  cuda::paged_attention(a, nullptr);
  throw_on_error(cudaDeviceSynchronize());
  warploom_emulator_count(0);
  WarploomCounters n{};
  warploom_emulator_counters(kernels, &n);
  return n;
}

}  // namespace warploom::test
