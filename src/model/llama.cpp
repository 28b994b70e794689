#include "model/llama.h"

namespace warploom {

namespace {

const float* floats(const std::unique_ptr<Buffer>& buffer) {
  return buffer ? static_cast<const float*>(buffer->data()) : nullptr;
}

}  // namespace

std::uint64_t Llama::weight_bytes() const {
  std::uint64_t sum = weights_.embedding->bytes() + (weights_.lm_head ? weights_.lm_head->bytes() : 0);
  for (const LlamaLayer& layer : weights_.layers)
    sum += layer.qkv->bytes() + layer.o_proj->bytes() + layer.gate_up->bytes() + layer.down->bytes();
  return sum;
}

void Llama::forward(const DeviceBatch& batch, KvCache& cache, Activations& a) const {
  const ModelShape& shape = config_.shape;
  AttentionMetadata metadata = batch.metadata;
  float* residual = a.floats(a.residual);
  float* const projected = a.floats(a.projected);

  // Adds `delta` to the residual stream, then normalises it into a.normed.
  const auto norm = [&](const std::unique_ptr<Buffer>& weight, const float* delta) {
    backend_->rms_norm(
        {residual, delta, floats(weight), metadata.num_tokens, shape.hidden_size, config_.norm_epsilon, a.normed->data()});
  };

  backend_->embed({weights_.embedding.get(), batch.token_ids, metadata.num_tokens, residual});
  const float* delta = nullptr;
  for (std::int64_t i = 0; i < shape.num_layers; ++i) {
    const LlamaLayer& layer = weights_.layers[static_cast<std::size_t>(i)];
    const LayerConfig& config = config_.layers[static_cast<std::size_t>(i)];
    QkvViews qkv = split_qkv(a.floats(a.qkv), config.num_heads, config.num_kv_heads, shape.head_dim);
    const KvCacheView keys_and_values = layer_view(cache.view(), config);
    norm(layer.attention_norm, delta);
    backend_->matmul({layer.qkv.get(), a.normed->data(), floats(layer.qkv_bias), metadata.num_tokens, a.floats(a.qkv)});
    backend_->rope_append({qkv.queries, qkv.keys, qkv.values, config.num_heads, weights_.ropes[config.rope]->view(),
                           metadata, keys_and_values, i});
    if (i == shape.num_layers - 1 && batch.num_logits < metadata.num_tokens) {
      // All keys and values are stored. What follows is for logits alone.
      if (batch.num_logits == 0) return;
      qkv.queries = gather(batch, qkv.queries, config.num_heads * shape.head_dim, a.logits_queries);
      residual = static_cast<float*>(
          gather(batch, {residual, DType::f32, shape.hidden_size}, shape.hidden_size, a.logits_residual).data);
      metadata = batch.logits_metadata;
    }
    PagedAttentionArgs attention;
    attention.queries = qkv.queries;
    attention.num_heads = config.num_heads;
    attention.softmax_scale = config_.softmax_scale;
    attention.window = config.sliding_window;
    attention.round_to_bf16 = cache.shape().round_attention;
    attention.metadata = metadata;
    attention.cache = keys_and_values;
    attention.layer = i;
    attention.out = {a.attended->data(), backend_->activation_type(), config.num_heads * shape.head_dim};
    attention.workspace = {a.attention_workspace->data(), a.attention_workspace->bytes()};
    backend_->paged_attention(attention);
    backend_->matmul({layer.o_proj.get(), a.attended->data(), floats(layer.o_proj_bias), metadata.num_tokens, projected});
    norm(layer.mlp_norm, projected);
    backend_->gated_matmul({layer.gate_up.get(), a.normed->data(), floats(layer.gate_up_bias), metadata.num_tokens,
                            a.floats(a.gate_up), a.gated->data()});
    backend_->matmul({layer.down.get(), a.gated->data(), floats(layer.down_bias), metadata.num_tokens, projected});
    delta = projected;
  }
  norm(weights_.final_norm, delta);
  const Weight& lm_head = weights_.lm_head ? *weights_.lm_head : *weights_.embedding;
  backend_->matmul({&lm_head, a.normed->data(), nullptr, batch.num_logits, a.floats(a.logits)});
}

TensorView Llama::gather(const DeviceBatch& batch, const TensorView& from, std::int64_t width,
                         const std::unique_ptr<Buffer>& to) const {
  backend_->gather_rows({static_cast<const float*>(from.data), from.stride, batch.logits_indices, batch.num_logits, width,
                         static_cast<float*>(to->data())});
  return {to->data(), DType::f32, width};
}

}  // namespace warploom
