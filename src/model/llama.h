// The Llama family: RMS norm, rotary embedding, grouped-query attention, SwiGLU.
#pragma once

#include <memory>
#include <vector>

#include "model/decoder_model.h"

namespace warploom {

struct LlamaLayer {
  std::unique_ptr<Buffer> attention_norm;  // [hidden_size]
  std::unique_ptr<Weight> qkv;             // [(num_heads + 2 num_kv_heads) * head_dim, hidden_size]
  std::unique_ptr<Buffer> qkv_bias;        // null if there is none
  std::unique_ptr<Weight> o_proj;          // [hidden_size, num_heads * head_dim]
  std::unique_ptr<Buffer> o_proj_bias;
  std::unique_ptr<Buffer> mlp_norm;  // [hidden_size]
  std::unique_ptr<Weight> gate_up;   // [2 * intermediate_size, hidden_size]
  std::unique_ptr<Buffer> gate_up_bias;
  std::unique_ptr<Weight> down;  // [hidden_size, intermediate_size]
  std::unique_ptr<Buffer> down_bias;
};

struct LlamaWeights {
  std::unique_ptr<Weight> embedding;               // [vocab_size, hidden_size]
  std::unique_ptr<Weight> lm_head;                 // [vocab_size, hidden_size]; null if tied to the embedding
  std::vector<std::unique_ptr<RopeTables>> ropes;  // as ModelConfig::ropes
  std::unique_ptr<Buffer> final_norm;              // [hidden_size]
  std::vector<LlamaLayer> layers;
};

class Llama final : public DecoderModel {
 public:
  Llama(ModelConfig config, std::unique_ptr<Backend> backend, LlamaWeights weights)
      : config_(std::move(config)), backend_(std::move(backend)), weights_(std::move(weights)) {}

  const ModelConfig& config() const override { return config_; }
  Backend& backend() const override { return *backend_; }
  std::uint64_t weight_bytes() const override;
  void forward(const DeviceBatch& batch, KvCache& cache, Activations& activations) const override;

 private:
  /// The rows of tokens whose logits are wanted.
  TensorView gather(const DeviceBatch& batch, const TensorView& from, std::int64_t width,
                    const std::unique_ptr<Buffer>& to) const;

  ModelConfig config_;
  std::unique_ptr<Backend> backend_;  // before the weights, which live on it
  LlamaWeights weights_;
};

/// In load_llama.cpp; called by way of the registry.
std::vector<TensorName> llama_tensors(const Checkpoint& checkpoint, const ModelConfig& config);
std::unique_ptr<DecoderModel> load_llama(const Checkpoint& checkpoint, ModelConfig config, std::unique_ptr<Backend> backend,
                                         const std::function<void(double)>& progress);

}  // namespace warploom
