#include "model/activations.h"

#include <algorithm>

namespace warploom {

Activations::Activations(Backend& backend, const ModelConfig& config, const BatchLimits& limits, const KvCacheShape& cache) {
  const ModelShape& shape = config.shape;
  const std::int64_t tokens = limits.max_num_tokens, logits_rows = limits.max_num_logits;
  const auto make = [&](std::int64_t elements, DType type) {
    return backend.alloc(static_cast<std::size_t>(std::max<std::int64_t>(elements, 1) * bytes_of(type)));
  };
  const DType compute = backend.activation_type();
  residual = make(tokens * shape.hidden_size, DType::f32);
  normed = make(std::max(tokens, logits_rows) * shape.hidden_size, compute);
  qkv = make(tokens * (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim, DType::f32);
  attended = make(tokens * shape.num_heads * shape.head_dim, compute);
  projected = make(tokens * shape.hidden_size, DType::f32);
  gate_up = make(tokens * 2 * shape.intermediate_size, DType::f32);
  gated = make(tokens * shape.intermediate_size, compute);
  logits_residual = make(logits_rows * shape.hidden_size, DType::f32);
  logits_queries = make(logits_rows * shape.num_heads * shape.head_dim, DType::f32);
  logits = make(logits_rows * shape.vocab_size, DType::f32);

  std::size_t workspace = 0;
  for (const LayerConfig& layer : config.layers) {
    PagedAttentionArgs attention;
    attention.num_heads = layer.num_heads;
    attention.metadata.num_tokens = attention.metadata.max_query_len = tokens;
    attention.metadata.num_seqs = limits.max_num_seqs;
    attention.metadata.max_blocks_per_seq = limits.max_blocks_per_seq;
    attention.cache = layer_view(
        {nullptr, cache.type, cache.num_layers, cache.num_blocks, cache.num_kv_heads, cache.head_dim, cache.block_size},
        layer);
    attention.round_to_bf16 = cache.round_attention;
    attention.out.type = compute;
    workspace = std::max(workspace, backend.workspace_bytes(attention));
  }
  attention_workspace = backend.alloc(workspace);
}

}  // namespace warploom
