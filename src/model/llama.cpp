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
  const std::int64_t tokens = batch.metadata.num_tokens;
  float* const residual = a.floats(a.residual);
  float* const projected = a.floats(a.projected);

  // Adds `delta` to the residual stream, then normalises `count` rows of it into a.normed.
  const auto norm = [&](const std::unique_ptr<Buffer>& weight, const float* delta, const std::int32_t* rows,
                        std::int64_t count) {
    backend_->rms_norm(
        {residual, delta, floats(weight), rows, count, shape.hidden_size, config_.norm_epsilon, a.normed->data()});
  };

  backend_->embed({weights_.embedding.get(), batch.token_ids, tokens, residual});
  const float* delta = nullptr;
  for (std::int64_t i = 0; i < shape.num_layers; ++i) {
    const LlamaLayer& layer = weights_.layers[static_cast<std::size_t>(i)];
    const LayerConfig& config = config_.layers[static_cast<std::size_t>(i)];
    const QkvViews qkv = split_qkv(a.floats(a.qkv), config.num_heads, config.num_kv_heads, shape.head_dim);
    const KvCacheView keys_and_values = layer_view(cache.view(), config);
    norm(layer.attention_norm, delta, nullptr, tokens);
    backend_->matmul({layer.qkv.get(), a.normed->data(), floats(layer.qkv_bias), tokens, a.floats(a.qkv)});
    backend_->rope_append({qkv.queries, qkv.keys, qkv.values, config.num_heads, weights_.ropes[config.rope]->view(),
                           batch.metadata, keys_and_values, i});
    PagedAttentionArgs attention;
    attention.queries = qkv.queries;
    attention.num_heads = config.num_heads;
    attention.softmax_scale = config_.softmax_scale;
    attention.window = config.sliding_window;
    attention.round_to_bf16 = cache.shape().round_attention;
    attention.metadata = batch.metadata;
    attention.cache = keys_and_values;
    attention.layer = i;
    attention.out = {a.attended->data(), backend_->activation_type(), config.num_heads * shape.head_dim};
    attention.workspace = {a.attention_workspace->data(), a.attention_workspace->bytes()};
    backend_->paged_attention(attention);
    backend_->matmul({layer.o_proj.get(), a.attended->data(), floats(layer.o_proj_bias), tokens, projected});
    norm(layer.mlp_norm, projected, nullptr, tokens);
    backend_->gated_matmul(
        {layer.gate_up.get(), a.normed->data(), floats(layer.gate_up_bias), tokens, a.floats(a.gate_up), a.gated->data()});
    backend_->matmul({layer.down.get(), a.gated->data(), floats(layer.down_bias), tokens, projected});
    delta = projected;
  }
  if (batch.num_logits == 0) return;
  norm(weights_.final_norm, delta, batch.logits_indices, batch.num_logits);
  const Weight& lm_head = weights_.lm_head ? *weights_.lm_head : *weights_.embedding;
  backend_->matmul({&lm_head, a.normed->data(), nullptr, batch.num_logits, a.floats(a.logits)});
}

}  // namespace warploom
