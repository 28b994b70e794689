// The weights of a Llama-family transformer on a backend.
#pragma once

#include <memory>
#include <vector>

#include "model/decoder_model.h"

namespace warploom {

struct LlamaLayer {
  std::unique_ptr<Buffer> attention_norm;  // [dim]
  std::unique_ptr<Weight> qkv;             // [(heads + 2 kv_heads) * head_dim, dim]
  std::unique_ptr<Buffer> qkv_bias;        // null where there is none
  std::unique_ptr<Weight> output;          // [dim, heads * head_dim]
  std::unique_ptr<Buffer> output_bias;
  std::unique_ptr<Buffer> ffn_norm;  // [dim]
  std::unique_ptr<Weight> gate_up;   // [2 * ffn, dim]
  std::unique_ptr<Buffer> gate_up_bias;
  std::unique_ptr<Weight> down;  // [dim, ffn]
  std::unique_ptr<Buffer> down_bias;
};

class Llama final : public DecoderModel {
 public:
  const ModelConfig& config() const override { return config_; }
  Backend& backend() const override { return *backend_; }
  std::uint64_t weight_bytes() const override;

  const Weight& output_matrix() const { return head ? *head : *embedding; }

  ModelConfig config_;
  std::unique_ptr<Backend> backend_;               // before everything that lives on it
  std::unique_ptr<Weight> embedding;               // [vocab_size, dim]
  std::unique_ptr<Weight> head;                    // [vocab_size, dim]; null where tied to the embedding
  std::vector<std::unique_ptr<RopeTables>> ropes;  // as ModelConfig::ropes
  std::unique_ptr<Buffer> output_norm;             // [dim]
  std::vector<LlamaLayer> layers;
};

/// In load_weights.cpp; called by way of the registry.
std::unique_ptr<DecoderModel> load_llama(const Checkpoint& checkpoint, ModelConfig config, std::unique_ptr<Backend> backend,
                                         const std::function<void(double)>& progress);

}  // namespace warploom
