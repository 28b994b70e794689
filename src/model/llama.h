// The weights of a Llama-family transformer on a backend.
#pragma once

#include <memory>
#include <vector>

#include "model/transformer.h"

namespace warploom {

struct LlamaLayer {
  std::unique_ptr<DeviceMemory> attention_norm;   // [dim]
  std::unique_ptr<PreparedWeight> qkv;            // [(heads + 2 kv_heads) * head_dim, dim]
  std::unique_ptr<DeviceMemory> qkv_bias;         // null where there is none
  std::unique_ptr<PreparedWeight> output;         // [dim, heads * head_dim]
  std::unique_ptr<DeviceMemory> output_bias;
  std::unique_ptr<DeviceMemory> ffn_norm;         // [dim]
  std::unique_ptr<PreparedWeight> gate_up;        // [2 * ffn, dim]
  std::unique_ptr<DeviceMemory> gate_up_bias;
  std::unique_ptr<PreparedWeight> down;           // [dim, ffn]
  std::unique_ptr<DeviceMemory> down_bias;
};

class Llama final : public Transformer {
 public:
  const ModelConfig& config() const override { return config_; }
  Backend& backend() const override { return *backend_; }
  std::uint64_t weight_bytes() const override;

  const PreparedWeight& output_matrix() const { return head ? *head : *embedding; }

  ModelConfig config_;
  std::unique_ptr<Backend> backend_;              // before everything that lives on it
  std::unique_ptr<PreparedWeight> embedding;      // [vocab, dim]
  std::unique_ptr<PreparedWeight> head;           // [vocab, dim]; null where tied to the embedding
  std::unique_ptr<PreparedRope> rope;
  std::unique_ptr<DeviceMemory> output_norm;      // [dim]
  std::vector<LlamaLayer> layers;
};

}  // namespace warploom
